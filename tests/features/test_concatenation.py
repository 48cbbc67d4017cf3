"""Several backbones: their features next to each other, and one network of all of them."""

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import Ridge

from tailproof.config.recipe import Recipe
from tailproof.data.logits import Logits
from tailproof.data.tables import read_parquet
from tailproof.features import store
from tailproof.features.concatenation import ConcatenatedSplit, open_features
from tailproof.features.loader import FeatureLoader
from tailproof.features.store import FeatureSplit, part_path
from tailproof.files import read_json, write_json
from tailproof.loading import Split
from tailproof.models import load_expert
from tailproof.predict.image_files import fitted
from tailproof.predict.infer_head import infer_head
from tailproof.predict.network import FEATURES, Network
from tailproof.predict.score_unknown_head import score_unknown_head
from tailproof.predict.unknown_scores_file import SCORED
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.head_on_features import HeadOnFeatures, launch_head
from tailproof.training.run import TrainingRun
from tests.features.stored_features import PARTS, embed_digits, fetch_random
from tests.features.test_store import write_part

PLACES = ["F", "G"]
SIZE, FURTHER_SIZE = 32, 20


@pytest.fixture(scope="module")
def stored(digits, tmp_path_factory):
    """A project with the features of two networks, in the folders F and G."""
    folder = tmp_path_factory.mktemp("concatenation")
    before = Path.cwd()
    os.chdir(folder)
    first = fetch_random("test_resnet")
    further = fetch_random("cifar_resnet20", weights="further.safetensors")
    embed_digits(digits, "F", first, size=SIZE)
    embed_digits(digits, "G", further, size=FURTHER_SIZE, normalize=False)
    os.chdir(before)
    concat = [{**further.model_dump(), "size": FURTHER_SIZE, "normalize": False}]
    return folder, {
        "model": first.model_dump(),
        "features": {"size": SIZE, "concat": concat},
        "epochs": 3,
        "batch_size": 64,
    }


@pytest.fixture
def project(stored, monkeypatch):
    """The recipe of a head on both; the project is not to be changed."""
    monkeypatch.chdir(stored[0])
    return stored[1]


def by_hand(digits, name: str) -> np.ndarray:
    """The features of both networks, each of length 1, next to each other."""
    parts = []
    for place in PLACES:
        values = FeatureSplit(place, digits, name).read_all()[:, 0].astype(np.float64)
        parts.append(values / np.sqrt((values**2).sum(1, keepdims=True)))
    return np.concatenate(parts, 1)


def fit(digits, recipe: dict, folder: Path, places=PLACES, **changes) -> Path:
    given = Recipe(**recipe | changes)
    launch_head(digits, places, given, 0, folder, folder / "S", "code", 0, {})
    return folder


def of_features(digits, folder: Path, output: Path, split: str) -> np.ndarray:
    infer_head(folder, "e", 0, digits, PLACES, output, 1, {})
    return Logits.read(output / f"{split}.parquet").values


def of_images(digits, folder: Path, split: str) -> dict[str, np.ndarray]:
    """Logits and features of a merged network for the images of a split."""
    model, config = load_expert(folder)
    network = Network.of({"e": config.num_classes}, model, config, 255.0)
    object.__setattr__(network, "with_features", True)
    assert [one.shape[1] for one in network.preparations] == [SIZE, FURTHER_SIZE]
    rows = Split(digits, split)
    batches = []
    for preparation in network.preparations:
        images = (rows.image(row) for row in range(len(rows)))
        batches.append(np.stack([fitted(image, preparation) for image in images]))
    return network.raw_logits(*batches)


def test_features_are_those_of_each_backbone_next_to_each_other(digits, project):
    split = open_features(PLACES, digits, "train")
    assert isinstance(split, ConcatenatedSplit) and split.width == 96 + 64
    whole = split.read_all()
    assert whole.dtype == np.float32 and whole.shape == (len(split), 1, split.width)
    np.testing.assert_allclose(whole[:, 0], by_hand(digits, "train"), atol=1e-6)
    one = open_features(PLACES[:1], digits, "train")
    assert not isinstance(one, ConcatenatedSplit)
    assert split.sample_ids == one.sample_ids and split.groups == one.groups
    for budget in (1e9, 0):
        loader = FeatureLoader(split, batch_size=50, training=True, memory_budget=budget)
        for batch in loader.epoch(1):
            assert (batch.inputs.numpy() == whole[batch.rows, 0]).all()


