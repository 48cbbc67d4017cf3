"""Detectors against histories with known faults; `make bench-diagnosis` prints the whole table."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.calibration.metrics import ece
from tailproof.config.merge import merged_recipe
from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target
from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, noise_of
from tailproof.diagnosis.detectors.sweeps import costly_regularisation, sweep_ceiling
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import soften
from tailproof.diagnosis.registry import KINDS
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet
from tests.diagnosis.faults import faulty
from tests.diagnosis.scores import Scores
from tests.diagnosis.sets import sets
from tests.diagnosis.synthetic import healthy

SEED, EACH = 7, 4


def kinds(case) -> set[str]:
    return {finding.kind for finding in diagnose(case.history, case.context)}


@pytest.fixture(scope="module")
def scores():
    found = Scores().count(healthy(SEED, 3 * EACH), kinds).count(faulty(SEED, EACH), kinds)
    return found.count(sets(SEED, EACH), lambda each: {f.kind for f in compare(each.runs)})


def test_healthy_runs_get_nothing_found(scores):
    assert scores.healthy > 600
    assert scores.false_alarms <= 0.02


def test_faults_are_found(scores):
    assert set(scores.there) == set(KINDS), "every kind has cases"
    assert sum(scores.found.values()) / sum(scores.there.values()) >= 0.95
    assert {kind: scores.recall(kind) for kind in KINDS if scores.recall(kind) < 0.9} == {}


def test_what_is_found_is_there(scores):
    assert {kind: scores.precision(kind) for kind in KINDS if scores.precision(kind) < 0.9} == {}


def test_every_change_can_be_applied_and_says_what_it_expects():
    changed = set()
    for case in faulty(SEED, 1):
        recipes = [case.context.recipe] if case.context.recipe else [
            Recipe(), Recipe.model_validate({"loss": {"name": "focal"},
                                             "schedule": {"name": "multistep", "milestones": [9],
                                                          "warmup": {"steps": 5}}}),
        ]  # fmt: skip
        for recipe in recipes:
            context = dataclasses.replace(case.context, recipe=recipe)
            for finding in diagnose(case.history, context):
                if finding.change is not None:
                    merged = merged_recipe(recipe.model_dump(mode="json"), finding.change)
                    changed.add(finding.kind)
                    assert Recipe.model_validate(merged) != recipe, finding.kind
                    assert finding.expects
    assert len(changed) >= 12


def test_findings_are_plain_and_in_order():
    for case in faulty(SEED, 1):
        found = diagnose(case.history, case.context)
        assert [each.order for each in found] == sorted(each.order for each in found)
        for finding in found:
            plain = finding.to_jsonable()
            wanted = {"kind", "title", "severity", "epochs", "evidence", "cost", "change"}
            assert wanted <= set(plain)
            assert 0 <= plain["confidence"] <= 1
            assert set(plain["epochs"]) <= set(map(int, case.history.passed))


@given(
    columns=st.dictionaries(
        st.sampled_from(
            ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_auroc",
             "tpr_at_fpr_1e-4", "fpr_at_tpr_0.5", "fpr_at_tpr_0.85", "learning_rate", "attempt"]
        ),
        st.lists(st.floats(0, 1e6) | st.just(np.nan) | st.just(np.inf), min_size=1, max_size=12),
        min_size=1,
    ),
    origin=st.integers(0, 1),
)  # fmt: skip
def test_no_history_breaks_a_detector(columns, origin):
    length = max(map(len, columns.values()))
    padded = {
        name: np.array(values + [np.nan] * (length - len(values)))
        for name, values in columns.items()
    }
    passed = tuple(range(origin, length + origin))
    history = RunHistory("any", np.arange(length) + origin, padded, passed)
    for context in (Context(), Context(recipe=Recipe(), classes=3, train_samples=9, taken_over=2)):
        for finding in diagnose(history, context):
            finding.to_jsonable()


@given(st.floats(-5, 5), st.floats(0.001, 1), st.integers(0, 10**6))
def test_noise_is_of_residuals_and_not_of_the_trend(slope, sd, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, sd, 400)
    assert noise_of(values + slope * np.arange(400)) == pytest.approx(noise_of(values), rel=1e-6)
    assert noise_of(values) == pytest.approx(sd, rel=0.35)


def test_a_step_is_no_noise():
    values = np.where(np.arange(60) < 30, 1.0, 0.5)
    assert noise_of(values) == 0
    assert Curve("val_loss", np.arange(60), values).noise > 0, "but never none at all"


def history_of(values, name="val_accuracy"):
    rows = [{"epoch": float(i + 1), name: value} for i, value in enumerate(values)]
    return RunHistory.of("run", rows)


def missed(values, *targets, recipe=None, metric="val_accuracy"):
    context = Context(recipe=recipe, targets={metric: list(targets)})
    return [f for f in diagnose(history_of(values), context) if f.kind == "target_missed"]


def test_a_milestone_is_judged_while_the_run_goes_on_and_the_end_at_the_end():
    values, running = [0.1, 0.2, 0.3, 0.3], Recipe(epochs=50)
    milestone, end = Target(at_least=0.35, at_epoch=4), Target(at_least=0.75)
    assert missed(values[:3], milestone, recipe=running) == []
    (finding,) = missed(values, milestone, end, recipe=running)
    assert finding.epochs == (4,) and finding.evidence["at_least"] == 0.35
    assert finding.evidence["value"] == 0.3
    assert len(missed(values, milestone, end)) == 2
    assert missed(values, Target(at_least=0.3), Target(at_most=0.31)) == []


def test_an_expected_gap_is_held_against_train():
    rows = [
        {"epoch": float(i), "train_accuracy": 0.5 + 0.02 * i, "val_accuracy": 0.5} for i in range(9)
    ]
    history = RunHistory.of("run", rows)
    context = Context(targets={"val_accuracy": [Target(gap_at_most=0.05)]})
    for found in diagnose(history, context):
        assert found.kind != "target_missed" or "gap" in found.evidence["metric"]
    at_end = Context(targets={"val_accuracy": [Target(gap_at_most=0.05, at_epoch=9)]})
    (finding,) = [f for f in diagnose(history, at_end) if f.kind == "target_missed"]
    assert finding.evidence["value"] == pytest.approx(0.16)


def test_a_metric_that_was_not_measured_is_reported_with_a_suggestion():
    (finding,) = missed([0.1, 0.2], Target(at_least=0.1), metric="val_acuracy")
    assert finding.evidence["metric"] == "val_acuracy"
    assert finding.severity == "info" and "'val_accuracy'" in finding.title


def test_a_restart_leaves_only_what_led_to_the_end():
    epochs = [1, 2, 3, 1, 2, 3, 4]
    rows = [{"epoch": float(e), "attempt": 1.0 + (i > 2), "train_loss": 10.0 * (i < 3) + 1 / e}
            for i, e in enumerate(epochs)]  # fmt: skip
    history = RunHistory.of("run", rows)
    assert list(history.epochs) == [1, 2, 3, 4] and history.passed == tuple(epochs)
    assert history.columns["train_loss"].max() == 1
    (finding,) = diagnose(history)
    assert finding.kind == "repeated_epochs" and finding.cost == {"epochs_wasted": 3}


@pytest.mark.parametrize(("jump", "told"), [(0.3, []), (1.2, ["bad_resume"])])
def test_a_spike_like_others_is_no_bad_resume(jump, told):
    loss = 1 + 0.001 * np.arange(40.0, 0.0, -1.0)
    loss[[8, 17, 31]] *= 1.3  # as small and hot runs have
    loss[24] *= 1 + jump
    rows = [{"epoch": float(i + 1), "attempt": 1.0 + (i > 23), "val_loss": value}
            for i, value in enumerate(loss)]  # fmt: skip
    found = [each.kind for each in diagnose(RunHistory.of("run", rows))]
    assert [kind for kind in found if kind == "bad_resume"] == told


def test_of_a_metric_that_falls_the_lowest_point_of_a_sweep_is_best():
    values = [0.30, 0.29, 0.31, 0.32]
    runs = [
        DiagnosedRun(str(rate), settings={"rate": rate}, metric="fpr_at_tpr_0.5", best=value)
        for rate, value in enumerate(values)
    ]
    (ceiling,) = sweep_ceiling(RunSet(runs, target=0.01))
    assert ceiling.evidence["best"] == "1"
    assert ceiling.cost["points_lost"] == pytest.approx(0.28)


def test_a_setting_that_raises_a_loss_costs_no_points():
    decays = (0.0, 0.1, 0.2, 0.3, 0.4)
    runs = [
        DiagnosedRun(str(decay), settings={"optimizer.weight_decay": decay}, metric="val_loss",
                     best=1 + decay, train=0.5 + 2 * decay)
        for decay in decays
    ]  # fmt: skip
    (costly,) = costly_regularisation(RunSet(runs))
    assert costly.cost == {"val_loss": pytest.approx(0.4)}
    assert "val_loss rises by 0.4" in costly.title


@pytest.mark.parametrize(("sharpened", "told"), [(1.0, False), (3.0, True)])
def test_splits_of_different_sizes_are_no_drift_of_calibration(sharpened, told):
    """Labels drawn from p itself; ECE of 150 samples is far above that of 3,000 all the same."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(20):
        errors = {
            split: resampled_ece(rng, samples, sharpened if split == "test" else 1.0)
            for split, samples in (("dev", 150), ("test", 3000))
        }
        if sharpened == 1.0:
            assert errors["dev"][0] > errors["test"][0]
        cards = compare(RunSet([], ece={"a": errors}))
        found += any(card.kind == "calibration_drift" for card in cards)
    assert (found >= 15) if told else (found <= 1)


