import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailproof.evaluation.bootstrap import (
    bounds,
    difference,
    finite_or_none,
    interval,
    over_seeds,
    quantiles,
    resamples,
)
from tailproof.evaluation.metrics import measure
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import WeightedSamples


def test_rows_are_ones_and_then_multinomial_counts():
    rows = resamples(50, 400, seed=3, split="dev")
    assert rows.shape == (401, 50)
    assert (rows[0] == 1).all()
    assert (rows.sum(axis=1) == 50).all()
    counts = rows[1:].astype(float)
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_rows_depend_on_seed_and_split_alone():
    rows = resamples(20, 100, 0, "dev")
    assert np.array_equal(rows, resamples(20, 100, 0, "dev"))
    assert not np.array_equal(rows, resamples(20, 100, 1, "dev"))
    assert not np.array_equal(rows, resamples(20, 100, 0, "test"))


def test_more_replicates_leave_the_first_as_they_were():
    assert np.array_equal(resamples(20, 500, 0, "test")[:101], resamples(20, 100, 0, "test"))


def test_seeds_are_averaged_and_their_spread_is_given():
    replicates = np.linspace(0, 1, 101)
    found = over_seeds([np.r_[0.4, replicates], np.r_[0.6, replicates]])
    assert found["mean"] == 0.5
    assert found["sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert (found["low"], found["high"], found["seeds"]) == (0.025, 0.975, 2)
    assert over_seeds([np.r_[0.4, replicates]])["sd"] is None


def test_a_difference_is_paired_by_replicate():
    noise = np.random.default_rng(0).normal(size=1001)
    found = difference([noise + 1], [noise])
    assert found == {"difference": 1.0, "low": 1.0, "high": 1.0}


def test_what_is_undefined_is_null():
    nothing = np.full(101, np.nan)
    assert interval(nothing) == {"value": None, "low": None, "high": None}
    some = np.r_[0.5, np.nan, np.full(50, 0.25), np.full(50, 0.75)]
    assert interval(some) == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert bounds(np.array([1.0, np.nan])) == (None, None)


def test_numbers_are_cut_to_ten_digits():
    assert finite_or_none(1 / 3) == 0.3333333333
    assert finite_or_none(0.1 + 0.2) == finite_or_none(0.3)
    assert finite_or_none(float("nan")) is None


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    recall = np.array([0.9, 0.6, 0.3])
    prior = np.array([0.5, 0.3, 0.2])
    truth = {"top1": prior @ recall, "balanced_accuracy": recall.mean(), "few_accuracy": 0.3}
    index = np.arange(3)
    task = Task(
        "label", list("abc"), index, {"many": index == 0, "medium": index == 1, "few": index == 2}
    )
    trials, samples = 200, 250
    inside = dict.fromkeys(truth, 0)
    rows = resamples(samples, 200, 0, "test").astype(float)
    for _ in range(trials):
        labels = rng.choice(3, samples, p=prior)
        right = rng.random(samples) < recall[labels]
        logits = np.eye(3)[np.where(right, labels, (labels + 1) % 3)] * 3
        found = measure(
            WeightedSamples(Prediction.from_logits(logits, labels), rows, np.ones(samples), task)
        )
        for name, value in truth.items():
            low, high = bounds(found[name])
            inside[name] += low <= value <= high
    for name, count in inside.items():
        assert 0.9 <= count / trials <= 0.99, name


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e9, 1e9)),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_quantiles_are_those_of_numpy(values, shares):
    assert quantiles(np.sort(values), shares) == np.quantile(values, shares).tolist()
