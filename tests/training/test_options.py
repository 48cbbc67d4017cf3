"""What a recipe can ask of the loop: each does what it says, and resumes to the same bytes."""

import re
import signal

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from tailproof.config.recipe import Recipe
from tailproof.files import read_json
from tailproof.models import save_expert
from tailproof.models.fetch import fetch
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.preprocessing import preprocessing
from tailproof.training.run import TrainingRun
from tests.training.interrupted_runs import RECIPE, finish, outputs, start

VIT = {
    "name": "vit_tiny_patch16_224",
    "options": {"img_size": 8, "patch_size": 2, "depth": 2, "embed_dim": 48, "num_heads": 3},
}


def step(digits, **changes):
    """Return the weights after one epoch from the same start."""
    run = TrainingRun(
        NetworkOnImages(digits, Recipe(**{**RECIPE, "export": "last", **changes})),
        0,
        ProcessGroup(1),
    )
    run.finish_epoch(lambda: None)
    return run


def vector(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": {"decay": 0.9}, "grad_clip_norm": 1.0, "grad_accum_steps": 2},
        {"precision": "fp16", "model": VIT},
        {
            "optimizer": {"name": "adamw", "learning_rate": 0.002},
            "schedule": {"name": "plateau", "patience": 1},
            "validate_every": 2,
        },
        {
            "precision": "bf16",
            "channels_last": True,
            "drop_last": True,
            "mixing": {"mixup": 0.4, "cutmix": 1.0},
            "augmentation": {
                "albumentations": [{"name": "Rotate", "options": {"limit": 10}}],
                "torchvision": [{"name": "RandomErasing"}],
            },
        },
        {
            "model": {
                **VIT,
                "options": {**VIT["options"], "drop_path_rate": 0.2, "proj_drop_rate": 0.1},
            },
            "phases": [
                {"from_epoch": 1, "loss": {"name": "ldam"}},
                {
                    "from_epoch": 2,
                    "loss": {"name": "ldam", "class_weights": {"effective_number": 0.99}},
                    "sampler": "square_root",
                },
            ],
        },
    ],
    ids=["ema, clipped, in parts", "fp16", "adamw, plateau", "mixed, bf16", "dropout, deferred"],
)
def test_every_kind_of_state_resumes(digits, tmp_path, changes):
    assert finish(start(digits, tmp_path / "straight", changes)) == 0
    for stage, number in (("written", 2), ("renamed", 4)):
        crash = (stage, number)
        assert finish(start(digits, tmp_path / "killed", changes, crash=crash)) == -signal.SIGKILL
    assert finish(start(digits, tmp_path / "killed", changes)) == 0
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "straight")


def test_parts_of_a_batch_make_the_same_update(digits):
    """Without batch norm, whose statistics are of each part."""
    whole, parts = (vector(step(digits, model=VIT, grad_accum_steps=n).model) for n in (1, 3))
    assert np.allclose(whole, parts, atol=1e-5)
    assert not np.array_equal(whole, parts)


def test_a_phase_has_a_loss_of_its_own_and_val_is_measured_with_the_last_one(digits):
    plain = {"name": "cross_entropy"}
    weighted = {"name": "cross_entropy", "class_weights": "balanced"}
    phases = [{"from_epoch": 1}, {"from_epoch": 2, "loss": weighted}]
    deferred = step(digits, loss=plain, phases=phases)
    first = step(digits, loss=plain)
    assert np.array_equal(vector(deferred.model), vector(first.model))
    assert deferred.history[0]["train_loss"] == first.history[0]["train_loss"]
    assert deferred.history[0]["val_accuracy"] == first.history[0]["val_accuracy"]
    assert deferred.history[0]["val_loss"] != first.history[0]["val_loss"]
    first.finish_epoch(lambda: None)
    deferred.finish_epoch(lambda: None)
    assert not np.array_equal(vector(deferred.model), vector(first.model))


def test_clipping_bounds_what_an_update_moves(digits):
    recipe = {
        "optimizer": {"name": "momentum", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0}
    }
    recipe |= {"schedule": {"name": "constant"}, "model": VIT}
    start_ = vector(
        TrainingRun(NetworkOnImages(digits, Recipe(**RECIPE | recipe)), 0, ProcessGroup(1)).model
    )
    run = step(digits, **recipe, grad_clip_norm=1e-3)
    moved = np.linalg.norm(vector(run.model) - start_)
    assert 0 < moved <= 1e-3 * run.steps + 1e-6


