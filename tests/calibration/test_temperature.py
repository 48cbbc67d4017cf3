import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tailproof.calibration.class_weights import sample_weights
from tailproof.calibration.metrics import log_probabilities, nll
from tailproof.calibration.temperature import HIGHEST, LOWEST, SPREAD, fit_temperature


def sample(seed, samples=400, classes=5, temperature=1.0):
    """Draw labels from softmax(z); hand out z · temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(samples, classes)) * 2
    p = np.exp(log_probabilities(logits))
    labels = np.array([rng.choice(classes, p=row) for row in p])
    return (logits * temperature).astype(np.float32), labels


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(0.3, 6),
    st.sampled_from(["plain", "class_balanced"]),
)
def test_no_temperature_on_a_grid_or_found_by_scipy_is_better(seed, temperature, weighting):
    logits, labels = sample(seed, samples=120, temperature=temperature)
    weights = sample_weights(labels, weighting)

    def loss(log_t):
        return nll(log_probabilities(logits / np.exp(log_t)), labels, weights)

    fit = fit_temperature(logits, labels, weights, np.inf)
    assert fit.warnings == []
    grid = np.linspace(np.log(LOWEST), np.log(HIGHEST), 301)
    best = loss(np.log(fit.temperature))
    assert best <= min(loss(point) for point in grid) + 1e-12
    found = minimize_scalar(loss, bounds=(grid[0], grid[-1]), method="bounded").x
    assert np.log(fit.temperature) == pytest.approx(found, abs=1e-4)


def test_the_temperature_of_the_generator_is_found():
    for temperature in (0.5, 1.0, 3.0):
        logits, labels = sample(1, samples=6000, temperature=temperature)
        weights = sample_weights(labels, "plain")
        for spread in (SPREAD, np.inf):
            fit = fit_temperature(logits, labels, weights, spread)
            assert fit.temperature == pytest.approx(temperature, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 2), st.floats(-50, 50))
def test_scaling_and_shifting_logits(seed, scale, shift):
    logits, labels = sample(seed, samples=100)
    weights = sample_weights(labels, "plain")
    before = fit_temperature(logits, labels, weights, np.inf).temperature
    scaled = logits.astype(float) * scale + shift
    after = fit_temperature(scaled, labels, weights, np.inf).temperature
    assert after == pytest.approx(before * scale, rel=1e-6)


def test_without_a_mistake_the_temperature_stays_and_says_why():
    labels = np.array([0, 1, 2] * 10)
    fit = fit_temperature(np.eye(3)[labels] * 4.0, labels, sample_weights(labels, "plain"))
    assert fit.temperature == 1
    assert "temperature stays 1" in fit.warnings[0]


def test_logits_that_are_far_too_small_go_to_the_lower_bound():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    shown = np.where(rng.random(300) < 0.1, (labels + 1) % 3, labels)  # one in ten is wrong
    weights = sample_weights(labels, "plain")
    fit = fit_temperature(np.eye(3)[shown] * 0.01, labels, weights, np.inf)
    assert fit.temperature == LOWEST
    assert f"lowest temperature {LOWEST}" in fit.warnings[0]


def test_constant_logits_leave_the_temperature_alone():
    labels = np.array([0, 1, 2])
    fit = fit_temperature(np.full((3, 3), 7.0), labels, sample_weights(labels, "plain"))
    assert fit.temperature == 1
    assert "constant" in fit.warnings[0]


def test_logits_that_mislead_go_to_the_upper_bound():
    labels = np.array([0, 1, 2] * 10)
    wrong = np.eye(3)[(labels + 1) % 3] * 5.0
    fit = fit_temperature(wrong, labels, sample_weights(labels, "plain"), np.inf)
    assert fit.temperature == HIGHEST
    assert "highest temperature" in fit.warnings[0]


def test_huge_logits_do_not_overflow():
    logits, labels = sample(2, samples=200, temperature=1.0)
    with np.errstate(over="raise", invalid="raise"):
        fit = fit_temperature(logits * 15 + 1e6, labels, sample_weights(labels, "plain"))
    assert 10 < fit.temperature < 20
