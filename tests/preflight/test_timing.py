"""The network's half of the preflight, and what is told beforehand against what torch does."""

import json

import pytest

from tailproof.config.recipe import Recipe
from tailproof.preflight.estimate_errors import EstimateCheck
from tailproof.preflight.experiment_facts import facts_of
from tailproof.preflight.loss_effect import untrained_losses
from tailproof.preflight.markdown_page import page
from tailproof.preflight.normalizations import normalizations
from tailproof.preflight.summary import describe
from tailproof.preflight.timing import measure, structures
from tailproof.preflight.tried_transforms import tried_transforms
from tests.features.embedding import MODEL, fetch_weights

SMALL = {"model": {"name": "cifar_resnet20"}, "epochs": 4, "batch_size": 64}


@pytest.mark.parametrize(
    ("loss", "head_at_zero", "head", "tail"),
    [
        ({"name": "cross_entropy"}, 1.09861229, 1.42454478, 1.3789042),
        ({"name": "cross_entropy", "label_smoothing": 0.1}, 1.09861229, 1.42106534, 1.37998882),
        (
            {"name": "cross_entropy", "class_weights": "balanced"},
            0.415275445,
            0.538477927,
            37.2304134,
        ),
        (
            {"name": "cross_entropy", "class_weights": [1.0, 2.0, 3.0]},
            1.09861229,
            1.42454478,
            4.1367126,
        ),
        (
            {"name": "cross_entropy", "class_weights": "balanced", "label_smoothing": 0.2},
            2.56811609,
            3.23552688,
            32.5890753,
        ),
        ({"name": "balanced_softmax"}, 0.125751205, 0.254743387, 4.47780076),
        ({"name": "logit_adjustment", "tau": 2.0}, 0.0144905037, 0.0375279355, 8.52928326),
        ({"name": "focal", "gamma": 1.5}, 0.598008785, 1.02995134, 0.984649084),
        (
            {"name": "focal", "gamma": 0.5, "class_weights": "balanced"},
            0.339070981,
            0.477566825,
            32.84881,
        ),
        ({"name": "ldam", "max_margin": 2.0}, 1.60528882, 1.92781178, 2.98834448),
        ({"name": "label_aware_smoothing"}, 1.09861229, 1.40366813, 1.38053113),
    ],
    ids=str,
)
def test_untrained_losses_are_the_recorded_ones(loss, head_at_zero, head, tail):
    """A formula of its own, in numpy, gave these values; logits are drawn from one seed."""
    found = untrained_losses(Recipe(loss=loss), {"a": 500, "b": 60, "c": 7}, ["a", "c"])
    assert found["zero"]["a"] == pytest.approx(head_at_zero, rel=1e-6)
    assert found["random"] == pytest.approx({"a": head, "c": tail}, rel=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "ldam"])
def test_class_weights_that_do_not_fit_are_left_out(name):
    """The finding outputs_differ reports them."""
    plain, wrong = (
        untrained_losses(Recipe(loss={"name": name, **weights}), {"a": 500, "b": 60}, ["a", "b"])
        for weights in ({}, {"class_weights": [1.0]})
    )
    assert plain == wrong


def test_a_tiny_network_is_measured_and_described(digits):
    recipes = {"one": Recipe(**SMALL), "two": Recipe(**SMALL, loss={"name": "focal"})}
    recipes["student"] = Recipe(**SMALL, distill={"from": "stacked"})
    sizes, probe = structures(digits, recipes), measure(digits, recipes)
    assert sizes["one"]["parameters"] == 269_434
    rows = json.loads(digits.read_text())["splits"]["train"]["rows"]
    more = sizes["student"]["estimated_memory_mb"] - sizes["one"]["estimated_memory_mb"]
    assert more == pytest.approx(4 * 10 * rows / 2**20, abs=0.01)
    taught, own = probe["experts"]["student"], probe["experts"]["one"]
    assert taught["step"] == own["step"]
    assert taught["host_memory_mb"] == float(f"{own['host_memory_mb'] + more:.4g}")
    assert sizes["one"]["weights_mb"] < sizes["one"]["estimated_memory_mb"] < 30
    assert not probe["findings"]
    own = probe["experts"]["one"]
    assert own is not None and own == probe["experts"]["two"]
    assert 0 < own["step"][0] < own["epoch"][0] < own["run"] < 60
    normalization = json.loads(digits.read_text())["normalization"]
    normalized = normalizations(digits, recipes)
    found = describe(facts_of(digits, recipes), normalized, sizes, [])
    assert found == describe(facts_of(digits, recipes), normalized, structures(digits, recipes), [])
    expert = found["experts"]["one"]
    assert expert["normalization"]["mean"] == pytest.approx(normalization["mean"], rel=1e-5)
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


