import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.calibration.metrics import log_probabilities
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.selective import (
    FITTERS,
    GRID,
    Answers,
    SelectiveAnswers,
    accept_share,
    area,
    fit_rules,
    risks,
)
from tailproof.evaluation.task import Task

fast = settings(max_examples=25, deadline=None)
TAIL = np.array([False, False, True, True])
TASK = Task(
    "label", list("abcd"), np.arange(4), {"many": ~TAIL, "medium": TAIL & False, "few": TAIL}
)


def case(seed, samples=40):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(samples) % 4)
    logits = rng.normal(size=(samples, 4)) + rng.uniform(0, 2) * np.eye(4)[labels]
    return Prediction.from_logits(logits, labels), rng.uniform(0.2, 2, samples)


def measured(prediction, tune, weights, base, coverages=(0.5, 1.0)):
    rules = fit_rules(tune, np.ones(len(tune.labels)), TAIL, list(coverages))
    return SelectiveAnswers.of(prediction, rules, base, TASK, list(coverages)).measure(weights)


def chow_by_hand(prediction, weight, coverage):
    """Accept by falling confidence, the last sample in part; return the three risks."""
    kept, lost, room = np.zeros(2), np.zeros(2), coverage * weight.sum()
    for row in np.argsort(-prediction.confidence):
        take = min(weight[row], max(room, 0.0))
        room -= weight[row]
        group = int(TAIL[prediction.labels[row]])
        kept[group] += take
        lost[group] += take * (not prediction.correct[row])
    each = [lost[k] / kept[k] if kept[k] > 0 else 1.0 for k in range(2)]
    return lost.sum() / kept.sum(), np.mean(each), max(each)


@fast
@given(st.integers(0, 10**6))
def test_chow_is_the_brute_force(seed):
    prediction, weight = case(seed)
    for base in (np.ones(40), weight):
        found, curves = measured(prediction, prediction, base[None], base)
        by_hand = np.array([chow_by_hand(prediction, base, c) for c in GRID])
        for index, kind in enumerate(("standard", "balanced", "worst")):
            np.testing.assert_allclose(curves["chow", kind][0], by_hand[:, index], atol=1e-9)
            points = np.r_[by_hand[0, index], by_hand[:, index]]
            expected = np.trapezoid(points, np.r_[0.0, GRID])
            assert found[f"aurc_{kind}_chow"][0] == pytest.approx(expected)


def test_the_area_is_close_to_the_average_over_all_samples():
    """Geifman et al. 2019: the mean over n of the risk of the n most confident samples."""
    prediction, _ = case(0, 4000)
    found, _ = measured(prediction, prediction, np.ones((1, 4000)), np.ones(4000))
    wrong = ~prediction.correct[np.argsort(-prediction.confidence)]
    exact = (np.cumsum(wrong) / np.arange(1, 4001)).mean()
    assert found["aurc_standard_chow"][0] == pytest.approx(exact, abs=1e-3)


@fast
@given(st.integers(0, 10**6))
def test_at_full_coverage_risk_is_error(seed):
    prediction, weight = case(seed)
    found, curves = measured(prediction, prediction, weight[None], np.ones(40))
    wrong = ~prediction.correct
    error = np.average(wrong, weights=weight)
    groups = [
        np.average(wrong[rows], weights=weight[rows])
        for rows in (~TAIL[prediction.labels], TAIL[prediction.labels])
    ]
    assert found["coverage_chow_at_1"][0] == pytest.approx(1)
    for kind, expected in (
        ("standard", error), ("balanced", np.mean(groups)), ("worst", max(groups))
    ):  # fmt: skip
        assert found[f"risk_{kind}_chow_at_1"][0] == pytest.approx(expected)
        assert curves["chow", kind][0, -1] == pytest.approx(expected)


def test_a_deployed_threshold_comes_from_tune():
    tune, _ = case(1, 400)
    other, _ = case(2, 400)
    found, _ = measured(other, tune, np.ones((1, 400)), np.ones(400))
    threshold = np.sort(tune.confidence)[::-1][199]
    accepted = other.confidence >= threshold
    assert found["coverage_chow_at_0.5"][0] == pytest.approx(accepted.mean())
    expected = (~other.correct)[accepted].mean()
    assert found["risk_standard_chow_at_0.5"][0] == pytest.approx(expected)


def test_a_group_that_is_never_answered_counts_as_wrong():
    group = np.array([0, 0, 1, 1])
    answers = Answers(np.array([[1.0], [1], [0], [0]]), np.zeros((4, 1)))
    found = risks(answers, group, 2, np.ones((1, 4)))
    assert found["standard"].item() == 0
    assert found["balanced"].item() == 0.5
    assert found["worst"].item() == 1