def resampled_ece(rng, samples, power):
    """ECE of a model whose p is sharpened, with the ends of 200 resamples."""
    p = rng.dirichlet(np.full(10, 0.3), samples)
    labels = (p.cumsum(1) < rng.random((samples, 1))).sum(1).clip(max=9)
    p = p**power / (p**power).sum(1, keepdims=True)
    drawn = rng.multinomial(samples, np.full(samples, 1 / samples), 200)
    return float(ece(p, labels)), *np.quantile(ece(p, labels, drawn), (0.025, 0.975))


@pytest.mark.parametrize(
    "columns",
    [
        {"train_loss": [1.0, 0, 0, 0, 0, 0, 0.5, 3.0, 5.0, 9.0]},
        {"val_loss": [0.0, 0.0, 0.0, 1.0], "attempt": [1.0, 1.0, 1.0, 2.0]},
        {"tpr_at_fpr_1pct": [0.1, 0.2], "fpr_at_tpr_0.5": [0.3, 0.3], "fpr_at_tpr_0.7": [0.3, 0.3]},
    ],
)
def test_odd_columns_break_no_detector(columns):
    rows = [
        {"epoch": number, **dict(zip(columns, values, strict=True))}
        for number, values in enumerate(zip(*columns.values(), strict=True), 1)
    ]
    diagnose(RunHistory.of("odd", rows), Context())


def test_a_change_never_asks_for_less_of_what_it_asks_for():
    for recipe in (
        Recipe(loss={"name": "cross_entropy", "label_smoothing": 0.5}),
        Recipe(loss={"name": "focal"}, mixing={"mixup": 1.0}, drop_last=True),
    ):
        assert soften(Context(recipe=recipe)) == {}
