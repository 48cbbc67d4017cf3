"""Metrics by taxonomic rank, from a head for the rank or from summed target probabilities.

``RANK_top1`` is measured with the rank's own head, ``RANK_summed_top1`` with summed probabilities;
``RANK_gained_top1`` is their difference. The same names exist with top3 and macro_f1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailproof.calibration.metrics import log_probabilities, weighted_mean
from tailproof.data.logits import Logits
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import ClassSums, Values, nanmean, ratio

BY_RANK = ("top1", "top3", "macro_f1")
CONSISTENT = ("consistency", "consistency_summed")
TREE_DISTANCE = "tree_distance"


@dataclass(frozen=True)
class Ranked:
    """The predictions of a method for a split at one rank.

    Attributes:
        prediction: of the samples with a label there.
        labelled: boolean mask [N] of these samples.
        predicted: class index of every sample, [N].
    """

    prediction: Prediction
    labelled: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, log_p: np.ndarray, labels: np.ndarray) -> "Ranked":
        """Take log-probabilities [N, C] and labels [N], -1 for none."""
        known = labels >= 0
        return cls(Prediction(log_p[known], labels[known]), known, log_p.argmax(axis=1))


def measured(task: Task) -> list[str]:
    """Return the names of all metrics by rank, those of ranks of their own head among them."""
    kinds = ("", "summed_", "gained_")
    by_rank = [f"{rank}_{kind}{m}" for rank in task.coarser for kind in kinds for m in BY_RANK]
    return [*by_rank, "top3", TREE_DISTANCE, *CONSISTENT] if task.coarser else []


def measure_ranks(
    prediction: Prediction,
    labels: Mapping[str, np.ndarray],
    heads: Mapping[str, np.ndarray],
    counts: np.ndarray,
    task: Task,
) -> Values:
    """Return every metric by rank; nothing where the target has no coarser rank.

    Args:
        prediction: at the target rank, of N samples.
        labels: N class indices by rank, -1 for none.
        heads: log-probabilities [N, C] of the coarser ranks that the method has a head for.
        counts: integers [B, N], how often each resample holds each sample.
        task: with its tree.
    """
    if not task.coarser:
        return {}
    weights = counts.astype(float)
    found: Values = {
        "top3": weighted_mean((prediction.rank_of_truth() < 3).astype(float), weights),
        TREE_DISTANCE: tree_distance(prediction, weights, task),
    }
    summed = {
        rank: Ranked.of(
            sum_over_descendants(prediction.p, above, len(task.rank_classes[rank])), labels[rank]
        )
        for rank, above in task.coarser.items()
    }
    found |= _by_rank(summed, weights, "summed_")
    found["consistency_summed"] = consistency(prediction, summed, weights, task)
    own = {rank: Ranked.of(log_p, labels[rank]) for rank, log_p in heads.items()}
    if own:
        found |= _by_rank(own, weights, "")
        found["consistency"] = consistency(prediction, own, weights, task)
        for rank in own:
            for metric in BY_RANK:
                gain = found[f"{rank}_{metric}"] - found[f"{rank}_summed_{metric}"]
                found[f"{rank}_gained_{metric}"] = gain
    return found


def _by_rank(ranked: Mapping[str, Ranked], weights: np.ndarray, kind: str) -> Values:
    found: Values = {}
    for rank, each in ranked.items():
        own, prediction = weights[:, each.labelled], each.prediction
        near = prediction.rank_of_truth()
        found[f"{rank}_{kind}top1"] = weighted_mean((near < 1).astype(float), own)
        found[f"{rank}_{kind}top3"] = weighted_mean((near < 3).astype(float), own)
        found[f"{rank}_{kind}macro_f1"] = nanmean(ClassSums.of(prediction, own).f1)
    return found


def sum_over_descendants(p: np.ndarray, above: np.ndarray, classes: int) -> np.ndarray:
    """Return log-probabilities [N, classes] of a coarser rank: each class sums its descendants.

    Args:
        p: probabilities at the target rank, [N, C].
        above: the ancestor of each class of the target, [C]; what has none counts for no class.
        classes: of the coarser rank.
    """
    belongs = np.zeros((p.shape[1], classes))
    known = np.flatnonzero(above >= 0)
    belongs[known, above[known]] = 1
    with np.errstate(divide="ignore"):
        return np.log(p @ belongs)


def tree_distance(prediction: Prediction, weights: np.ndarray, task: Task) -> np.ndarray:
    """Return the mean tree distance of errors at the target rank, [B] values.

    The height of the lowest common ancestor (Bertinetto et al. 2020, section 3.1): 1 where true
    and predicted class have the same parent, and one more for each rank above; where no rank is
    shared they meet at the root. NaN where nothing is wrong.
    """
    wrong = np.flatnonzero(~prediction.correct)
    height = np.full(len(wrong), len(task.coarser) + 1.0)
    for up, above in enumerate(reversed(task.coarser.values()), start=1):
        true, said = above[prediction.labels[wrong]], above[prediction.predicted[wrong]]
        meets = (true == said) & (true >= 0)
        height[meets] = np.minimum(height[meets], up)
    own = weights[:, wrong]
    return ratio(own @ height, own.sum(axis=1))


def consistency(
    prediction: Prediction, ranked: Mapping[str, Ranked], weights: np.ndarray, task: Task
) -> np.ndarray:
    """Return the share of samples whose classes at all ranks lie on one path, [B].

    A class with an unknown ancestor at a rank agrees with every class there.
    """
    agrees = np.ones(len(prediction.labels), bool)
    for rank, each in ranked.items():
        expected = task.coarser[rank][prediction.predicted]
        agrees &= (expected < 0) | (expected == each.predicted)
    return weighted_mean(agrees.astype(float), weights)


def coarse_log_probs(logits: Logits, task: Task) -> dict[str, np.ndarray]:
    """Return the log-probabilities [N, C] of the coarser ranks that an expert has a head for."""
    return {
        rank: log_probabilities(logits.heads[rank]) for rank in task.coarser if rank in logits.heads
    }
