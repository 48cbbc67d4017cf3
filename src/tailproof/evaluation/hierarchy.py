"""Metrics per taxonomic rank, from the rank's own head or from summed target probabilities.

``RANK_top1`` is measured with the rank's own head, ``RANK_summed_top1`` with summed probabilities;
``RANK_gained_top1`` is their difference. The same names exist with top3 and macro_f1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tailproof.calibration.metrics import weighted_mean
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.probabilities import Prediction, of_rank, places, streamed
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import ClassSums, Values, nanmean, ratio, sum_by_class

BY_RANK = ("top1", "top3", "macro_f1")
CONSISTENT = ("consistency", "consistency_summed")
TREE_DISTANCE = "tree_distance"


@dataclass(frozen=True)
class Ranked:
    """A method's predictions for a split at one rank.

    Attributes:
        labels: N class indices; -1 for no label.
        predicted: N predicted classes.
        place: the number of classes ranked before the true one, [N]; undefined without a label.
        classes: number of classes.
    """

    labels: np.ndarray
    predicted: np.ndarray
    place: np.ndarray
    classes: int

    @classmethod
    def of(cls, prediction: Prediction) -> "Ranked":
        """Take the prediction of a head."""
        found = prediction.scores
        return cls(prediction.labels, found.predicted, found.place, prediction.classes)


class SummedRank:
    """Collects the predictions at a coarser rank, each class of which sums its descendants.

    Args:
        labels: N class indices of the rank; -1 for no label.
        above: index of the ancestor of each target class, [C]; -1 if it has none.
        classes: number of classes of the rank.
    """

    def __init__(self, labels: np.ndarray, above: np.ndarray, classes: int) -> None:
        self._above = above
        empty = np.zeros(len(labels), int)
        self.ranked = Ranked(labels, empty, empty.copy(), classes)

    def add(self, rows: slice, log_p: np.ndarray, p: np.ndarray) -> None:
        """Take some samples."""
        found = self.ranked
        summed = sum_over_descendants(p, self._above, found.classes)
        found.predicted[rows] = summed.argmax(axis=1)
        found.place[rows] = places(summed, found.labels[rows])


def summed_ranks(
    prediction: Prediction, labels: Mapping[str, np.ndarray], task: Task
) -> dict[tuple, SummedRank]:
    """Return an empty collector for each coarser rank, by its key in a prediction."""
    return {
        ("summed", rank, above.tobytes()): SummedRank(
            labels[rank], above, len(task.rank_classes[rank])
        )
        for rank, above in task.coarser.items()
    }


def measured(task: Task) -> list[str]:
    """Return the names of all metrics per rank, including those that need a head for the rank."""
    kinds = ("", "summed_", "gained_")
    by_rank = [f"{rank}_{kind}{m}" for rank in task.coarser for kind in kinds for m in BY_RANK]
    return [*by_rank, "top3", TREE_DISTANCE, *CONSISTENT] if task.coarser else []


def measure_ranks(
    prediction: Prediction,
    labels: Mapping[str, np.ndarray],
    heads: Mapping[str, Prediction],
    counts: np.ndarray,
    task: Task,
) -> Values:
    """Return every metric per rank; empty if the target has no coarser rank.

    Args:
        prediction: prediction at the target rank for N samples.
        labels: {rank: N class indices}, -1 for no label.
        heads: predictions at the coarser ranks that the method has a head for.
        counts: integers [B, N], how often each resample holds each sample.
        task: the classification task, with its taxonomy.
    """
    if not task.coarser:
        return {}
    weights = counts.astype(float)
    metrics: Values = {
        "top3": weighted_mean((prediction.rank_of_truth() < 3).astype(float), weights),
        TREE_DISTANCE: tree_distance(prediction, weights, task),
    }
    empty = summed_ranks(prediction, labels, task)
    summed = {
        rank: prediction.collected(key, partial(empty.get, key)).ranked
        for rank, key in zip(task.coarser, empty, strict=True)
    }
    metrics |= _by_rank(summed, weights, "summed_")
    metrics["consistency_summed"] = consistency(prediction, summed, weights, task)
    by_head = {rank: Ranked.of(of_rank) for rank, of_rank in heads.items()}
    if by_head:
        metrics |= _by_rank(by_head, weights, "")
        metrics["consistency"] = consistency(prediction, by_head, weights, task)
        for rank in by_head:
            for metric in BY_RANK:
                gain = metrics[f"{rank}_{metric}"] - metrics[f"{rank}_summed_{metric}"]
                metrics[f"{rank}_gained_{metric}"] = gain
    return metrics


def _by_rank(ranked: Mapping[str, Ranked], weights: np.ndarray, kind: str) -> Values:
    metrics: Values = {}
    for rank, at_rank in ranked.items():
        labelled = at_rank.labels >= 0
        of_labelled = weights[:, labelled]
        for top in (1, 3):
            hits = (at_rank.place[labelled] < top).astype(float)
            metrics[f"{rank}_{kind}top{top}"] = weighted_mean(hits, of_labelled)
        sums = ClassSums.count(
            at_rank.labels[labelled], at_rank.predicted[labelled], at_rank.classes, of_labelled
        )
        metrics[f"{rank}_{kind}macro_f1"] = nanmean(sums.f1)
    return metrics


def sum_over_descendants(p: np.ndarray, above: np.ndarray, classes: int) -> np.ndarray:
    """Return log-probabilities [N, classes] of a coarser rank: each class sums its descendants.

    Args:
        p: probabilities at the target rank, [N, C].
        above: index of the ancestor of each target class, [C]; -1 if it has none, in which case
            its probability is added to no class.
        classes: number of classes of the coarser rank.
    """
    with np.errstate(divide="ignore"):
        return np.log(sum_by_class(p[:, above >= 0], above[above >= 0], classes))


def tree_distance(prediction: Prediction, weights: np.ndarray, task: Task) -> np.ndarray:
    """Return the mean tree distance of errors at the target rank, [B] values.

    The distance is the height of the lowest common ancestor (Bertinetto et al. 2020, section 3.1):
    1 if the true and the predicted class share a parent, and one more for each rank above. Classes
    that share no rank meet at the root. NaN if there are no errors.
    """
    wrong = np.flatnonzero(~prediction.correct)
    height = np.full(len(wrong), len(task.coarser) + 1.0)
    for up, above in enumerate(reversed(task.coarser.values()), start=1):
        true, predicted = above[prediction.labels[wrong]], above[prediction.predicted[wrong]]
        meets = (true == predicted) & (true >= 0)
        height[meets] = np.minimum(height[meets], up)
    error_weights = weights[:, wrong]
    return ratio(error_weights @ height, error_weights.sum(axis=1))


def consistency(
    prediction: Prediction, ranked: Mapping[str, Ranked], weights: np.ndarray, task: Task
) -> np.ndarray:
    """Return the share of samples whose predicted classes at all ranks lie on one path, [B].

    A class whose ancestor at a rank is unknown is consistent with every class of that rank.
    """
    agrees = np.ones(len(prediction.labels), bool)
    for rank, at_rank in ranked.items():
        expected = task.coarser[rank][prediction.predicted]
        agrees &= (expected < 0) | (expected == at_rank.predicted)
    return weighted_mean(agrees.astype(float), weights)


def head_predictions(logits: LogitsFile, task: Task) -> dict[str, Prediction]:
    """Return the prediction at each coarser rank for which an expert has a head."""
    return {
        rank: streamed(logits.classes[rank], partial(of_rank, logits, rank), logits.labels[rank])
        for rank in task.coarser
        if rank in logits.classes
    }
