import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax

from tailproof.calibration.metrics import log_probabilities, nll
from tailproof.evaluation.ensembles import combine, stack


def experts(seed, count=3, samples=200, classes=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    strength = rng.uniform(0.2, 2, count)
    logits = rng.normal(size=(count, samples, classes))
    return logits + strength[:, None, None] * np.eye(classes)[labels], labels


def loss(a, logits, labels):
    return nll(log_probabilities(np.tensordot(a, logits, 1)), labels)


def objective(a, logits, labels):
    return loss(a, logits, labels) + ((a - 1 / len(a)) ** 2).sum() / 2 / len(labels)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_no_other_weights_fit_better(seed, count):
    logits, labels = experts(seed, count)
    found = stack(logits, labels)
    assert (found >= 0).all()
    best = objective(found, logits, labels)
    rng = np.random.default_rng(seed)
    for _ in range(30):
        near = np.maximum(found + rng.normal(size=count) * 10 ** rng.uniform(-4, 0), 0)
        assert best <= objective(near, logits, labels) + 1e-9
    other = minimize(
        objective, np.ones(count), (logits, labels), method="SLSQP", bounds=[(0, 100)] * count
    )
    assert best <= other.fun + 1e-9


def test_an_expert_that_misleads_gets_nothing():
    logits, labels = experts(0, 2, samples=800)
    logits[1] = -logits[1]
    assert stack(logits, labels)[1] == 0


def test_with_many_samples_the_prior_weighs_nothing():
    logits, labels = experts(3, samples=4000)
    alone = minimize(loss, np.ones(3), (logits, labels), method="SLSQP", bounds=[(0, 100)] * 3)
    np.testing.assert_allclose(stack(logits, labels), alone.x, rtol=0.01)


def test_an_expert_that_stands_twice_shares_its_weight():
    logits, labels = experts(1, 1, samples=2000)
    single = stack(logits, labels)
    double = stack(np.repeat(logits, 2, axis=0), labels)
    assert double[0] == pytest.approx(double[1], rel=1e-3)
    assert double.sum() == pytest.approx(single.sum(), rel=0.01)


def test_samples_without_a_mistake_do_not_send_the_weights_to_infinity():
    labels = np.array([0, 1, 2] * 5)
    logits = np.stack([np.eye(3)[labels] * 4] * 2)
    found = stack(logits, labels)
    assert (found < 2).all()
    assert (found > 0.5).all()


def test_combinations_are_what_they_are_called():
    logits, _ = experts(2)
    weights = np.array([0.5, 0.0, 1.5])
    by_hand = {
        "mean_logits": softmax(logits.mean(axis=0), axis=1),
        "mean_probabilities": softmax(logits, axis=2).mean(axis=0),
        "stacked": softmax(0.5 * logits[0] + 1.5 * logits[2], axis=1),
    }
    for name, expected in by_hand.items():
        np.testing.assert_allclose(np.exp(combine(name, logits, weights)), expected, rtol=1e-9)
