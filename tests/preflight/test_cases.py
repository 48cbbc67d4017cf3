"""What people concluded of configurations, found by itself.

Of the conclusions these need a run and are not here: what the gap between train and val was, that
the accuracy missed its target, that val was near chance. "Weight decay too low, MixUp weak" holds
of that run only: ImageNet recipes with the same values reach more.
"""

import json
from pathlib import Path

import pytest

from tailproof.config.recipe import Recipe
from tailproof.preflight.checks.learning_rate import usual_rates
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.findings import findings
from tailproof.preflight.loss_effect import loss_effect, untrained_losses
from tailproof.schedules import Phases, rate_changes

CASES = Path(__file__).parent / "cases"


def case(name):
    return json.loads((CASES / f"{name}.json").read_text())


def by_kind(facts):
    return {finding.kind: finding for finding in findings(facts, loss_effect)}


@pytest.fixture
def ready():
    """Three experts on CIFAR-100-LT; 8,648 of its 10,847 images make 68 batches of 128."""
    config = case("expert_readiness")["config"]
    counts = {f"class{number}": int(500 * 100 ** (-number / 99)) for number in range(100)}
    recipes = {
        name: Recipe(
            loss={"name": name},
            optimizer={"learning_rate": config["learning_rate"]},
            schedule={
                "name": config["schedule"]["kind"],
                "milestones": config["schedule"]["milestones"],
                "gamma": config["schedule"]["gamma"],
                "warmup": {"steps": config["warmup_steps"]},
            },
            epochs=config["epochs"],
            batch_size=config["batch_size"],
        )
        for name in config["experts"]
    }
    kept = {name: max(1, round(count * 8648 / 10847)) for name, count in counts.items()}
    return ExperimentFacts(recipes=recipes, train=kept, val=counts, samples=68 * 128)


def test_the_readiness_review_of_three_experts(ready):
    found, measured = by_kind(ready), case("expert_readiness")["measured"]
    assert found["short_warmup"].evidence["warmup_epochs"] == pytest.approx(15 / 68)
    rate = found["unusual_rate"]
    assert rate.severity == "warning"
    assert rate.evidence["learning_rate"] > rate.evidence["usual"][1]
    assert rate.evidence["last_learning_rate"] == pytest.approx(0.0004)
    assert found["rare_classes"].evidence["classes"] == pytest.approx(
        measured["classes_under_10_samples"], abs=4
    )
    losses = found["loss_effect"].evidence["losses"]
    assert {name for name, loss in losses.items() if loss["tail"] > 2 * loss["head"]} == {
        "logit_adjustment", "balanced_softmax",
    }  # fmt: skip
    assert found["frequent_validation"].change == {"validate_every": 10}
    assert "no_early_stopping" in found
    # What nobody noticed then.
    assert found["same_function"].evidence["experts"] == ["logit_adjustment", "balanced_softmax"]


def test_losses_at_random_logits_are_those_that_were_measured(ready):
    """The class counts then are not known to the sample, so the tail's is nearly the same."""
    measured = case("expert_readiness")["measured"]["initial_loss"]
    for name, recipe in ready.recipes.items():
        found = untrained_losses(recipe, ready.train, [ready.head, ready.tail])["random"]
        assert found[ready.head] == pytest.approx(measured[name]["head"], abs=0.1)
        assert found[ready.tail] == pytest.approx(measured[name]["tail"], abs=0.35)


def resolutions(name, augmentation):
    config = case("fixres_imagenet")[name]
    phases = [
        {
            "from_epoch": max(int(epoch), 1),
            "image_size": size,
            **({"augmentation": {}} if transforms == "eval" else {}),
        }
        for epoch, (size, transforms) in config["resolution_schedule"].items()
    ]
    mixing = {"mixup": config["mixup_alpha"], "cutmix": config["cutmix_alpha"]}
    optimizer = {"learning_rate": 0.5, "weight_decay": config["weight_decay"]}
    shared = {"epochs": 60, "batch_size": 256, "drop_last": True, "model": {"name": "resnet50"}}
    return Recipe(
        phases=phases, mixing=mixing, optimizer=optimizer, augmentation=augmentation, **shared
    )


def test_the_faulty_schedule_of_sizes_and_the_one_that_was_set_right():
    counts = {f"class{number}": 1250 for number in range(1000)}
    known = {"train": counts, "val": counts, "samples": 1_250_000}
    crops = {"flip": True, "albumentations": [{"name": "RandomResizedCrop"}]}
    faulty = ExperimentFacts(recipes={"run": resolutions("config", crops)}, **known)
    mended = ExperimentFacts(recipes={"run": resolutions("fixed_config", crops)}, **known)
    found = by_kind(faulty)
    assert found["bare_phase"].severity == "warning"
    assert found["bare_phase"].evidence["from_epochs"] == [50]
    assert found["bare_phase"].change["phases"][2]["augmentation"] is None
    assert found["short_first_phase"].evidence["epochs"] == 9
    assert not {"bare_phase", "short_first_phase"} & set(by_kind(mended))


def test_the_transformer_that_stayed_near_chance():
    baseline = case("stm_baseline")["baseline"]
    recipe = Recipe(
        model={"name": "scanline_vit", "options": {"num_classes": baseline["num_classes"]}},
        optimizer={"name": "adam", "learning_rate": baseline["learning_rate"]},
        schedule={"name": baseline["schedule"]},
        epochs=baseline["epochs"],
        batch_size=baseline["batch_size"],
        normalize=baseline["normalisation"] is not None,
    )
    weights = case("stm_baseline")["reference"]["class_weights"]
    counts = {f"class{number}": round(1000 / each) for number, each in enumerate(weights)}
    facts = ExperimentFacts(
        recipes={"baseline": recipe},
        train=counts,
        val=counts,
        samples=sum(counts.values()),
    )
    found = by_kind(facts)
    expected = {
        "outputs_differ": "error",
        "unusual_rate": "warning",
        "no_schedule": "warning",
        "no_normalization": "warning",
        "no_rebalancing": "info",
    }
    assert expected.items() <= {kind: each.severity for kind, each in found.items()}.items()
    low, high, _ = usual_rates(recipe, baseline["batch_size"])
    assert low < case("stm_baseline")["reference"]["learning_rate"] < high


def test_the_rates_at_the_milestones(ready):
    recipe = ready.recipes["cross_entropy"]
    rates = rate_changes(recipe, Phases.of_samples(recipe, ready.samples))
    told = {each["epoch"]: each["learning_rate"] for each in rates}
    assert told == pytest.approx({1: 0.4 / 15, 2: 0.4, 97: 0.04, 193: 0.004, 225: 4e-4, 256: 4e-4})
