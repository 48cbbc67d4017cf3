"""The network's half of the preflight, and what is told beforehand against what torch does."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.recipe import Recipe
from tailproof.losses import build_loss
from tailproof.preflight.estimate_accuracy import EstimateCheck
from tailproof.preflight.experiment_facts import facts_of
from tailproof.preflight.loss_effect import effect
from tailproof.preflight.markdown_page import page
from tailproof.preflight.summary import describe
from tailproof.preflight.timeline import Timeline
from tailproof.preflight.timing import measure, structures
from tailproof.training.schedule import Schedule

SMALL = {"model": {"name": "cifar_resnet20"}, "epochs": 4, "batch_size": 64}
SCHEDULES = st.sampled_from(
    [
        {"name": "constant"},
        {"name": "cosine", "min_lr": 0.001},
        {"name": "multistep", "milestones": [2, 4], "gamma": 0.3},
        {"name": "plateau"},
    ]
)
WARMUPS = st.sampled_from(
    [None, {"steps": 1}, {"steps": 7}, {"epochs": 0.4}, {"epochs": 2.0}, {"epochs": 3.0}]
)
PHASES = st.sampled_from(
    [
        [],
        [{"from_epoch": 1}, {"from_epoch": 3, "batch_size": 16, "learning_rate_factor": 0.5}],
        [{"from_epoch": 1, "batch_size": 8}, {"from_epoch": 5, "learning_rate_factor": 3.0}],
    ]
)


@settings(max_examples=60)
@given(SCHEDULES, WARMUPS, PHASES, st.integers(40, 90), st.booleans())
def test_rates_are_told_as_training_will_set_them(schedule, warmup, phases, samples, drop_last):
    recipe = Recipe(
        schedule={**schedule, "warmup": warmup},
        phases=phases,
        epochs=6,
        batch_size=32,
        drop_last=drop_last,
    )
    timeline = Timeline(recipe, samples)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    real = Schedule(optimizer, recipe, timeline.phases)
    for update in range(timeline.phases.total):
        assert timeline.rate(update) == pytest.approx(real.learning_rate, rel=1e-9)
        real.after_update(update + 1)


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "cross_entropy"},
        {"name": "cross_entropy", "label_smoothing": 0.1},
        {"name": "cross_entropy", "class_weights": "balanced"},
        {"name": "cross_entropy", "class_weights": [1.0, 2.0, 3.0]},
        {"name": "cross_entropy", "class_weights": "balanced", "label_smoothing": 0.2},
        {"name": "balanced_softmax"},
        {"name": "logit_adjustment", "tau": 2.0},
        {"name": "focal", "gamma": 1.5},
    ],
    ids=str,
)
def test_losses_without_torch_are_those_that_are_trained(loss):
    counts = {"a": 500, "b": 60, "c": 7}
    found = effect(Recipe(loss=loss), counts, list(counts))
    weighted = loss.get("class_weights")
    sizes = torch.tensor(list(counts.values()))
    weights = np.ones(3)
    if weighted:
        weights = np.array([1.0, 2.0, 3.0])
        if weighted == "balanced":
            weights = (sizes.sum() / (3 * sizes)).numpy()
    real = build_loss(loss, sizes)
    draws = {
        "zero": np.zeros((1, 3)),
        "random": np.random.default_rng(0).standard_normal((2000, 3)),
    }
    for kind, logits in draws.items():
        for code, name in enumerate(counts):
            # torch's mean is over the weights of the batch, which here are all of one class
            truth = torch.full((len(logits),), code)
            value = real(torch.tensor(logits).float(), truth).item() * weights[code]
            assert found[kind][name] == pytest.approx(value, rel=1e-4)


def test_a_tiny_network_is_measured_and_described(digits):
    recipes = {"one": Recipe(**SMALL), "two": Recipe(**SMALL, loss={"name": "focal"})}
    sizes, probe = structures(digits, recipes), measure(digits, recipes)
    assert sizes["one"]["parameters"] == 269_434
    assert sizes["one"]["weights_mb"] < sizes["one"]["estimated_memory_mb"] < 30
    assert not probe["findings"]
    own = probe["experts"]["one"]
    assert own is not None and own == probe["experts"]["two"]
    assert 0 < own["step"][0] < own["epoch"][0] < own["run"] < 60
    normalisation = json.loads(digits.read_text())["normalisation"]
    found = describe(facts_of(digits, recipes), normalisation, sizes)
    assert found == describe(facts_of(digits, recipes), normalisation, structures(digits, recipes))
    expert = found["experts"]["one"]
    assert expert["normalisation"]["mean"] == pytest.approx(normalisation["mean"], rel=1e-5)
    assert sum(phase["batches_an_epoch"] for phase in expert["phases"]) * 4 == expert["updates"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    came = EstimateCheck("one", "0", 2, 2, (2,), False, {"epoch": (2.0, 2.5)}, {})
    text = page("tiny", found, probe, [came])
    assert "269,434" in text and "| one, seed 0 (resumed in epoch 2) | 2 s → 2.5 s, −20 % |" in text


def test_phases_are_timed_each(digits):
    phases = [{"from_epoch": 1, "image_size": 4}, {"from_epoch": 3, "image_size": 12}]
    recipe = Recipe(**SMALL, phases=phases, eval_image_size=8, workers=1)
    own = measure(digits, {"grows": recipe})["experts"]["grows"]
    assert len(own["step"]) == len(own["epoch"]) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"name": "cifar_resnet23"}}, "unknown model 'cifar_resnet23'"),
        ({"activation_checkpointing": True}, "recipe.activation_checkpointing: 'cifar_resnet"),
        ({"model": {"name": "vit_tiny_patch16_224", "options": {"embed_dim": 50}}}, "recipe.model"),
        ({"model": {"name": "vit_tiny_patch16_224", "options": {"patch_size": 0}}}, "recipe.model"),
        ({"batch_size": 100_000, "drop_last": True}, "recipe.batch_size is 100000"),
        ({"optimizer": {"name": "sdg"}}, "unknown optimizer 'sdg'"),
        ({"loss": {"name": "focal", "class_weights": [1.0]}}, "class_weights has 1 values"),
    ],
)
def test_what_training_would_fail_of_is_an_error(digits, caplog, change, words):
    recipes = {"bad": Recipe(**{**SMALL, **change}), "good": Recipe(**SMALL)}
    sizes, probe = structures(digits, recipes), measure(digits, recipes)
    (finding,) = probe["findings"]
    assert (finding["kind"], finding["severity"]) == ("probe_failed", "error")
    assert words in caplog.text
    assert finding["evidence"] == {"experts": ["bad"]}
    normalisation = json.loads(digits.read_text())["normalisation"]
    found = describe(facts_of(digits, recipes), normalisation, sizes)
    assert "| bad | failed |" in page("tiny", found, probe)
