import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from tailproof.guarantees.binomial_threshold import (
    ALWAYS,
    fit_threshold,
    levels_of_tests,
    needed_answers,
)
from tailproof.guarantees.risk import answered_above


@given(st.floats(0.005, 0.4), st.floats(0.01, 0.3))
def test_so_many_answers_without_an_error_are_needed(risk, level):
    count = needed_answers(risk, level)
    assert binomtest(0, count, risk, alternative="less").pvalue <= level * (1 + 1e-9)
    if count > 1:
        assert binomtest(0, count - 1, risk, alternative="less").pvalue > level * (1 - 1e-9)


@given(st.integers(1, 3000), st.floats(0.01, 0.4), st.floats(0.02, 0.3))
def test_the_levels_of_all_tests_add_up(samples, risk, level):
    levels = levels_of_tests(samples, risk, level)
    assert bool(levels) == (needed_answers(risk, level) <= samples)
    if levels:
        assert sum(levels.values()) == pytest.approx(level)
        assert list(levels) == sorted(levels) and max(levels) == samples
        assert min(levels) >= needed_answers(risk, level)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 400), st.sampled_from([0.02, 0.1, 0.3]), st.booleans())
def test_what_is_promised_passes_an_exact_test_on_the_fitted_samples(seed, samples, risk, tied):
    rng = np.random.default_rng(seed)
    certainty = rng.uniform(size=samples) ** 0.3
    certainty = np.round(certainty, 1) if tied else certainty
    wrong = rng.uniform(size=samples) > certainty
    fit = fit_threshold(certainty, wrong, risk, 0.9)
    assert fit.samples == samples and fit.needed == needed_answers(risk, 0.1)
    answered = answered_above(certainty, fit.threshold)
    if fit.threshold is None:
        assert not answered.any()
        return
    test = binomtest(int(wrong[answered].sum()), int(answered.sum()), risk, alternative="less")
    assert answered.sum() and test.pvalue <= 0.1 * (1 + 1e-9)
    assert fit.threshold == ALWAYS or fit.threshold in certainty


def test_everything_is_answered_where_nothing_is_wrong_and_nothing_where_all_is():
    certainty = np.linspace(0.5, 1, 100)
    assert fit_threshold(certainty, np.zeros(100, bool), 0.05, 0.9).threshold == ALWAYS
    assert fit_threshold(certainty, np.ones(100, bool), 0.05, 0.9).threshold is None
    assert fit_threshold(certainty[:44], np.zeros(44, bool), 0.05, 0.9).threshold is None
    assert fit_threshold(certainty[:45], np.zeros(45, bool), 0.05, 0.9).threshold == ALWAYS


def test_ties_do_not_lose_the_error_budget():
    right = np.zeros(1000, bool)
    assert fit_threshold(np.ones(1000), right, 0.05, 0.9).threshold == ALWAYS
    certainty = np.append(np.ones(900), np.full(100, 0.5))  # the middle test has no answer either
    assert fit_threshold(certainty, certainty < 1, 0.05, 0.9).threshold == 0.5
    assert fit_threshold(np.ones(1000), np.arange(1000) < 60, 0.05, 0.9).threshold is None


# The error by certainty: calibrated, or with a trough where surer answers are wrong more often.
ERRORS = {
    "calibrated": lambda c: 1 - c,
    "overconfident": lambda c: np.minimum(1, 2 * (1 - c) + 0.03),
    "surer is worse": lambda c: np.where(c > 0.9, 0.12, 0.04),
}


@pytest.mark.parametrize("shape", list(ERRORS))
@pytest.mark.parametrize("risk", [0.05, 0.1])
@pytest.mark.parametrize("digits", [1, 16])
def test_a_promise_is_broken_as_often_as_the_confidence_allows(shape, risk, digits):
    """500 draws of 250 samples, against the error of the population above the threshold."""
    grid = np.linspace(0, 1, 20001) ** 0.25
    error, grid = ERRORS[shape](grid), np.round(grid, digits)
    above = np.cumsum(error[::-1])[::-1] / np.arange(len(grid), 0, -1)
    broken = 0
    for seed in range(500):
        rng = np.random.default_rng([4, seed])
        certainty = rng.uniform(size=250) ** 0.25
        wrong = rng.uniform(size=250) < ERRORS[shape](certainty)
        threshold = fit_threshold(np.round(certainty, digits), wrong, risk, 0.9).threshold
        if threshold is not None:
            place = np.searchsorted(grid, threshold, side="right")
            broken += place < len(grid) and above[place] > risk
    assert broken <= binom.ppf(0.999, 500, 0.1)
