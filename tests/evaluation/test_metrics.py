import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

import tailproof.torchvision_stub  # noqa: F401 - torchmetrics imports torchvision
from tailproof.evaluation.metrics import agreement, measure
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.roc import measure_auroc
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import ClassSums, WeightedSamples

fast = settings(max_examples=40, deadline=None)


def case(seed, samples, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, samples)
    logits = rng.normal(size=(samples, classes)) + rng.uniform(0, 3) * np.eye(classes)[labels]
    return Prediction.from_logits(logits, labels), rng.uniform(0.1, 3, samples)


cases = st.builds(case, st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(2, 9))


def task_of(classes):
    index = np.arange(classes)
    groups = {"many": index < 1, "medium": index == 1, "few": index > 1}
    return Task("label", [str(i) for i in index], 100 - index, groups)


def measured(prediction, weights):
    classes = prediction.p.shape[1]
    found = measure(
        WeightedSamples(prediction, weights[None], np.ones(len(weights)), task_of(classes))
    )
    return {name: float(value[0]) for name, value in found.items()}


@fast
@given(cases)
def test_accuracies_are_those_of_scikit_learn(data):
    prediction, weights = data
    labels, predicted = prediction.labels, prediction.predicted
    classes = prediction.p.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for w in (np.ones(len(labels)), weights):
            found = measured(prediction, w)
            expected = {
                "top1": accuracy_score(labels, predicted, sample_weight=w),
                "balanced_accuracy": balanced_accuracy_score(labels, predicted, sample_weight=w),
                "macro_f1": f1_score(labels, predicted, average="macro", sample_weight=w),
            }
            if classes > 5:
                expected["top5"] = top_k_accuracy_score(
                    labels, prediction.p, k=5, sample_weight=w, labels=range(classes)
                )
            else:
                expected["top5"] = 1.0
            recalls = recall_score(
                labels, predicted, labels=range(classes), average=None, sample_weight=w,
                zero_division=np.nan,
            )  # fmt: skip
            for name, members in task_of(classes).groups.items():
                expected[f"{name}_accuracy"] = np.nanmean(recalls[members])
            for name, value in expected.items():
                assert found[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


@fast
@given(cases)
def test_accuracies_are_those_of_torchmetrics(data):
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    prediction, _ = data
    classes = prediction.p.shape[1]
    labels, p = torch.tensor(prediction.labels), torch.tensor(prediction.p)
    found = measured(prediction, np.ones(len(labels)))
    micro = multiclass_accuracy(p, labels, classes, average="micro")
    f1 = multiclass_f1_score(p, labels, classes, average="macro")
    assert found["top1"] == pytest.approx(float(micro), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(float(f1), abs=1e-6)
    if len(set(prediction.labels)) == classes:
        macro = multiclass_accuracy(p, labels, classes, average="macro")
        assert found["balanced_accuracy"] == pytest.approx(float(macro), abs=1e-6)


@fast
@given(cases, st.integers(0, 1000))
def test_a_row_of_counts_is_a_resampled_data_set(data, seed):
    prediction, _ = data
    samples = len(prediction.labels)
    chosen = np.random.default_rng(seed).integers(samples, size=samples)
    counts = np.bincount(chosen, minlength=samples).astype(float)
    resampled = Prediction(prediction.log_p[chosen], prediction.labels[chosen])
    found, expected = measured(prediction, counts), measured(resampled, np.ones(samples))
    for name in ("ece_equal_mass", "ece_debiased"):  # bins are cut once, copies are one sample
        del found[name], expected[name]
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@fast
@given(cases)
def test_rows_do_not_disturb_each_other(data):
    prediction, weights = data
    task, ones = task_of(prediction.p.shape[1]), np.ones(len(weights))
    rows = np.stack([ones, weights, ones])
    found = measure(WeightedSamples(prediction, rows, ones, task))
    for name, values in found.items():
        single = measure(WeightedSamples(prediction, weights[None], ones, task))[name][0]
        assert values[1] == pytest.approx(single, rel=1e-12, nan_ok=True)
        assert values[0] == pytest.approx(values[2], rel=1e-12, nan_ok=True)


@fast
@given(cases, st.integers(0, 1000))
def test_agreement_is_that_of_scikit_learn(data, seed):
    first, weights = data
    rng = np.random.default_rng(seed)
    second = Prediction.from_logits(first.log_p + rng.normal(size=first.p.shape), first.labels)
    a, b = first.predicted, second.predicted
    for w in (np.ones(len(a)), weights):
        found = {name: value[0] for name, value in agreement(first, second, w[None]).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kappa = cohen_kappa_score(a, b, sample_weight=w)
        assert found["agreement"] == pytest.approx(np.average(a == b, weights=w))
        if len(set(a) | set(b)) > 1:
            assert found["kappa"] == pytest.approx(kappa, abs=1e-6)
        else:
            assert np.isnan(found["kappa"])
        one = (a == first.labels) ^ (b == first.labels)
        assert found["exactly_one_right"] == pytest.approx(np.average(one, weights=w))


def test_equal_logits_predict_the_first_class_and_rank_by_order():
    prediction = Prediction.from_logits(np.zeros((3, 7)), np.array([0, 4, 5]))
    assert prediction.predicted.tolist() == [0, 0, 0]
    assert prediction.rank_of_truth().tolist() == [0, 4, 5]


def test_classes_that_never_occur_are_undefined_not_zero():
    prediction = Prediction.from_logits(np.eye(3)[[0, 0, 1]], np.array([0, 1, 1]))
    sums = ClassSums.of(prediction, np.ones((1, 3)))
    np.testing.assert_equal(sums.recall[0], [1.0, 0.5, np.nan])
    np.testing.assert_equal(sums.precision[0], [0.5, 1.0, np.nan])
    found = measured(prediction, np.ones(3))
    assert np.isnan(found["few_accuracy"])
    assert found["balanced_accuracy"] == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_one_vs_rest_auroc_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=80)
    logits = np.round(rng.normal(size=(80, 4)) + np.eye(4)[labels], 1)  # some tie
    prediction = Prediction.from_logits(logits, labels)
    chosen = rng.integers(80, size=80)
    counts = np.stack([np.ones(80, int), np.bincount(chosen, minlength=80)])
    found = measure_auroc(prediction, counts)["auroc_one_vs_rest"]
    for value, rows in zip(found, (np.arange(80), chosen), strict=True):
        expected = np.mean(
            [
                roc_auc_score(labels[rows] == index, prediction.log_p[rows, index])
                for index in range(4)
            ]
        )
        assert value == pytest.approx(expected)


def test_one_vs_rest_leaves_out_a_class_without_samples_and_says_nothing_of_two_or_many():
    logits = np.random.default_rng(0).normal(size=(30, 3))
    prediction = Prediction.from_logits(logits, np.arange(30) % 2)
    found = measure_auroc(prediction, np.ones((1, 30), int))["auroc_one_vs_rest"]
    both = [
        roc_auc_score(prediction.labels == index, prediction.log_p[:, index]) for index in (0, 1)
    ]
    assert found[0] == pytest.approx(np.mean(both))
    for classes in (2, 21):
        wide = Prediction.from_logits(np.zeros((4, classes)), np.zeros(4, int))
        assert measure_auroc(wide, np.ones((1, 4), int)) == {}
