"""One answer for all pictures of one thing: samples of the same group, such as one observation.

The logits of a group's samples are averaged and divided by a temperature of their own, which is
fitted on the groups of tune: several pictures know more than one, so the mean of their logits is
less confident than it is right. A group of one sample keeps its prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.calibration.temperature import fit_temperature
from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import fitted_rows
from tailproof.data.tables import read_parquet
from tailproof.evaluation import bootstrap, metrics
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.evaluation.weighted_samples import Values, WeightedSamples
from tailproof.text import quantity

PREFIX = "group_"
GAINED = "group_gained_"
METRICS = (
    "top1", "balanced_accuracy", "macro_f1", "few_accuracy", "nll", "brier", "ece", "ece_debiased",
)  # fmt: skip
SPREAD = 1.0
"""Standard deviation of the prior of the inverse temperature of groups, around 1."""

_BLOCK = 2**22
GROUP_BLOCK = 2**25
"""Most numbers of group means in memory; each block of groups is one pass over the samples."""


def read_groups(samples: str | Path) -> dict[str, str]:
    """Return the group of each sample, from samples.parquet."""
    table = read_parquet(samples, ["sample_id", "group"])
    return dict(zip(table["sample_id"].to_pylist(), table["group"].to_pylist(), strict=True))


@dataclass(frozen=True)
class GroupedSplit:
    """The groups of a split.

    Attributes:
        index: number of the group of each sample, int [N].
        size: samples of each group, int [G].
        labels: class index of each group, int [G].
    """

    index: np.ndarray
    size: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(
        cls, sample_ids: np.ndarray, labels: np.ndarray, groups: Mapping[str, str]
    ) -> "GroupedSplit":
        """Build from sample ids [N] and labels [N]; a group has the class of its first sample."""
        names = [groups[name] for name in sample_ids]
        _, first, index = np.unique(names, return_index=True, return_inverse=True)
        return cls(index, np.bincount(index), labels[first])

    def mixed(self, labels: np.ndarray) -> int:
        """Return the number of groups whose samples have different classes."""
        return len(np.unique(self.index[self.labels[self.index] != labels]))

    @property
    def several(self) -> np.ndarray:
        """Whether a group has several samples, [G]."""
        return self.size > 1

    def combine(self, single: Prediction, temperature: float) -> Prediction:
        """Return the prediction of the groups from that of their samples."""

        def read() -> Blocks:
            step = max(1, GROUP_BLOCK // single.classes)
            for start in range(0, len(self.size), step):
                groups = slice(start, min(start + step, len(self.size)))
                mean = self.means(single, np.arange(groups.start, groups.stop))
                yield groups, group_log_probabilities(mean, self.size[groups], temperature)

        return Prediction(Streamed(single.classes, read), self.labels)

    def means(self, single: Prediction, groups: np.ndarray) -> np.ndarray:
        """Return the mean log-probabilities of some groups, in one pass over the samples."""
        place = np.full(len(self.size), -1)
        place[groups] = np.arange(len(groups))
        mean = np.zeros((len(groups), single.classes))
        for rows, log_p in single.blocks():
            of_rows = place[self.index[rows]]
            inside = of_rows >= 0
            np.add.at(mean, of_rows[inside], log_p[inside])
        return mean / self.size[groups, None]


def group_log_probabilities(mean: np.ndarray, size: np.ndarray, temperature: float) -> np.ndarray:
    """Return log-probabilities of groups from the mean log-probabilities of their samples.

    Args:
        mean: [G, C]; the mean of logits gives the same, as they differ by a constant per sample.
        size: samples of each group, [G].
        temperature: the divisor for groups of several samples.
    """
    divided = mean / np.where(size > 1, temperature, 1.0)[:, None]
    return Prediction.from_logits(divided, np.zeros(len(mean), int)).log_p


def fit_group_temperature(
    groups: GroupedSplit, single: Prediction, among: np.ndarray | None = None
) -> float | None:
    """Return the temperature of the groups with several samples; None if there is none.

    Args:
        groups: the groups of a split.
        single: the prediction of its samples.
        among: boolean mask [G] of the groups to fit on. Default: all.
    """
    several = np.flatnonzero(groups.several if among is None else groups.several & among)
    if not len(several):
        return None
    chosen = several[fitted_rows(len(several), single.classes)]
    logits = group_log_probabilities(groups.means(single, chosen), groups.size[chosen], 1.0)
    labels = groups.labels[chosen]
    return fit_temperature(logits, labels, np.ones(len(labels)), SPREAD).temperature


class SampleGroups:
    """The groups of all evaluated splits.

    Attributes:
        splits: {split: its groups}.
        notes: what to know of them.
    """

    def __init__(
        self,
        sample_ids: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        groups: Mapping[str, str],
    ) -> None:
        self.splits = {
            split: GroupedSplit.of(ids, labels[split], groups) for split, ids in sample_ids.items()
        }
        self.notes: list[str] = []
        mixed = sum(each.mixed(labels[split]) for split, each in self.splits.items())
        grouped = any(each.several.any() for each in self.splits.values())
        if grouped and mixed:
            self.notes.append(
                f"{quantity(mixed, 'group')} of samples {'has' if mixed == 1 else 'have'} several "
                f"classes, so a group has no single label, and {PREFIX}… is not measured"
            )
        self.measurable = grouped and not mixed

    def fit(self, predictions: Mapping[str, Prediction]) -> float | None:
        """Return the temperature of groups; None without a group of several samples on tune."""
        return fit_group_temperature(self.splits[FITTED_ON], predictions[FITTED_ON])

    def measure(
        self,
        single: Prediction,
        split: str,
        temperature: float | None,
        task: Task,
        config: Evaluation,
    ) -> Values:
        """Return the metrics of the groups of a split.

        Whole groups are drawn again for the intervals. group_gained_top1 is the accuracy of groups
        minus that of their single samples.

        Args:
            single: the predictions for the samples of the split.
            split: the split.
            temperature: the temperature of groups; 1 is used without one.
            task: the classification task.
            config: the configuration section evaluation.
        """
        groups = self.splits[split]
        together = groups.combine(single, temperature or 1.0)
        counts = bootstrap.resamples(len(groups.size), config.bootstrap, config.seed, split)
        step = max(1, _BLOCK // len(groups.index))
        parts = []
        for start in range(0, len(counts), step):
            weights = counts[start : start + step].astype(float)
            drawn = WeightedSamples(together, weights, np.ones(len(groups.size)), task)
            found = {f"{PREFIX}{name}": metrics.compute(name, drawn) for name in METRICS}
            of_samples = weights[:, groups.index]
            hits = of_samples @ single.correct / of_samples.sum(axis=1)
            parts.append(found | {f"{GAINED}top1": found[f"{PREFIX}top1"] - hits})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def to_jsonable(
        self, temperatures: dict[str, dict[str, float | None]]
    ) -> dict[str, Any] | None:
        """Return what metrics.json holds of the groups; None if they are not measured."""
        if not self.measurable:
            return None
        return {
            "splits": {
                split: {
                    "groups": len(each.size),
                    "of_several_samples": int(each.several.sum()),
                    "largest": int(each.size.max()),
                }
                for split, each in self.splits.items()
            },
            "temperatures": temperatures,
        }
