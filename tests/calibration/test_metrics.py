import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

import tailproof.torchvision_stub  # noqa: F401 - torchmetrics imports torchvision
from tailproof.calibration import metrics


def case(seed, samples, classes, scale):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(samples, classes)) * scale
    labels = rng.integers(0, classes, samples)
    return metrics.log_probabilities(logits), labels, rng.uniform(0.1, 3, samples)


cases = st.builds(
    case,
    st.integers(0, 2**32 - 1),
    st.integers(1, 120),
    st.integers(2, 7),
    st.floats(0.1, 6),
)
fast = settings(max_examples=40, deadline=None)


@fast
@given(cases)
def test_nll_and_brier_are_those_of_scikit_learn(data):
    log_p, labels, weights = data
    p, classes = np.exp(log_p), np.arange(log_p.shape[1])
    floor = np.log(np.finfo(p.dtype).eps)  # scikit-learn has no smaller probability
    for w in (None, weights):
        expected = log_loss(labels, p, sample_weight=w, labels=classes)
        clipped = np.maximum(log_p, floor)
        assert metrics.nll(clipped, labels, w) == pytest.approx(expected, abs=1e-6)
        expected = (
            brier_score_loss(labels, p, sample_weight=w, labels=classes, scale_by_half=False)
            if len(classes) > 2
            else np.average(((p - np.eye(2)[labels]) ** 2).sum(axis=1), weights=w)
        )
        assert metrics.brier(p, labels, w) == pytest.approx(expected, abs=1e-6)


@fast
@given(cases)
def test_ece_is_that_of_torchmetrics(data):
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    log_p, labels, _ = data
    p = np.minimum(np.exp(log_p), 1 - 1e-6)  # it puts a confidence of 1 into a bin of its own
    expected = multiclass_calibration_error(
        torch.tensor(p), torch.tensor(labels), num_classes=p.shape[1], n_bins=15, norm="l1"
    )
    assert metrics.ece(p, labels) == pytest.approx(float(expected), abs=1e-6)


@fast
@given(cases)
def test_weights_count_like_repeated_samples(data):
    log_p, labels, weights = data
    counts = np.ceil(weights).astype(int)
    again, labels_again = np.repeat(log_p, counts, axis=0), np.repeat(labels, counts)
    for name in ("ece", "ece_classwise", "brier"):
        metric = getattr(metrics, name)
        expected = metric(np.exp(again), labels_again)
        assert metric(np.exp(log_p), labels, counts) == pytest.approx(expected, abs=1e-9)
    assert metrics.nll(log_p, labels, counts) == pytest.approx(metrics.nll(again, labels_again))
    expected = metrics.ece_equal_mass(np.exp(again), labels_again)
    found = metrics.ece_equal_mass(np.exp(log_p), labels, counts, base=counts)
    assert found == pytest.approx(expected, abs=1e-9)


@fast
@given(cases)
def test_rows_of_weights_give_the_values_one_by_one(data):
    log_p, labels, weights = data
    rows = np.stack([np.ones(len(labels)), weights])
    for name in ("ece", "ece_equal_mass", "ece_classwise", "brier"):
        metric = getattr(metrics, name)
        found = metric(np.exp(log_p), labels, rows)
        one_by_one = [metric(np.exp(log_p), labels, row) for row in rows]
        np.testing.assert_allclose(found, one_by_one, rtol=1e-12, atol=1e-15)


@fast
@given(cases)
def test_equal_mass_bins_of_distinct_values_are_the_parts_of_a_sorted_list(data):
    log_p, labels, _ = data
    p = np.exp(log_p)
    samples = len(labels) - len(labels) % 15
    if samples == 0 or len(np.unique(p[:samples].max(axis=1))) < samples:
        return
    confidence, correct = metrics.top_class(p[:samples], labels[:samples])
    parts = np.array_split(np.argsort(confidence), 15)
    expected = sum(abs((correct - confidence)[part].sum()) for part in parts) / samples
    assert metrics.ece_equal_mass(p[:samples], labels[:samples]) == pytest.approx(expected)


@fast
@given(cases)
def test_classwise_error_is_the_mean_of_the_error_of_each_class(data):
    log_p, labels, _ = data
    p = np.exp(log_p)
    expected = []
    for index in range(p.shape[1]):
        total = 0.0
        for b in range(15):
            low, high = b / 15, (b + 1) / 15
            inside = (p[:, index] > low) & (p[:, index] <= high)
            total += abs(((labels == index)[inside] - p[inside, index]).sum())
        expected.append(total / len(labels))
    assert metrics.ece_classwise(p, labels) == pytest.approx(np.mean(expected), abs=1e-9)