def test_the_average_of_the_weights_follows_its_formula(digits):
    decay, run = (
        0.5,
        TrainingRun(
            NetworkOnImages(digits, Recipe(**RECIPE, ema={"decay": 0.5})), 0, ProcessGroup(1)
        ),
    )
    expected = vector(run.model).astype(np.float64)

    def follow():
        nonlocal expected
        if run.step:  # boundaries of the validation come after the last update
            expected = expected if run.step in seen else decay * expected + (1 - decay) * weights()
            seen.add(run.step)

    def weights():
        return vector(run.model)

    seen = set()
    run.finish_epoch(follow)
    assert np.allclose(vector(run.result), expected, atol=1e-5)
    assert not np.allclose(vector(run.result), weights(), atol=1e-5)


def test_checkpointed_activations_give_the_same_weights(digits):
    plain, checkpointed = (
        vector(step(digits, model=VIT, activation_checkpointing=on).model) for on in (False, True)
    )
    assert np.allclose(plain, checkpointed, atol=1e-6)
    with pytest.raises(TailproofError, match=r"activation_checkpointing.*'cifar_resnet20'"):
        step(digits, activation_checkpointing=True)


def test_compiling_without_a_compiler_says_what_is_missing(digits, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TailproofError, match=r"recipe\.compile .*g\+\+"):
        step(digits, compile=True)


def test_synchronised_batch_norm_needs_gpus(digits):
    if torch.cuda.is_available():
        assert any(
            isinstance(m, torch.nn.SyncBatchNorm)
            for m in step(digits, sync_batchnorm=True).model.modules()
        )
        return
    with pytest.raises(TailproofError, match=r"recipe\.sync_batchnorm .*GPUs"):
        step(digits, sync_batchnorm=True)


def started_from(weights, digits, seed=1):
    """A run that starts from weights, fetched into the project in the current folder."""
    model = {"name": RECIPE["model"]["name"], "weights": str(weights)}
    recipe = Recipe(**{**RECIPE, "model": model, "normalize": True})
    file = project_paths().weights(recipe.model.weights_key)
    file.parent.mkdir(exist_ok=True)
    fetch(recipe.model.name, recipe.model.weights, file, file.with_suffix(".json"))
    return TrainingRun(NetworkOnImages(digits, recipe), seed, ProcessGroup(1))


def test_a_run_starts_from_the_weights_of_another(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert finish(start(digits, tmp_path, {"epochs": 1})) == 0
    expert = tmp_path / "expert/seed-0"
    run = started_from(expert, digits)
    for name, value in load_file(expert / "model.safetensors").items():
        assert np.array_equal(run.model.state_dict()[name].numpy(), value), name
    (state,) = (tmp_path / "states").glob("*/*.pt")
    assert np.array_equal(vector(started_from(state, digits, 2).model), vector(run.model))

    other = timm.create_model("cifar_resnet20", num_classes=3, in_chans=1)
    torch.nn.init.constant_(other.conv1.weight, 0.5)
    save_file(
        {k: v.contiguous() for k, v in other.state_dict().items()}, tmp_path / "o.safetensors"
    )
    run = started_from("o.safetensors", digits)
    assert (run.model.conv1.weight == 0.5).all()
    assert run.model.state_dict()["classifier.weight"].shape == (10, 64)


def test_pretrained_weights_decide_how_images_are_prepared(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = timm.create_model("resnet10t", num_classes=3)
    prepared = {
        "input_size": [3, 24, 24], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center",
    }  # fmt: skip
    save_expert(
        "own", network, model_args={}, preprocessing=prepared, class_names=list("abc"), facts={}
    )
    model = {"name": "resnet10t", "weights": "own"}
    recipe = Recipe(model=model, epochs=1, batch_size=64)
    file = project_paths().weights(recipe.model.weights_key)
    file.parent.mkdir()
    with pytest.raises(TailproofError, match=re.escape(f"{file}")):
        TrainingRun(NetworkOnImages(digits, recipe), 0, ProcessGroup(1))
    fetch("resnet10t", "own", file, file.with_suffix(".json"))

    def seen(**changed):
        run = TrainingRun(
            NetworkOnImages(digits, recipe.model_copy(update=changed)), 0, ProcessGroup(1)
        )
        return preprocessing(run.learner.train, run.recipe)

    # The digits are grey, 8 by 8 pixels.
    assert seen() == {
        "input_size": [1, 24, 24], "mean": [pytest.approx(0.2)], "std": [pytest.approx(0.5)],
        "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center",
    }  # fmt: skip
    assert seen(image_size=32)["input_size"] == [1, 32, 32]
    train = read_json(digits)["normalization"]
    assert seen(normalize=True, image_size=32)["mean"] == train["mean"]
    assert seen(normalize=True, image_size=32)["interpolation"] == "bicubic"
