import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.metrics import log_probabilities, nll
from tailproof.calibration.scaling import MOST_CLASSES, fit_matrix, fit_vector
from tailproof.calibration.temperature import fit_temperature
from tailproof.runtime.errors import TailproofError


def draw(samples, true, seed=0, classes=4):
    """Labels from softmax of a true calibrator of the logits."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(samples, classes))
    p = np.exp(log_probabilities(true.apply(logits)))
    labels = (p.cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    return logits.astype(np.float32), labels


def penalised(calibrator, logits, labels):
    """The objective of the docstrings, written as a plain sum."""
    classes = logits.shape[1]
    factors = calibrator.factors
    matrix = np.diag(factors) if factors.ndim == 1 else factors
    change = matrix - np.eye(classes)
    diagonal = np.diag(change)
    rest = (change**2).sum() - diagonal @ diagonal
    q = log_softmax(logits / calibrator.temperature, axis=1)
    log_p = log_softmax(q @ matrix.T + calibrator.bias, axis=1)
    penalty = classes * (diagonal @ diagonal + calibrator.bias @ calibrator.bias)
    return -log_p[np.arange(len(labels)), labels].sum() + penalty + classes * (classes - 1) * rest


FITS = {"vector": fit_vector, "matrix": fit_matrix}
SKEWED = Calibrator(1.5, np.array([0.6, 1.4, 1.0, 1.0]), np.array([0.8, -0.5, 0.0, 0.0]))


@pytest.mark.parametrize("kind", FITS)
def test_nothing_nearby_or_found_without_derivatives_is_better(kind):
    logits, labels = draw(150, SKEWED)
    fitted = FITS[kind](logits, labels, np.ones(150), 1.5)
    best = penalised(fitted, logits, labels)
    rng = np.random.default_rng(1)
    for _ in range(200):
        moved = Calibrator(
            1.5,
            fitted.factors + rng.normal(0, 0.02, fitted.factors.shape),
            fitted.bias + rng.normal(0, 0.02, 4),
        )
        assert best < penalised(moved, logits, labels)
    if kind == "vector":
        found = minimize(
            lambda x: penalised(Calibrator(1.5, 1 + x[:4], x[4:]), logits, labels), np.zeros(8)
        )
        assert fitted.factors == pytest.approx(1 + found.x[:4], abs=1e-3)
        assert fitted.bias == pytest.approx(found.x[4:], abs=1e-3)


@pytest.mark.parametrize("kind", FITS)
def test_many_samples_find_the_generator_and_few_change_little(kind):
    logits, labels = draw(30_000, SKEWED)
    fitted = FITS[kind](logits, labels, np.ones(len(labels)), 1.5)
    truth = np.exp(log_probabilities(SKEWED.apply(logits)))
    assert np.abs(np.exp(log_probabilities(fitted.apply(logits))) - truth).mean() < 0.01
    few = FITS[kind](logits[:12], labels[:12], np.ones(12), 1.5)
    matrix = np.diag(few.factors) if kind == "vector" else few.factors
    assert np.abs(matrix - np.eye(4)).max() < 0.5 and np.abs(few.bias).max() < 0.5


@pytest.mark.parametrize("kind", FITS)
def test_a_class_without_samples_stays_possible(kind):
    logits, labels = draw(400, Calibrator())
    kept = labels != 2
    fitted = FITS[kind](logits[kept], labels[kept], np.ones(kept.sum()), 1.0)
    fresh, fresh_labels = draw(2000, Calibrator(), seed=1)
    log_p = log_probabilities(fitted.apply(fresh))
    assert nll(log_p, fresh_labels) < 2 * nll(log_probabilities(fresh), fresh_labels)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["temperature", "vector", "matrix"]))
def test_what_was_applied_is_undone(seed, kind):
    rng = np.random.default_rng(seed)
    factors = {
        "temperature": None,
        "vector": rng.uniform(0.3, 2, 5),
        "matrix": np.eye(5) + rng.normal(0, 0.1, (5, 5)),
    }[kind]
    calibrator = Calibrator(1.7, factors, None if factors is None else rng.normal(size=5))
    assert calibrator.kind == kind
    logits = rng.normal(size=(20, 5)).astype(np.float32)
    undone = calibrator.undo(calibrator.apply(logits).astype(np.float32))
    assert log_probabilities(undone) == pytest.approx(log_probabilities(logits), abs=1e-4)
    again = Calibrator.from_jsonable(calibrator.to_jsonable())
    assert np.array_equal(again.apply(logits), calibrator.apply(logits))


def test_a_matrix_that_would_mix_up_classes_can_still_be_undone():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    values = np.where(rng.random(20_000) < 0.5, labels, 1 - labels)  # they say nothing
    logits = 8.0 * np.eye(2)[values]
    fitted = fit_matrix(logits, labels, np.ones(20_000), 1.0)
    assert np.isfinite(fitted.undo(fitted.apply(logits))).all()


def test_a_matrix_of_too_many_classes_is_refused():
    logits = np.zeros((3, MOST_CLASSES + 1))
    with pytest.raises(TailproofError, match=f"at most {MOST_CLASSES} classes, found"):
        fit_matrix(logits, np.zeros(3, int), np.ones(3), 1.0)


def test_weights_are_copies():
    logits, labels = draw(60, SKEWED)
    weights = np.random.default_rng(0).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    for fit in FITS.values():
        once = fit(logits, labels, weights.astype(float), 1.2)
        copied = fit(logits[rows], labels[rows], np.ones(len(rows)), 1.2)
        assert once.factors == pytest.approx(copied.factors, abs=1e-4)
        assert once.bias == pytest.approx(copied.bias, abs=1e-4)
    once = fit_temperature(logits, labels, weights.astype(float)).temperature
    copied = fit_temperature(logits[rows], labels[rows], np.ones(len(rows))).temperature
    assert once == pytest.approx(copied, rel=1e-6)
