"""Runs that train a few weights: they resume to the same bytes and hold only what they train."""

import io
import math
import signal

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from tailproof.config.recipe import Recipe
from tailproof.files import read_json
from tailproof.models import load_expert
from tailproof.models.fetch import fetch
from tailproof.predict.infer import infer
from tailproof.preflight.timing import structures
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.optimizer import build_optimizer
from tailproof.training.run import TrainingRun
from tests.training.interrupted_runs import RECIPE, finish, start

VIT = {"name": "test_vit", "weights": "vit.safetensors", "options": {"img_size": 32}}
CONVNET = {"name": "test_efficientnet", "weights": "convnet.safetensors"}
BASE = {
    "optimizer": {"learning_rate": 0.02}, "epochs": 2, "batch_size": 128, "image_size": 32,
    "checkpoint": {"steps": 2},
}  # fmt: skip
LIFT = {
    **BASE, "model": VIT, "tune": {"adapter": "adaptformer", "dim": 2, "head": "cosine"},
    "test_views": "five_crops", "eval_image_size": 36, "ema": {"decay": 0.5}, "export": "best",
}  # fmt: skip
TUNED = {
    "adaptformer": LIFT,
    "lora": {
        **BASE, "model": VIT, "tune": {"adapter": "lora", "blocks": 2}, "precision": "bf16",
        "activation_checkpointing": True,
    },
    "norms of a convnet": {
        **BASE, "model": CONVNET, "tune": {"adapter": "norm", "blocks": 2}, "grad_accum_steps": 2,
        "optimizer": {"name": "adamw", "learning_rate": 0.002, "head_learning_rate_factor": 4.0},
    },
    "frozen stages": {
        **BASE, "model": CONVNET, "freeze": ["conv_stem", "bn1", "blocks.0"],
        "optimizer": {"learning_rate": 0.02, "layer_decay": 0.7},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A project folder with the fetched weights of two networks."""
    folder = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model in (VIT, CONVNET):
            torch.manual_seed(7)
            network = timm.create_model(model["name"], num_classes=7)
            save_file(network.state_dict(), model["weights"])
            fetch_weights(model)
    return folder


def fetch_weights(model: dict) -> None:
    file = project_paths().weights(Recipe(model=model).model.weights_key)
    file.parent.mkdir(exist_ok=True)
    fetch(model["name"], model["weights"], file, file.with_suffix(".json"))


@pytest.fixture
def here(pretrained, monkeypatch):
    monkeypatch.chdir(pretrained)
    return pretrained


def run_of(digits, recipe: dict, seed: int = 0) -> TrainingRun:
    return TrainingRun(NetworkOnImages(digits, Recipe(**recipe)), seed, ProcessGroup(1))


class Stopped(Exception):
    pass


def train(run: TrainingRun, stop_at: tuple[int, int] | None = None) -> None:
    """Train to the end, or until an epoch and step."""

    def boundary():
        if (run.epoch, run.step) == stop_at:
            raise Stopped

    while not run.finished:
        run.finish_epoch(boundary)


def saved(run: TrainingRun) -> dict:
    """The state as it is read from disk."""
    file = io.BytesIO()
    torch.save(run.state(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", TUNED)
def test_a_resumed_run_ends_in_the_same_bytes(digits, here, tmp_path, name):
    recipe = TUNED[name]
    straight = run_of(digits, recipe)
    straight.begin()
    train(straight)
    straight.export(tmp_path / "straight")

    killed = run_of(digits, recipe)
    killed.begin()
    with pytest.raises(Stopped):
        train(killed, (2, 2))
    state = saved(killed)
    resumed = run_of(digits, recipe)
    assert resumed.misfit(state) is None
    resumed.restore(state)
    train(resumed)
    resumed.export(tmp_path / "resumed")
    for file in ("model.safetensors", "config.json"):
        same = (tmp_path / "resumed" / file).read_bytes()
        assert (tmp_path / "straight" / file).read_bytes() == same
    assert resumed.history == straight.history and resumed.initial == straight.initial

    # The state has what is trained and nothing else.
    network = straight.model
    frozen = {n for n, own in network.named_parameters() if not own.requires_grad}
    assert frozen and not frozen & state["model"].keys()
    for copy in (state["ema"], state["best"]["weights"]):
        assert copy is None or copy.keys() == state["model"].keys()
    assert {n for n, own in network.named_parameters() if own.requires_grad} <= set(state["model"])
    start_of = run_of(digits, recipe).model.state_dict()
    for tensor, value in network.state_dict().items():
        if tensor not in state["model"]:
            assert torch.equal(value, start_of[tensor]), tensor


def test_a_killed_attempt_resumes_and_its_folder_predicts(digits, here, tmp_path):
    straight = run_of(digits, {**RECIPE, **LIFT})
    straight.begin()
    train(straight)
    straight.export(tmp_path / "straight")
    assert finish(start(digits, tmp_path, LIFT, crash=("renamed", 1))) == -signal.SIGKILL
    assert finish(start(digits, tmp_path, LIFT)) == 0
    expert = tmp_path / "expert/seed-0"
    for file in ("model.safetensors", "config.json"):
        assert (expert / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()
    facts = read_json(expert / "training.json")
    tensors = load_file(expert / "model.safetensors")
    # 64 channels of a token: norm, down, up and scale of each block; 10 classes.
    blocks = sum(name.endswith("adaptformer.scale") for name in tensors)
    size = blocks * (2 * 64 + 2 * (64 + 1) + 2 * 64 + 64 + 1) + 10 * 64
    assert facts["trained_parameters"] == size
    assert facts["parameters"] == sum(own.size for own in tensors.values())
    (state,) = (tmp_path / "states").glob("*/*.pt")
    assert state.stat().st_size < (expert / "model.safetensors").stat().st_size
    infer(expert, "lift", 0, digits, tmp_path / "logits", 1, 0, 0)
    network, config = load_expert(expert)
    assert config.architecture == "tuned_network" and network.view_size == 32
    assert config.pretrained_cfg.input_size == [1, 36, 36]


def test_a_state_never_meets_other_frozen_weights(digits, here, monkeypatch, tmp_path):
    state = saved(run_of(digits, TUNED["lora"]))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(8)
    save_file(timm.create_model("test_vit", num_classes=7).state_dict(), VIT["weights"])
    fetch_weights(VIT)
    other = run_of(digits, TUNED["lora"])
    assert "frozen" in other.misfit(state)
    with pytest.raises(TailproofError, match="frozen weights"):
        other.restore(state, adopted=True)


def test_a_cosine_head_starts_at_the_class_means(digits, here):
    recipe = {**BASE, "model": VIT, "tune": {"head": "cosine"}}
    run = run_of(digits, recipe)
    run.begin()
    loader = run._val_loader.__class__(
        run.learner.train, batch_size=64, image_size=32,
        normalization={"mean": [0.5], "std": [0.5]}, interpolation="bicubic",
    )  # fmt: skip
    model = run.model.eval()
    with torch.inference_mode():
        features = torch.cat(
            [model.forward_head(model.forward_features(batch.inputs), pre_logits=True)
             for batch in loader.epoch(1)]
        ).numpy()  # fmt: skip
    labels = run.learner.train.labels[run.heads.target]
    means = np.stack([features[labels == number].mean(0) for number in range(10)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.allclose(run.model.head.weight.detach().numpy(), means, atol=1e-4)
    with torch.inference_mode():
        logits = run.model.head(torch.from_numpy(features)).numpy()
    cosines = features / np.linalg.norm(features, axis=1, keepdims=True) @ means.T
    assert np.allclose(logits, 25 * cosines, atol=1e-2)


def test_layers_and_head_have_learning_rates_of_their_own(digits, here):
    recipe = Recipe(
        model=VIT, image_size=32,
        optimizer={"layer_decay": 0.5, "head_learning_rate_factor": 8.0, "weight_decay": 0.1},
    )  # fmt: skip
    network = timm.create_model("test_vit", num_classes=4)
    optimizer = build_optimizer(network, recipe)
    names = {own: name for name, own in network.named_parameters()}
    scales, decays = {}, {}
    for group in optimizer.param_groups:
        for own in group["params"]:
            scales[names[own]], decays[names[own]] = group["lr_scale"], group["weight_decay"]
    assert scales.keys() == set(names.values())
    depth = len(network.blocks)
    assert scales["head.weight"] == scales["head.bias"] == 8.0
    last = math.log2(scales["head.weight"] / 8 / scales[f"blocks.{depth - 1}.mlp.fc1.weight"])
    assert last == 1
    for number in range(1, depth):
        earlier, later = (scales[f"blocks.{n}.mlp.fc1.weight"] for n in (number - 1, number))
        assert later == 2 * earlier
    assert scales["patch_embed.proj.weight"] == 0.5 ** (depth + 1)
    assert decays["head.bias"] == 0 and decays["head.weight"] == 0.1

    run = run_of(digits, {**TUNED["frozen stages"], "schedule": {"name": "constant"}})
    row = run.finish_epoch(lambda: None)
    assert row["learning_rate"] == pytest.approx(0.02)
    held = [own for group in run._optimizer.param_groups for own in group["params"]]
    assert all(own.requires_grad for own in held)


def test_the_preflight_knows_that_fewer_weights_are_trained(digits, here):
    whole = {**BASE, "model": CONVNET}
    recipes = {
        "whole": Recipe(**whole),
        "head": Recipe(**whole, tune={}),
        "half": Recipe(**whole, freeze=["conv_stem", "bn1", "blocks.0", "blocks.1"]),
    }
    sizes = structures(digits, recipes)
    assert sizes["whole"]["trained_parameters"] == sizes["whole"]["parameters"]
    assert sizes["whole"]["parameters"] == sizes["head"]["parameters"]
    features = timm.create_model("test_efficientnet").num_features
    assert sizes["head"]["trained_parameters"] == 10 * (features + 1)
    for name in ("trained_parameters", "estimated_memory_mb", "checkpoints_mb"):
        assert sizes["head"][name] < sizes["half"][name] < sizes["whole"][name]
    assert sizes["head"]["weights_mb"] == sizes["whole"]["weights_mb"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"freeze": ["blocks.9"]}, "blocks.9"),
        ({"tune": {"adapter": "adaptformer"}}, "adaptformer"),
        ({"tune": {"adapter": "norm", "blocks": 99}}, "99"),
    ],
)
def test_what_does_not_fit_is_said_before_training(digits, here, changes, words):
    with pytest.raises(TailproofError, match=words):
        run_of(digits, {**BASE, "model": CONVNET, **changes})


def test_crops_need_larger_images_than_those_of_the_backbone(digits, here):
    recipe = {**BASE, "model": CONVNET, "image_size": None, "test_views": "five_crops"}
    with pytest.raises(TailproofError, match=r"eval_image_size.*100"):
        run_of(digits, {**recipe, "eval_image_size": 100})  # the backbone's are of 160 pixels