def test_classwise_error_of_many_classes_does_not_depend_on_blocks(monkeypatch):
    log_p, labels, weights = case(3, 50, 40, 2.0)
    whole = metrics.ece_classwise(np.exp(log_p), labels, weights)
    monkeypatch.setattr(metrics, "_BLOCK", 50 * 15 * 3)
    assert metrics.ece_classwise(np.exp(log_p), labels, weights) == pytest.approx(whole, rel=1e-12)


def test_bins_agree_with_the_reliability_diagram_of_scikit_learn():
    log_p, labels, _ = case(0, 2000, 2, 2.0)
    p = np.exp(log_p)[:, 1]
    share, mean = calibration_curve(labels, p, n_bins=15)
    cell = metrics.equal_width_bins(p, 15)
    used = np.unique(cell)
    np.testing.assert_allclose(share, [labels[cell == b].mean() for b in used])
    np.testing.assert_allclose(mean, [p[cell == b].mean() for b in used])


def test_the_edges_of_equal_width_bins():
    values = np.array([0.0, 1e-9, 1 / 15, 1 / 15 + 1e-9, 1.0])
    assert metrics.equal_width_bins(values, 15).tolist() == [0, 0, 0, 1, 14]


def test_equal_values_share_a_bin_whatever_their_order():
    values = np.array([1.0] * 20 + [0.5] * 10)
    cell = metrics.equal_mass_bins(values, np.ones(30), 15)
    assert len(set(cell[:20])) == len(set(cell[20:])) == 1
    order = np.random.default_rng(0).permutation(30)
    assert np.array_equal(metrics.equal_mass_bins(values[order], np.ones(30), 15), cell[order])


def test_a_perfect_and_a_hopeless_forecast():
    labels = np.array([0, 1, 2])
    sure = np.eye(3)
    assert metrics.ece(sure, labels) == metrics.brier(sure, labels) == 0
    assert metrics.ece_classwise(sure, labels) == 0
    wrong = sure[[1, 2, 0]]
    assert metrics.ece(wrong, labels) == 1
    assert metrics.brier(wrong, labels) == 2


def test_rows_of_zeros_are_undefined():
    log_p, labels, _ = case(0, 5, 3, 1.0)
    rows = np.stack([np.zeros(5), np.ones(5)])
    for name in ("ece", "ece_equal_mass", "ece_classwise", "brier"):
        assert np.isnan(getattr(metrics, name)(np.exp(log_p), labels, rows)).tolist() == [
            True,
            False,
        ]


def drawn_predictions(rng, samples, sharpness):
    """Labels from softmax(z); probabilities of softmax(sharpness · z)."""
    logits = 2 * rng.normal(size=(samples, 5))
    p = np.exp(metrics.log_probabilities(logits))
    labels = (p.cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    return np.exp(metrics.log_probabilities(sharpness * logits)), labels


@pytest.mark.parametrize("sharpness", [1.0, 1.5, 2.5])
def test_the_debiased_ece_of_few_samples_is_closer_to_the_ece_of_many(sharpness):
    rng = np.random.default_rng(0)
    truth = metrics.ece(*drawn_predictions(rng, 200_000, sharpness))
    drawn = [drawn_predictions(rng, 200, sharpness) for _ in range(150)]
    plain, debiased = (
        np.mean([error(*each) for each in drawn]) for error in (metrics.ece, metrics.ece_debiased)
    )
    assert plain > truth + 0.01
    assert abs(debiased - truth) < (plain - truth) / 2 + 0.005


def test_the_debiased_ece_of_few_calibrated_samples_is_still_above_zero():
    rng = np.random.default_rng(0)
    drawn = [drawn_predictions(rng, 323, 1.0) for _ in range(150)]
    assert 0.01 < np.mean([metrics.ece_debiased(*each) for each in drawn]) < 0.02


def test_noise_is_the_ece_of_calibrated_predictions():
    rng = np.random.default_rng(0)
    drawn = [drawn_predictions(rng, 400, 1.0) for _ in range(150)]
    noise = np.mean([metrics.confidence_noise(metrics.top_class(*each)[0]) for each in drawn])
    assert noise == pytest.approx(np.mean([metrics.ece(*each) for each in drawn]), rel=0.05)


def test_resampling_does_not_raise_the_debiased_ece():
    """The bootstrap doubles the variance in each bin, which lifts the plain ECE above its value."""
    rng = np.random.default_rng(0)
    p, labels = drawn_predictions(rng, 600, 1.6)
    rows = np.stack([np.bincount(rng.integers(600, size=600), minlength=600) for _ in range(400)])
    assert metrics.ece(p, labels, rows).mean() > metrics.ece(p, labels) + 0.005
    resampled = metrics.ece_debiased(p, labels, rows).mean()
    assert resampled == pytest.approx(metrics.ece_debiased(p, labels), abs=0.005)
