import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import (
    FITTED_AT,
    Grouped,
    Rule,
    apply,
    cut,
    fit_balanced,
    fit_chow,
    fit_shift,
    fit_worst,
    head_and_tail,
)

fast = settings(max_examples=30, deadline=None)
TAIL = np.array([False, False, False, True, True])


def case(seed, samples=60):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, samples)
    logits = rng.normal(size=(samples, 5)) + rng.uniform(0, 3) * np.eye(5)[labels]
    return Prediction.from_logits(logits, labels), rng.uniform(0.2, 2, samples)


@fast
@given(st.integers(0, 10**6))
def test_a_rule_is_equations_12_and_13_of_the_paper(seed):
    prediction, weight = case(seed)
    rng = np.random.default_rng(seed)
    gain, multiplier, cost = rng.uniform(0.1, 5, 2), rng.normal(size=2) * 3, rng.uniform()
    samples = Grouped.of(prediction, head_and_tail(TAIL), weight)
    score, wrong = apply(Rule(0.5, np.zeros(2), gain, multiplier, -np.inf), samples)
    u, mu = gain[TAIL.astype(int)], multiplier[TAIL.astype(int)]
    for row, p in enumerate(prediction.p):
        chosen = np.argmax(u * p)
        rejected = np.max(u * p) < ((u - mu) * p).sum() - cost
        assert wrong[row] == (chosen != prediction.labels[row])
        assert rejected == (score[row] < -cost)


@fast
@given(st.integers(0, 10**6))
def test_chow_accepts_by_the_largest_probability(seed):
    prediction, weight = case(seed)
    samples = Grouped.of(prediction, head_and_tail(TAIL), weight)
    (rule,) = fit_chow(samples, (0.6,))
    score, wrong = apply(rule, samples)
    order = np.argsort(-prediction.confidence)
    np.testing.assert_array_equal(np.argsort(-score), order)
    np.testing.assert_array_equal(wrong, ~prediction.correct)
    accepted = score >= rule.threshold
    reached = weight[accepted].sum() / weight.sum()
    assert reached + 1e-9 >= 0.6
    assert reached - weight[accepted][np.argmin(score[accepted])] / weight.sum() < 0.6


@pytest.mark.parametrize("fit", [fit_chow, fit_balanced, fit_worst])
def test_every_rule_accepts_on_tune_what_it_was_asked_to(fit):
    prediction, _ = case(0, 500)
    samples = Grouped.of(prediction, head_and_tail(TAIL), np.ones(500))
    rules = fit(samples, FITTED_AT)
    assert [rule.coverage for rule in rules] == list(FITTED_AT)
    for rule in rules:
        score, _ = apply(rule, samples)
        assert (score >= rule.threshold).mean() == pytest.approx(rule.coverage, abs=2e-3)
    assert rules[-1].threshold == -np.inf


@fast
@given(st.integers(0, 10**6))
def test_the_shift_makes_the_tail_as_likely_as_it_is(seed):
    prediction, weight = case(seed)
    samples = Grouped.of(prediction, head_and_tail(TAIL), weight)
    shift = fit_shift(samples)
    share = np.average(TAIL[prediction.labels], weights=weight)
    found = np.average(samples.shifted(shift).mass[:, 1], weights=weight)
    assert found == pytest.approx(share, abs=1e-8)

    def loss(d):
        log_p = prediction.log_p + d * TAIL
        log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        return -np.average(log_p[np.arange(60), prediction.labels], weights=weight)

    best = loss(shift[1])
    assert all(best <= loss(shift[1] + step) for step in (-1, -0.01, 0.01, 1))


def test_a_group_that_tune_does_not_hold_is_survived():
    prediction, weight = case(0)
    head = ~TAIL[prediction.labels]
    only = Prediction(prediction.log_p[head], prediction.labels[head])
    samples = Grouped.of(only, head_and_tail(TAIL), weight[head])
    for fit in (fit_chow, fit_balanced, fit_worst):
        for rule in fit(samples, (0.5, 1.0)):
            assert np.isfinite([*rule.gain, *rule.multiplier, *rule.shift]).all()


@pytest.mark.parametrize("samples", [1, 2])
def test_a_rule_can_be_fitted_on_a_handful_of_samples(samples):
    prediction, weight = case(0, samples)
    grouped = Grouped.of(prediction, head_and_tail(TAIL), weight)
    for fit in (fit_chow, fit_balanced, fit_worst):
        for rule in fit(grouped, (0.5, 1.0)):
            assert np.isfinite([*rule.gain, *rule.multiplier, *rule.shift]).all()


def test_the_order_of_the_samples_does_not_matter_to_the_balanced_rule():
    prediction, weight = case(4, 200)
    order = np.random.default_rng(0).permutation(200)
    shuffled = Prediction(prediction.log_p[order], prediction.labels[order])
    groups = head_and_tail(TAIL)
    first = fit_balanced(Grouped.of(prediction, groups, weight), FITTED_AT)
    second = fit_balanced(Grouped.of(shuffled, groups, weight[order]), FITTED_AT)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.gain, b.gain, rtol=1e-9)
        np.testing.assert_allclose(a.multiplier, b.multiplier)
        assert a.threshold == pytest.approx(b.threshold)


def test_one_group_leaves_nothing_to_choose():
    prediction, weight = case(1)
    groups = head_and_tail(np.zeros(5, bool))
    assert len(groups) == 1
    samples = Grouped.of(prediction, groups, weight)
    for fit in (fit_balanced, fit_worst):
        for rule, chow in zip(fit(samples, (0.3, 1.0)), fit_chow(samples, (0.3, 1.0)), strict=True):
            accepted, wrong = apply(rule, samples)[0] >= rule.threshold, apply(rule, samples)[1]
            expected = apply(chow, samples)[0] >= chow.threshold
            np.testing.assert_array_equal(accepted, expected)
            np.testing.assert_array_equal(wrong, ~prediction.correct)


def test_equal_scores_are_cut_together():
    assert cut(np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.ones(5), 0.4) == 2.0
    assert cut(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.0, 1.0]), 0.5) == 3.0
    assert cut(np.array([3.0, 2.0]), np.ones(2), 1.0) == -np.inf
