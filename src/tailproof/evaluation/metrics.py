"""The built-in metrics, in the order of the page's columns."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tailproof.calibration import metrics as scores
from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.registry import METRICS, UNCALIBRATED, Metric, compute, metric, register
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import (
    Array,
    Values,
    WeightedSamples,
    nanmean,
    ratio,
    sum_by_class,
)
from tailproof.operating_points import NO_FALSE_POSITIVE, ONE_IN, SHARES

_BLOCK = 2**22


def measure(samples: WeightedSamples) -> Values:
    """Return every metric with a `compute` function, [B] values per metric."""
    return {name: entry.compute(samples) for name, entry in METRICS.items() if entry.compute}


def measure_uncalibrated(samples: WeightedSamples) -> Values:
    """Return the metrics that are also measured on uncalibrated logits."""
    return {
        f"{name}{UNCALIBRATED}": compute(name, samples)
        for name, entry in METRICS.items()
        if entry.before_calibration
    }


@metric(
    "top1",
    label="Top-1",
    title="top-1 accuracy",
    meaning="Share of samples whose most probable class is correct.",
    higher_is_better=True,
    percent=True,
    hub_type="accuracy",
    long_tail=True,
)
def top1(samples: WeightedSamples) -> Array:
    """Return the accuracy."""
    return scores.weighted_mean(samples.prediction.correct.astype(float), samples.weights)


def _share_within(samples: WeightedSamples, places: int) -> Array:
    within = samples.prediction.rank_of_truth() < places
    return scores.weighted_mean(within.astype(float), samples.weights)


metric(
    "top5",
    label="Top-5",
    title="top-5 accuracy",
    meaning="Share of samples whose true class is among the five most probable.",
    higher_is_better=True,
    percent=True,
    table="",
    paired=False,
)(partial(_share_within, places=5))


@metric(
    "balanced_accuracy",
    label="Balanced accuracy",
    title="balanced accuracy",
    meaning="Mean recall over classes: all classes have equal weight.",
    higher_is_better=True,
    percent=True,
    hub_type="balanced_accuracy",
)
def balanced_accuracy(samples: WeightedSamples) -> Array:
    """Return the mean recall over the classes with samples."""
    return nanmean(samples.class_sums.recall)


@metric(
    "macro_f1",
    label="Macro F1",
    title="macro F1",
    meaning="Mean F1, the harmonic mean of precision and recall, over classes.",
    higher_is_better=True,
    percent=True,
    hub_type="f1",
)
def macro_f1(samples: WeightedSamples) -> Array:
    """Return the mean F1 over classes."""
    return nanmean(samples.class_sums.f1)


def _group_accuracy(samples: WeightedSamples, group: str) -> Array:
    return nanmean(samples.class_sums.recall[:, samples.task.groups[group]])


GROUP_WORDS = {
    "many": "with many training samples",
    "medium": "with a medium number of training samples",
    "few": "with few training samples",
}
for _group in GROUPS:
    metric(
        f"{_group}_accuracy",
        label=_group.capitalize(),
        title=f"accuracy, classes {GROUP_WORDS[_group]}",
        meaning=f"Mean recall of the classes {GROUP_WORDS[_group]}.",
        higher_is_better=True,
        percent=True,
        table="groups",
        hub_type="recall",
    )(partial(_group_accuracy, group=_group))


@metric(
    "nll",
    label="NLL",
    title="negative log-likelihood, nats",
    meaning="Mean negative log-likelihood of the true class, in nats.",
    higher_is_better=False,
    hub_type="nll",
    long_tail=True,
    before_calibration=True,
)
def nll(samples: WeightedSamples) -> Array:
    """Return the mean negative log-likelihood."""
    return scores.weighted_mean(-samples.prediction.log_true, samples.weights)


@metric(
    "brier",
    label="Brier",
    title="Brier score, 0 to 2",
    meaning="Mean squared distance between the probabilities and the true class (0 to 2).",
    higher_is_better=False,
    hub_type="brier_score",
)
def brier(samples: WeightedSamples) -> Array:
    """Return the Brier score."""
    found = samples.prediction.scores
    distance = found.squares - 2 * np.exp(found.log_true) + 1
    return scores.weighted_mean(distance, samples.weights)


@metric(
    "ece",
    label="ECE",
    title="expected calibration error",
    meaning="Expected calibration error: mean gap between confidence and accuracy over 15 bins of "
    "equal width. Resampling adds noise to every bin, which raises the error: the value can lie "
    "below its own bootstrap interval.",
    higher_is_better=False,
    percent=True,
    hub_type="ece",
    long_tail=True,
    before_calibration=True,
)
def ece(samples: WeightedSamples) -> Array:
    """Return the expected calibration error over bins of equal width."""
    prediction = samples.prediction
    return scores.confidence_error(prediction.confidence, prediction.correct, samples.weights)


@metric(
    "ece_debiased",
    label="ECE, debiased",
    title="expected calibration error without the bias of noise",
    meaning="ECE without the part that noise within the bins adds to it: √(ECE² − noise²), where "
    "the noise is the ECE that the same samples would show if every confidence were right. 0 "
    "means that the samples show no calibration error.",
    higher_is_better=False,
    percent=True,
    before_calibration=True,
)
def ece_debiased(samples: WeightedSamples) -> Array:
    """Return the calibration error with less upward bias than `ece`."""
    prediction = samples.prediction
    return scores.confidence_error_debiased(
        prediction.confidence, prediction.correct, samples.weights
    )


@metric(
    "ece_equal_mass",
    label="ECE, equal mass",
    title="expected calibration error, bins of equal mass",
    meaning="ECE over 15 bins that hold equal shares of the samples.",
    higher_is_better=False,
    percent=True,
    table="",
    paired=False,
)
def ece_equal_mass(samples: WeightedSamples) -> Array:
    """Return the expected calibration error over bins of equal mass."""
    prediction = samples.prediction
    return scores.confidence_error_equal_mass(
        prediction.confidence, prediction.correct, samples.weights, samples.base
    )


@metric(
    "ece_classwise",
    label="ECE, class-wise",
    title="class-wise calibration error",
    meaning="Mean over classes of the calibration error of that class's probability.",
    higher_is_better=False,
    percent=True,
    table="",
    paired=False,
)
def ece_classwise(samples: WeightedSamples) -> Array:
    """Return the class-wise calibration error."""
    if samples.classwise is not None:
        return samples.classwise
    prediction = samples.prediction
    error = scores.ClasswiseError(prediction.labels, prediction.classes, samples.weights)
    prediction.collect({}, once=[error])
    return error.values()


# selective.py measures these together.
_AURC = "Area under the risk-coverage curve"
register(
    Metric(
        name="aurc_standard_chow",
        label="AURC",
        title="area under the risk-coverage curve, Chow's rule",
        meaning=f"{_AURC}, with Chow's rule.",
        higher_is_better=False,
        digits=4,
        long_tail=True,
    )
)
register(
    Metric(
        name="aurc_balanced_plugin_balanced",
        label="AURC, balanced",
        title="area under the balanced risk-coverage curve, plug-in rule",
        meaning=f"{_AURC}, for the mean of head and tail error, with the plug-in rule for it.",
        higher_is_better=False,
        digits=4,
        table="",
        long_tail=True,
    )
)
register(
    Metric(
        name="aurc_worst_plugin_worst",
        label="AURC, worst",
        title="area under the worst-group risk-coverage curve, plug-in rule",
        meaning=f"{_AURC}, for the larger of head and tail error, with the plug-in rule for it.",
        higher_is_better=False,
        digits=4,
        table="",
        long_tail=True,
    )
)


# roc.py measures these together.
register(
    Metric(
        name="auroc_one_vs_rest",
        label="AUROC, one vs rest",
        title="AUROC, one vs rest",
        meaning="Probability that a sample of a class gets a higher probability for that class "
        "than a sample of another class; mean over classes, measured for 3 to 20 classes.",
        higher_is_better=True,
        table="groups",
        hub_type="roc_auc",
    )
)
register(
    Metric(
        name="auroc",
        label="AUROC",
        title="AUROC",
        meaning="Probability that a positive scores above a negative.",
        higher_is_better=True,
        digits=4,
        table="rare",
        hub_type="roc_auc",
    )
)
_ON_CARD = ("tpr_at_fpr_1e-3", "tpr_at_fpr_1e-4")
for _name, _negatives in ONE_IN.items():
    _rate = _name.removeprefix("tpr_at_fpr_")
    register(
        Metric(
            name=_name,
            label=f"TPR at FPR {_rate}",
            title=f"true-positive rate at FPR {_rate}",
            meaning="Share of the positives found at one false positive in "
            f"{_negatives:,} negatives.",
            higher_is_better=True,
            percent=True,
            table="rare",
            hub_type="recall" if _name in _ON_CARD else "",
        )
    )
register(
    Metric(
        name=NO_FALSE_POSITIVE,
        label="TPR at no FP",
        title="true-positive rate without false positives",
        meaning="Share of the positives found without any false positive.",
        higher_is_better=True,
        percent=True,
        table="rare",
        hub_type="recall",
    )
)
for _name, _share in SHARES.items():
    register(
        Metric(
            name=_name,
            label=f"FPR at TPR {_name.removeprefix('fpr_at_tpr_')}",
            title=f"false-positive rate at TPR {_name.removeprefix('fpr_at_tpr_')}",
            meaning=f"False-positive rate at which {100 * float(_share):.0f} % of the positives "
            "are found.",
            higher_is_better=False,
            digits=5,
            table="rare" if _name == "fpr_at_tpr_0.85" else "",
        )
    )


# hierarchy.py measures these together.
register(
    Metric(
        name="top3",
        label="Top-3",
        title="top-3 accuracy",
        meaning="Share of samples whose true class is among the three most probable.",
        higher_is_better=True,
        percent=True,
        table="",
    )
)
register(
    Metric(
        name="consistency",
        label="Ranks agree, heads",
        title="consistency of ranks",
        meaning="Share of samples whose predicted classes at all ranks lie on one path of the "
        "taxonomy, each rank predicted by its own head.",
        higher_is_better=True,
        percent=True,
        table="ranks",
        hub_type="accuracy",
    )
)
register(
    Metric(
        name="consistency_summed",
        label="Ranks agree, sums",
        title="consistency of ranks, summed probabilities",
        meaning="Share of samples whose predicted classes lie on one path of the taxonomy, if "
        "each coarser rank predicts the class with the largest sum of probabilities.",
        higher_is_better=True,
        percent=True,
        table="ranks",
    )
)
register(
    Metric(
        name="tree_distance",
        label="Tree distance of errors",
        title="tree distance of errors",
        meaning="Mean number of ranks between the target and the lowest common ancestor of the "
        "true and the predicted class, over errors: 1 means the same parent.",
        higher_is_better=False,
        digits=2,
        table="ranks",
    )
)


def agreement(first: Prediction, second: Prediction, weights: Array) -> Values:
    """Compare two methods on the same samples, [B] values per metric.

    agreement: share of samples for which both predict the same class. kappa: Cohen's kappa (1960),
    (p_o − p_e) / (1 − p_e); NaN if both always predict the same one class. exactly_one_right:
    share of samples for which one is right and the other is wrong.
    """
    same = (first.predicted == second.predicted).astype(float)
    one_right = (first.correct != second.correct).astype(float)
    observed = scores.weighted_mean(same, weights)
    total = weights.sum(axis=1)
    shares = [sum_by_class(weights, method.predicted, method.classes) for method in (first, second)]
    by_chance = (shares[0] * shares[1]).sum(axis=1) / total**2
    return {
        "agreement": observed,
        "kappa": ratio(observed - by_chance, np.where(by_chance < 1 - 1e-12, 1 - by_chance, 0)),
        "exactly_one_right": scores.weighted_mean(one_right, weights),
    }


def measure_named(
    prediction: Prediction, counts: Array, task: Task, names: Sequence[str]
) -> dict[str, Array]:
    """Return the [1 + B] values of some metrics of all samples, in blocks that bound memory.

    Args:
        prediction: prediction for N samples.
        counts: integers [1 + B, N], how often each resample holds each sample.
        task: the classification task.
        names: the metrics.
    """
    step, base = max(1, _BLOCK // counts.shape[1]), np.ones(counts.shape[1])
    blocks = [
        WeightedSamples(prediction, counts[start : start + step] * base, base, task)
        for start in range(0, len(counts), step)
    ]
    return {name: np.concatenate([compute(name, block) for block in blocks]) for name in names}
