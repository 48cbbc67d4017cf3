"""ROC metrics: AUROC, and true-positive rates of a rare class at very low false-positive rates.

The score is log p(positive) − log p(negative), in which nothing saturates: probabilities that all
round to 1 would tie.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import betaincinv

from tailproof.evaluation.bootstrap import INTERVAL, bounds, finite_or_none
from tailproof.evaluation.method import Method
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import REPORTED_SPLITS, Task
from tailproof.evaluation.weighted_samples import Values, nanmean
from tailproof.operating_points import ONE_IN, POINTS, ScoreCurve, enough_negatives

MEASURED = ("auroc", *POINTS)
ONE_IN_OF_CURVE = 10.0 ** (np.arange(51) / 10)
"""One over the false-positive rates of a curve: ten per decade, down to 1e-5."""

_BLOCK = 2**23


def curve(prediction: Prediction, positive: int, counts: np.ndarray) -> ScoreCurve:
    """Count along the falling score of the positive class.

    Args:
        prediction: of N samples and two classes.
        positive: index of the positive class.
        counts: integers [B, N].
    """
    scores = prediction.log_p[:, positive] - prediction.log_p[:, 1 - positive]
    return ScoreCurve.of(scores, prediction.labels == positive, counts)


def measure_low_fpr(
    prediction: Prediction, positive: int, counts: np.ndarray
) -> tuple[Values, np.ndarray]:
    """Measure all rows of counts, in blocks that bound memory.

    A rate that the split has too few negatives to show is NaN: none allowed is another metric.

    Args:
        prediction: of N samples and two classes.
        positive: index of the positive class.
        counts: integers [1 + B, N], the first row all 1.

    Returns:
        Each metric of `MEASURED`, [1 + B]; and the share of the positives that is found at each
        rate of `ONE_IN_OF_CURVE`, [1 + B, 51].
    """
    step = max(1, _BLOCK // counts.shape[1])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*MEASURED, "found")}
    for start in range(0, len(counts), step):
        block = curve(prediction, positive, counts[start : start + step])
        parts["auroc"].append(block.auroc())
        parts["found"].append(_found(block))
        for name in POINTS:
            parts[name].append(block.value(name))
    values = {name: np.concatenate(part) for name, part in parts.items()}
    negatives = int((prediction.labels != positive).sum())
    found = values.pop("found")
    found[:, negatives < ONE_IN_OF_CURVE] = np.nan
    return {
        name: value if enough_negatives(name, negatives) else np.full(len(value), np.nan)
        for name, value in values.items()
    }, found


def _found(block: ScoreCurve) -> np.ndarray:
    """Return the share of the positives found at each rate of the curve, in each resample."""
    allowed = np.floor(block.negatives[:, None] / ONE_IN_OF_CURVE)
    flagged = zip(block.false_positives, allowed, strict=True)
    columns = np.stack([np.searchsorted(row, most, side="right") - 1 for row, most in flagged])
    found = np.take_along_axis(block.true_positives, columns, axis=1)
    both = ((block.positives > 0) & (block.negatives > 0))[:, None]
    return np.where(both, found / np.maximum(block.positives, 1)[:, None], np.nan)


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934); NaN without trials."""
    if not trials:
        return np.nan, np.nan
    # Quantiles of beta distributions, without the half second that scipy.stats takes to import.
    low = betaincinv(hits, trials - hits + 1, INTERVAL[0]) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, INTERVAL[1]) if hits < trials else 1.0
    return float(low), float(high)


def rows(task: Task, methods: list[Method]) -> Iterator[tuple]:
    """Yield the rows of low_fpr.csv: a method, seed and metric with the counts behind it."""
    if task.positive is None:
        return
    for split in REPORTED_SPLITS:
        for method in methods:
            for seed, predictions in method.predictions.items():
                prediction = predictions[split]
                once = np.ones((1, len(prediction.labels)), np.uint8)
                found = curve(prediction, task.positive, once)
                for name in POINTS:
                    yield (split, method.name, seed, name, *_point(found, name))


def roc(task: Task, methods: list[Method]) -> Iterator[tuple]:
    """Yield the rows of roc.csv: the share that a method finds at each rate, mean over seeds."""
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


def _point(found: ScoreCurve, name: str) -> Iterator[float | int | None]:
    positives, negatives = int(found.positives[0]), int(found.negatives[0])
    if not positives or not enough_negatives(name, negatives):
        return (None, None, positives, None, None, None, None, negatives, None, None, None)
    column = int(found.column(name)[0])
    true, false = (int(each[0, column]) for each in (found.true_positives, found.false_positives))
    return (
        finite_or_none(found.thresholds[column - 1]) if column else None,
        true, positives, finite_or_none(true / positives),
        *map(finite_or_none, clopper_pearson(true, positives)),
        false, negatives, finite_or_none(false / negatives),
        *map(finite_or_none, clopper_pearson(false, negatives)),
    )  # fmt: skip


def notes(task: Task, labels: dict[str, np.ndarray]) -> list[str]:
    """Return notes on the rates that a split has too few negatives for.

    Args:
        task: the classification task.
        labels: N class indices, by split.
    """
    if task.positive is None:
        return []
    found = []
    for split, values in labels.items():
        positives = int((values == task.positive).sum())
        negatives = len(values) - positives
        missing = [name for name in ONE_IN if not enough_negatives(name, negatives)]
        if missing:
            needed = " and ".join(f"{name} ({ONE_IN[name]:,})" for name in missing)
            found.append(
                f"{split} has {negatives:,} negatives, too few for {needed}: these are null"
            )
        if not positives or not negatives:
            found.append(f"{split} has {positives} positives and {negatives} negatives")
    return found


AUROC = "auroc_one_vs_rest"
MOST_CLASSES = 20  # of more it is not measured: its cost grows with classes times resamples


def measure_auroc(prediction: Prediction, counts: np.ndarray) -> Values:
    """Return the mean over classes of one class's AUROC against the others, [B].

    Each class is ranked by its own probability and counts the same (Hand and Till 2001 call it the
    class reference formulation of Provost and Domingos, without weights). Classes that a resample
    lacks are left out there. Nothing is measured of two classes, where `auroc` says it, nor of
    more than 20.

    Args:
        prediction: of N samples and C classes.
        counts: integers [B, N], how often each resample holds each sample.
    """
    classes = prediction.log_p.shape[1]
    if not 2 < classes <= MOST_CLASSES:
        return {}
    step = max(1, _BLOCK // counts.shape[1])
    blocks = [counts[start : start + step] for start in range(0, len(counts), step)]
    by_class = [
        np.concatenate(
            [
                ScoreCurve.of(prediction.log_p[:, index], prediction.labels == index, block).auroc()
                for block in blocks
            ]
        )
        for index in range(classes)
    ]
    return {AUROC: nanmean(np.stack(by_class, axis=-1))}