def test_a_head_is_that_of_a_plain_loop_over_the_concatenation(digits, project, tmp_path):
    x, labels = by_hand(digits, "train"), FeatureSplit("F", digits, "train").labels["class"]
    sgd = {"name": "momentum", "learning_rate": 0.5, "momentum": 0.0, "weight_decay": 0.0}
    changes = {"batch_size": len(x), "optimizer": sgd, "schedule": {"name": "constant"}}
    learner = HeadOnFeatures.open(digits, PLACES, Recipe(**project | changes))
    start = TrainingRun(learner, 0, ProcessGroup(1)).model.layer
    weight, bias = (one.detach().double().clone().requires_grad_() for one in start.parameters())
    z = torch.from_numpy((x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), np.inf))
    optimizer = torch.optim.SGD([weight, bias], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        logits = z @ weight.T + bias
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimizer.step()
    folder = fit(digits, project, tmp_path / "e", **changes)
    expected = (z @ weight.T + bias).detach().numpy()
    found = of_features(digits, folder, tmp_path / "raw", "train")
    assert np.abs(found - expected).max() < 1e-3


def test_a_fitted_head_is_that_of_scikit_learn(digits, project, tmp_path):
    x, labels = by_hand(digits, "train"), FeatureSplit("F", digits, "train").labels["class"]
    deviation = x.std(0)
    z = (x - x.mean(0)) / np.where(deviation > 1e-9, deviation, np.inf)
    ridge = Ridge(alpha=len(x) * 0.1).fit(z, np.eye(10)[labels])
    head = {"kind": "ridge", "penalty": 0.1, "balanced": False}
    folder = fit(digits, project, tmp_path / "e", head=head)
    found = of_features(digits, folder, tmp_path / "raw", "train")
    assert np.abs(found - ridge.predict(z)).max() < 1e-3


@pytest.mark.parametrize("kind", ["linear", "cosine", "knn"])
def test_the_merged_network_computes_what_the_head_does(digits, project, tmp_path, kind):
    folder = fit(digits, project, tmp_path / "e", head={"kind": kind})
    computed = of_images(digits, folder, "test")
    expected = of_features(digits, folder, tmp_path / "raw", "test")
    assert np.abs(computed["e"] - expected).max() < 1e-4
    assert np.abs(computed["e" + FEATURES] - by_hand(digits, "test")).max() < 1e-4
    whole = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    state = load_expert(folder)[0].state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.state_dict().items())
    score_unknown_head(folder, "e", 0, digits, PLACES, None, [], 1, {})
    assert len(read_parquet(folder / SCORED)) > 0


def test_a_head_is_the_same_from_memory_and_from_files(digits, project, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK_BYTES", 100 * 160 * 4)  # features of 100 images
    names = ("model.safetensors", "history.csv")
    kept = fit(digits, project, tmp_path / "a")
    monkeypatch.setattr(FeatureSplit, "read_all", None)
    streamed = fit(digits, project, tmp_path / "b", cache_gb=0.0)
    for name in names:
        assert (kept / name).read_bytes() == (streamed / name).read_bytes()


def test_the_order_of_backbones_and_their_weights_are_checked(digits, project, tmp_path):
    with pytest.raises(TailproofError, match=r"G/train\.parquet.*start\.safetensors"):
        fit(digits, project, tmp_path / "e", places=PLACES[::-1])
    with pytest.raises(TailproofError, match=r"F/train.*same features"):
        open_features(["F", "F"], digits, "train")


def test_features_of_other_shards_are_refused(digits, project, tmp_path):
    moved = tmp_path / "manifest.json"
    manifest = read_json(digits)
    manifest["splits"]["train"]["shards"][PARTS - 1]["sha256"] = "1" * 64
    write_json(moved, manifest)
    with pytest.raises(TailproofError, match="part-00001"):
        open_features(PLACES, moved, "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"views": 1}, "views"),
        ({"first": 7}, "same samples"),
        ({"groups": (2, 3)}, "same samples"),
        ({}, "same features"),
    ],
)
def test_features_that_cannot_stand_next_to_each_other_are_refused(tmp_path, change, said):
    shard = {"path": "train/part-00000.parquet", "rows": 5, "sha256": "digest"}
    manifest = {"ranks": ["species"], "splits": {"train": {"shards": [shard]}}}
    write_json(tmp_path / "manifest.json", manifest)
    for place, own in (("a", {}), ("b", {"size": 64} | change if change else {})):
        groups = own.pop("groups", (3, 2))
        path = part_path(tmp_path / place, "train", 0)
        write_part(path, groups, shard_sha256="digest", **own)
    with pytest.raises(TailproofError, match=said):
        open_features([tmp_path / "a", tmp_path / "b"], tmp_path / "manifest.json", "train")
