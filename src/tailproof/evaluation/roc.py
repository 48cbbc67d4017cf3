"""ROC metrics: AUROC, and true-positive rates of a rare class at very low false-positive rates.

The score is log p(positive) − log p(negative). Unlike the probability, it does not saturate:
probabilities that all round to 1 would be ties.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import betaincinv

from tailproof.evaluation.bootstrap import INTERVAL, bounds, finite_or_none
from tailproof.evaluation.method import Method
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import REPORTED_SPLITS, Task
from tailproof.evaluation.weighted_samples import Values, nanmean
from tailproof.operating_points import ONE_IN, POINTS, enough_negatives
from tailproof.score_curve import ScoreCurve

MEASURED = ("auroc", *POINTS)
ONE_IN_OF_CURVE = 10.0 ** (np.arange(51) / 10)
"""The inverse false-positive rates of a curve: ten per decade, down to a rate of 1e-5."""

_BLOCK = 2**23


def scores_of(prediction: Prediction, positive: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores [N] of samples of two classes, and whether each is positive."""
    log_p = prediction.log_p
    return log_p[:, positive] - log_p[:, 1 - positive], prediction.labels == positive


def measure_low_fpr(
    prediction: Prediction, positive: int, counts: np.ndarray
) -> tuple[Values, np.ndarray]:
    """Measure all rows of counts, in blocks that bound memory.

    A rate is NaN if the split has too few negatives to allow one false positive; the rate without
    a false positive is a metric of its own.

    Args:
        prediction: prediction for N samples and two classes.
        positive: index of the positive class.
        counts: integers [1 + B, N], the first row all 1.

    Returns:
        Each metric of `MEASURED`, [1 + B]; and the true-positive rate at each rate of
        `ONE_IN_OF_CURVE`, [1 + B, 51].
    """
    step, scored = max(1, _BLOCK // counts.shape[1]), scores_of(prediction, positive)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*MEASURED, "tpr")}
    for start in range(0, len(counts), step):
        block = ScoreCurve.of(*scored, counts[start : start + step])
        parts["auroc"].append(block.auroc())
        parts["tpr"].append(_tpr_curve(block))
        for name in POINTS:
            parts[name].append(block.value(name))
    values = {name: np.concatenate(part) for name, part in parts.items()}
    negatives = int((prediction.labels != positive).sum())
    tpr = values.pop("tpr")
    tpr[:, negatives < ONE_IN_OF_CURVE] = np.nan
    return {
        name: value if enough_negatives(name, negatives) else np.full(len(value), np.nan)
        for name, value in values.items()
    }, tpr


def _tpr_curve(block: ScoreCurve) -> np.ndarray:
    """Return the true-positive rate at each false-positive rate of the curve, per resample."""
    allowed = np.floor(block.negatives[:, None] / ONE_IN_OF_CURVE)
    flagged = zip(block.false_positives, allowed, strict=True)
    columns = np.stack([np.searchsorted(row, most, side="right") - 1 for row, most in flagged])
    true_positives = np.take_along_axis(block.true_positives, columns, axis=1)
    both = ((block.positives > 0) & (block.negatives > 0))[:, None]
    return np.where(both, true_positives / np.maximum(block.positives, 1)[:, None], np.nan)


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934); NaN for no trials."""
    if not trials:
        return np.nan, np.nan
    # Beta quantiles, without scipy.stats, which takes half a second to import.
    low = betaincinv(hits, trials - hits + 1, INTERVAL[0]) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, INTERVAL[1]) if hits < trials else 1.0
    return float(low), float(high)


def rows(task: Task, methods: list[Method]) -> Iterator[tuple]:
    """Yield the rows of low_fpr.csv: one per method, seed and metric, with the counts behind it."""
    if task.positive is None:
        return
    for split in REPORTED_SPLITS:
        for method in methods:
            for seed, predictions in method.predictions.items():
                prediction = predictions[split]
                once = np.ones((1, len(prediction.labels)), np.uint8)
                score_curve = ScoreCurve.of(*scores_of(prediction, task.positive), once)
                for name in POINTS:
                    yield (split, method.name, seed, name, *_point(score_curve, name))


def roc(task: Task, methods: list[Method]) -> Iterator[tuple]:
    """Yield the rows of roc.csv: each method's mean true-positive rate per false-positive rate."""
    if task.positive is None:
        return
    for split in REPORTED_SPLITS:
        for method in methods:
            for one_in, tpr in zip(ONE_IN_OF_CURVE, method.tpr_curves[split].T, strict=True):
                yield (
                    split,
                    method.name,
                    finite_or_none(1 / one_in),
                    finite_or_none(tpr[0]),
                    *bounds(tpr),
                )


def _point(score_curve: ScoreCurve, name: str) -> tuple[float | int | None, ...]:
    positives, negatives = int(score_curve.positives[0]), int(score_curve.negatives[0])
    if not positives or not enough_negatives(name, negatives):
        return (None, None, positives, None, None, None, None, negatives, None, None, None)
    column = int(score_curve.column(name)[0])
    true = int(score_curve.true_positives[0, column])
    false = int(score_curve.false_positives[0, column])
    return (
        finite_or_none(score_curve.thresholds[column - 1]) if column else None,
        true, positives, finite_or_none(true / positives),
        *map(finite_or_none, clopper_pearson(true, positives)),
        false, negatives, finite_or_none(false / negatives),
        *map(finite_or_none, clopper_pearson(false, negatives)),
    )  # fmt: skip


def notes(task: Task, labels: dict[str, np.ndarray]) -> list[str]:
    """Return notes on the rates for which a split has too few negatives.

    Args:
        task: the classification task.
        labels: {split: N class indices}.
    """
    if task.positive is None:
        return []
    texts = []
    for split, values in labels.items():
        positives = int((values == task.positive).sum())
        negatives = len(values) - positives
        missing = [name for name in ONE_IN if not enough_negatives(name, negatives)]
        if missing:
            needed = " and ".join(f"{name} ({ONE_IN[name]:,})" for name in missing)
            texts.append(
                f"{split} has {negatives:,} negatives, too few for {needed}: these are undefined"
            )
        if not positives or not negatives:
            texts.append(f"{split} has {positives} positives and {negatives} negatives")
    return texts


AUROC = "auroc_one_vs_rest"
MOST_CLASSES = 20  # not measured for more classes: the cost is classes times resamples


def measure_auroc(prediction: Prediction, counts: np.ndarray) -> Values:
    """Return the macro-averaged one-vs-rest AUROC, [B].

    Samples are ranked by the probability of the class, and all classes have equal weight (the
    unweighted form of what Hand and Till 2001 call the class reference formulation of Provost and
    Domingos). A resample leaves out the classes that it lacks. The result is empty for two
    classes, which have `auroc`, and for more than `MOST_CLASSES`.

    Args:
        prediction: prediction for N samples and C classes.
        counts: integers [B, N], how often each resample holds each sample.
    """
    if not 2 < prediction.classes <= MOST_CLASSES:
        return {}
    log_p = prediction.log_p
    step = max(1, _BLOCK // counts.shape[1])
    blocks = [counts[start : start + step] for start in range(0, len(counts), step)]
    by_class = [
        np.concatenate(
            [
                ScoreCurve.of(log_p[:, index], prediction.labels == index, block).auroc()
                for block in blocks
            ]
        )
        for index in range(prediction.classes)
    ]
    return {AUROC: nanmean(np.stack(by_class, axis=-1))}
