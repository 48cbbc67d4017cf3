import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import log_loss

from tailproof.calibration.class_weights import resolve_weighting, sample_weights, shares_differ
from tailproof.calibration.metrics import log_probabilities, nll


def test_class_balanced_weights_give_each_class_the_same_say():
    labels = np.array([0, 0, 0, 2])
    weights = sample_weights(labels, "class_balanced")
    assert weights.sum() == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert 2 < weights.sum() < 4
    assert sample_weights(labels, "plain").tolist() == [1] * 4
    assert weights[:3].sum() == pytest.approx(weights[3])
    logits = np.random.default_rng(0).normal(size=(4, 3))
    by_sklearn = log_loss(
        labels, np.exp(log_probabilities(logits)), sample_weight=weights, labels=range(3)
    )
    assert nll(log_probabilities(logits), labels, weights) == pytest.approx(by_sklearn, abs=1e-6)


def test_classes_count_as_often_as_on_tune():
    labels, tune = np.repeat([0, 1, 3], [60, 30, 10]), np.repeat([0, 1, 2, 3], [10, 20, 30, 40])
    weights = sample_weights(labels, "like_tune", tune)
    assert weights.sum() == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    share = np.bincount(labels, weights) / weights.sum()
    assert share == pytest.approx(np.array([10, 20, 0, 40]) / 70), "no weight makes up for class 2"
    more = sample_weights(np.append(labels, 4), "like_tune", tune)
    assert more[-1] == 0 and more[:-1] == pytest.approx(weights)
    assert sample_weights(np.array([7, 7]), "like_tune", tune).tolist() == [1, 1]


def test_shares_differ_where_pearsons_test_says_so():
    rng = np.random.default_rng(0)
    for tail in (0.2, 0.6, 1.0):
        share = np.array([tail**number for number in range(5)])
        first, second = rng.choice(5, 80, p=share / share.sum()), rng.integers(0, 5, 120)
        counts = [np.bincount(labels, minlength=5) for labels in (first, second)]
        assert shares_differ(first, second) == (chi2_contingency(counts).pvalue < 0.05)
    drawn = [shares_differ(*rng.integers(0, 6, (2, 200))) for _ in range(400)]
    assert np.mean(drawn) < 0.09, "about 5 % if they are equal"


def test_samples_are_weighted_only_where_shares_differ():
    tail, flat = np.repeat([0, 1, 2], [80, 15, 5]), np.repeat([0, 1, 2], 40)
    nothing = np.empty(0, int)
    assert resolve_weighting("like_tune", tail, flat) == "like_tune"
    for same in (tail, tail[::5], nothing):
        assert resolve_weighting("like_tune", tail, same) == "plain"
    assert resolve_weighting("plain", tail, flat) == "plain"
    assert resolve_weighting("class_balanced", flat, flat) == "class_balanced"
