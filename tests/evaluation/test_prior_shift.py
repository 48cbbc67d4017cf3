import numpy as np
import pytest

from tailproof.calibration.metrics import log_probabilities
from tailproof.evaluation.prior_shift import (
    ClassConfidence,
    estimate_shares,
    fit_prior_strength,
    prior_shares,
)
from tailproof.evaluation.probabilities import Prediction
from tests.guarantees.drawn import COUNTS, draw

CLASSES = 6
MEANS = 1.6 * np.eye(CLASSES)


def images(rng, prior, samples, noise=1.0):
    """Normal clusters, whose exact posterior under any prior is known."""
    labels = rng.choice(CLASSES, samples, p=prior)
    return MEANS[labels] + noise * rng.normal(size=(samples, CLASSES)), labels


def posterior(x, prior):
    return log_probabilities(x @ MEANS.T - (MEANS**2).sum(axis=1) / 2 + np.log(prior))


def accuracy(log_p, labels):
    return (log_p.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("strength", [1.0, 0.0, -1.0, 0.4])
def test_the_strength_of_the_training_shares_is_found(strength):
    """Also where the samples that show it have other class shares than train."""
    for shares in (None, np.full(len(COUNTS), 1 / len(COUNTS))):
        prediction = draw(4000, 3, shares=shares, strength=strength)
        found = fit_prior_strength(prediction.log_p, prediction.labels, COUNTS)
        assert abs(found.value - strength) < 4 * found.error and found.error < 0.05


def test_the_standard_error_is_not_below_that_of_many_draws():
    found = [
        fit_prior_strength(own.log_p, own.labels, COUNTS)
        for own in (draw(150, seed) for seed in range(60))
    ]
    deviation = np.std([own.value for own in found])
    assert 0.8 * deviation <= np.mean([own.error for own in found]) <= 2 * deviation


def test_equal_training_classes_have_any_strength():
    prediction = draw(50, 0)
    level = np.full(len(COUNTS), 30)
    assert fit_prior_strength(prediction.log_p, prediction.labels, level) == (1.0, 0.0)
    assert prior_shares(level, 2.5) == pytest.approx(np.full(len(COUNTS), 1 / len(COUNTS)))


def test_a_class_without_training_samples_has_a_share():
    shares = prior_shares(np.array([10, 0, 5]), 1.0)
    assert shares == pytest.approx(np.array([10, 1, 5]) / 16)
    prediction = draw(60, 0)
    counts = np.where(np.arange(len(COUNTS)) == 0, 0, COUNTS)
    assert np.isfinite(fit_prior_strength(prediction.log_p, prediction.labels, counts)).all()


@pytest.mark.parametrize("samples", [30, 100, 300])
@pytest.mark.parametrize("ratio", [50, 10, 2, 1, 0.1, 0.02])
def test_estimated_shares_give_nine_tenths_of_what_true_ones_give_or_say_so(ratio, samples):
    """Forward and backward mixes, as published for long-tailed test sets."""
    uniform = np.full(CLASSES, 1 / CLASSES)
    actual = ratio ** (-np.arange(CLASSES) / (CLASSES - 1))
    actual /= actual.sum()
    known_gain, gain, trusted = 0.0, 0.0, 0
    rng = np.random.default_rng(int(100 * ratio) + samples)
    tune, labels = images(rng, uniform, 600)
    confidence = ClassConfidence.of(Prediction(posterior(tune, uniform), labels))
    fresh, fresh_labels = images(rng, actual, 20_000)
    base = accuracy(posterior(fresh, uniform), fresh_labels)
    for _ in range(10):
        x, _ = images(rng, actual, samples)
        found = estimate_shares(posterior(x, uniform), uniform, confidence)
        if found.trusted:
            trusted += 1
            gain += accuracy(posterior(fresh, found.shares), fresh_labels) - base
            known_gain += accuracy(posterior(fresh, actual), fresh_labels) - base
        else:
            assert found.reason and np.array_equal(found.shares, uniform)
    if ratio in (50, 0.02) and samples >= 300:
        assert trusted >= 9, "a clear change is used"
    if ratio == 1:
        assert trusted <= 2, "the test is wrong once in twenty"
    elif trusted:
        assert gain >= 0.9 * known_gain


def test_the_confidence_is_checked_among_the_classes_that_it_was_measured_on():
    rng = np.random.default_rng(1)
    uniform = np.full(CLASSES, 1 / CLASSES)
    tune, labels = images(rng, uniform, 600)
    known = ClassConfidence.of(Prediction(posterior(tune, uniform), labels))
    part = ClassConfidence(known.mean[:3], known.sd[:3], known.samples[:3])
    x, _ = images(rng, np.array([0.7, 0.2, 0.1, 0, 0, 0]), 500)
    log_p = posterior(x, uniform)
    possible = log_probabilities(log_p[:, :3])
    found = estimate_shares(possible, np.full(3, 1 / 3), part, np.exp(log_p.max(axis=1)))
    assert found.trusted and found.shares == pytest.approx([0.7, 0.2, 0.1], abs=0.07)
    unlike = np.exp(posterior(0.4 * x, uniform).max(axis=1))
    assert not estimate_shares(possible, np.full(3, 1 / 3), part, unlike).trusted


def test_images_of_another_kind_are_not_adapted_to():
    rng = np.random.default_rng(1)
    uniform = np.full(CLASSES, 1 / CLASSES)
    tune, labels = images(rng, uniform, 600)
    confidence = ClassConfidence.of(Prediction(posterior(tune, uniform), labels))
    blurred = 0.4 * images(rng, np.array([0.7, 0.1, 0.05, 0.05, 0.05, 0.05]), 500)[0]
    found = estimate_shares(posterior(blurred, uniform), uniform, confidence)
    assert not found.trusted and "standard errors" in found.reason
    lacking = ClassConfidence.of(
        Prediction(posterior(tune, uniform)[labels > 0], labels[labels > 0])
    )
    many, _ = images(rng, np.array([0.7, 0.1, 0.05, 0.05, 0.05, 0.05]), 500)
    found = estimate_shares(posterior(many, uniform), uniform, lacking)
    assert not found.trusted and "fewer than two images in tune" in found.reason