def test_a_group_without_samples_does_not_count():
    group = np.array([0, 0, 1, 1])
    answers = Answers(np.ones((4, 1)), np.array([[1.0], [0], [1], [1]]))
    found = risks(answers, group, 2, np.array([[1.0, 1, 0, 0]]))
    assert found["balanced"].item() == found["worst"].item() == found["standard"].item() == 0.5


def test_nothing_accepted_is_undefined_and_the_area_carries_on():
    answers = Answers(np.zeros((2, 1)), np.zeros((2, 1)))
    assert np.isnan(risks(answers, np.zeros(2, int), 1, np.ones((1, 2)))["standard"])
    curve = np.full((1, len(GRID)), 0.25)
    curve[0, :3] = np.nan
    assert area(curve)[0] == pytest.approx(0.25)


@fast
@given(st.integers(0, 10**6), st.floats(0.01, 1))
def test_shares_add_up_to_the_coverage_whatever_the_order(seed, coverage):
    rng = np.random.default_rng(seed)
    score, weight = rng.integers(0, 5, 30).astype(float), rng.uniform(0, 2, 30)
    share = accept_share(score, weight, np.array([coverage]))[:, 0]
    assert share @ weight == pytest.approx(coverage * weight.sum())
    assert all(len(set(share[score == value].round(12))) <= 1 for value in range(5))
    order = rng.permutation(30)
    again = accept_share(score[order], weight[order], np.array([coverage]))[:, 0]
    np.testing.assert_allclose(again, share[order], atol=1e-9)


def long_tailed(seed, samples, classes=8):
    """Draw samples with a long-tailed prior; the probabilities are the true posteriors."""
    rng = np.random.default_rng(seed)
    prior = 0.45 ** np.arange(classes)
    prior /= prior.sum()
    labels = rng.choice(classes, samples, p=prior)
    x = 1.6 * np.eye(classes)[labels] + rng.normal(size=(samples, classes))
    return Prediction(log_probabilities(1.6 * x + np.log(prior)), labels)


def test_the_plug_in_rules_beat_chow_where_they_should():
    tail = np.arange(8) >= 3
    task = Task(
        "label",
        list("abcdefgh"),
        np.arange(8),
        {"many": ~tail, "medium": tail & False, "few": tail},
    )
    tune, test = long_tailed(0, 4000), long_tailed(1, 8000)
    rules = fit_rules(tune, np.ones(4000), tail, [1.0])
    ones = np.ones(8000)
    found, _ = SelectiveAnswers.of(test, rules, ones, task, [1.0]).measure(ones[None])
    value = {name: float(each[0]) for name, each in found.items()}
    assert value["aurc_balanced_plugin_balanced"] < value["aurc_balanced_chow"] - 0.05
    assert value["aurc_worst_plugin_worst"] < value["aurc_worst_chow"] - 0.1
    assert value["aurc_worst_plugin_balanced"] < value["aurc_worst_chow"] - 0.1
    assert value["aurc_standard_chow"] <= min(
        value["aurc_standard_plugin_balanced"], value["aurc_standard_plugin_worst"]
    )


def test_a_shift_repairs_probabilities_of_another_prior():
    """An expert with balanced outputs, judged on a long tail, is as good as the true posterior."""
    tail = np.arange(8) >= 3
    tune, test = long_tailed(0, 1500), long_tailed(1, 1500)
    areas = []
    for offset in (0.0, 2.0):
        shifted = [
            Prediction(log_probabilities(each.log_p + offset * tail), each.labels)
            for each in (tune, test)
        ]
        rules = fit_rules(shifted[0], np.ones(1500), tail, [1.0])
        task = Task("l", list("abcdefgh"), np.arange(8), {"many": ~tail, "few": tail})
        answers = SelectiveAnswers.of(shifted[1], rules, np.ones(1500), task, [1.0])
        found, _ = answers.measure(np.ones((1, 1500)))
        areas.append(found["aurc_balanced_plugin_balanced"][0])
    assert areas[0] == pytest.approx(areas[1], abs=1e-6)


def test_every_rule_is_measured():
    prediction, weight = case(0)
    found, curves = measured(prediction, prediction, np.stack([weight, weight]), weight)
    assert set(curves) == {
        (rule, risk) for rule in FITTERS for risk in ("standard", "balanced", "worst")
    }
    assert all(np.isfinite(each).all() and each.shape == (2,) for each in found.values())