def test_the_class_means_of_a_cosine_head_are_timed(digits):
    start = {"model": {"name": "cifar_resnet20", "weights": "start.safetensors"}, "normalize": True}
    recipe = Recipe(**SMALL | start, tune={"head": "cosine"})
    own = measure(digits, {"tuned": recipe})["experts"]["tuned"]
    assert own["run"] > own["start"] + sum(own["step"])


@pytest.mark.parametrize("kind", ["prototype", "ridge", "knn"])
def test_fitted_heads_are_timed_on_drawn_features(digits, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    fetch_weights(MODEL)
    recipe = Recipe(model=MODEL.model_dump(), features={"size": 16}, head={"kind": kind})
    timed = measure(digits, {"fitted": recipe})
    assert timed["findings"] == [] and timed["experts"]["fitted"]["run"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"name": "cifar_resnet23"}}, "unknown model 'cifar_resnet23'"),
        ({"activation_checkpointing": True}, "recipe.activation_checkpointing: 'cifar_resnet"),
        ({"model": {"name": "vit_tiny_patch16_224", "options": {"embed_dim": 50}}}, "recipe.model"),
        ({"model": {"name": "vit_tiny_patch16_224", "options": {"patch_size": 0}}}, "recipe.model"),
        ({"batch_size": 100_000, "drop_last": True}, "recipe.batch_size is 100000"),
        ({"optimizer": {"name": "sdg"}}, "unknown optimizer 'sdg'"),
        ({"loss": {"name": "focal", "class_weights": [1.0]}}, "class_weights is 1"),
    ],
)
def test_what_training_would_fail_of_is_an_error(digits, caplog, change, words):
    recipes = {"bad": Recipe(**{**SMALL, **change}), "good": Recipe(**SMALL)}
    sizes, probe = structures(digits, recipes), measure(digits, recipes)
    (finding,) = probe["findings"]
    assert (finding["kind"], finding["severity"]) == ("probe_failed", "error")
    assert words in caplog.text
    assert finding["evidence"] == {"experts": ["bad"]}
    found = describe(facts_of(digits, recipes), normalizations(digits, recipes), sizes, [])
    assert "| bad | failed |" in page("tiny", found, probe)


def test_transforms_are_tried_before_training(digits):
    def recipe(size, *transforms):
        named = [{"name": name, "options": options} for name, options in transforms]
        return Recipe(**SMALL | {"image_size": size, "augmentation": {"albumentations": named}})

    crop = ("RandomCrop", {"height": 32, "width": 32})
    recipes = {
        "plain": Recipe(**SMALL),
        "fine": recipe(8, ("Rotate", {}), ("RandomResizedCrop", {})),
        "crop": recipe(8, crop, ("ChannelShuffle", {})),
        "same": recipe(8, crop),
        "constant": recipe(8, ("InvertImg", {"p": 1}), ("Rotate", {"p": 1})),
        "small": recipe(8, ("RandomCrop", {"height": 5, "width": 5})),
        "random": recipe(8, ("RandomScale", {"scale_limit": [-0.5, -0.1]})),
    }
    tried = tried_transforms(digits, recipes)
    assert [(finding.kind, finding.severity, finding.evidence["experts"]) for finding in tried] == [
        ("refused_transform", "error", ["crop", "same"]),
        ("refused_transform", "error", ["crop"]),
        ("constant_transform", "warning", ["constant"]),
        ("enlarged_crops", "warning", ["small"]),
    ]
    assert tried_transforms(digits, {"plain": Recipe(**SMALL)}) == []
