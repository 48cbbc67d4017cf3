"""The classification task and the experts' logits, validated for the evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.class_groups import GROUPS, class_groups
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

FITTED_ON = "tune"
REPORTED_SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Task:
    """The classification task.

    Attributes:
        target: the taxonomic rank that the experts classify.
        classes: its C class names.
        train_counts: int [C], samples of each class in the split train.
        groups: {many, medium or few: boolean mask [C]}.
        positive: index of the positive class of a two-class task; None for more classes.
        coarser: {rank above the target: index of each class's ancestor, int [C], -1 if unknown},
            from the top rank.
        rank_classes: {rank: class names}.
    """

    target: str
    classes: list[str]
    train_counts: np.ndarray
    groups: dict[str, np.ndarray]
    positive: int | None = None
    coarser: dict[str, np.ndarray] = field(default_factory=dict)
    rank_classes: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, manifest: str | Path, config: Evaluation) -> "Task":
        """Read the shards' manifest.

        Raises:
            TailproofError: the manifest lacks the class counts of the split train.
        """
        value = read_json(manifest)
        try:
            target = value["target"]
            classes = value["classes"][target]
            named = value["splits"]["train"]["class_counts"][target]
            above = value["ancestors"][target]
        except (KeyError, TypeError) as error:
            raise TailproofError(
                f"{manifest} has no field {error}, expected target, classes, their ancestors and "
                "the class counts of the split train: run snakemake again with --forcerun "
                "manifest"
            ) from None
        counts = np.array([named.get(name, 0) for name in classes], int)
        positive = value.get("positive")
        return cls(
            target,
            classes,
            counts,
            class_groups(counts, config),
            None if positive is None else classes.index(positive),
            {
                rank: np.array([-1 if index is None else index for index in indices], int)
                for rank in value["ranks"]
                if (indices := above.get(rank))
            },
            value["classes"],
        )

    @cached_property
    def tail(self) -> np.ndarray:
        """Boolean mask [C] of the few-shot classes; the others are the head."""
        return self.groups["few"]

    def group_of(self, index: int) -> str:
        """Return the group of a class: many, medium or few."""
        return next(name for name in GROUPS if self.groups[name][index])


Files = Mapping[str, Mapping[Any, Mapping[str, str | Path]]]
"""The paths of logits by expert, seed (a number, or its text) and split."""

Experts = dict[str, dict[str, dict[str, LogitsFile]]]


def read_experts(files: Files, task: Task) -> Experts:
    """Read {expert: {seed: {split: path}}} into {expert: {seed: {split: LogitsFile}}}.

    Raises:
        TailproofError: a file is damaged or belongs to another expert, seed or split,
            experts have different seeds or samples, or splits share samples.
    """
    if not files:
        raise TailproofError("the experiment has no expert to evaluate: add one under 'experts'")
    experts: Experts = {}
    for expert, places in files.items():
        experts[expert] = {
            str(seed): {
                split: _read(places[seed], expert, seed, split, task) for split in _splits()
            }
            for seed in sorted(places, key=int)
        }
    first = next(iter(experts))
    for expert, seeds in experts.items():
        if list(seeds) != list(experts[first]):
            raise TailproofError(
                f"expert '{expert}' has the seeds {', '.join(seeds)}, but '{first}' has "
                f"{', '.join(experts[first])}: train each expert with the same seeds"
            )
    for split in _splits():
        _same_samples(split, experts, files)
    _disjoint(next(iter(experts[first].values())))
    return experts


def _splits() -> tuple[str, ...]:
    return (FITTED_ON, *REPORTED_SPLITS)


def _read(
    paths: Mapping[str, str | Path], expert: str, seed: str | int, split: str, task: Task
) -> LogitsFile:
    path = paths[split]
    logits = LogitsFile.open(path)
    expected = {"expert": expert, "seed": str(seed), "split": split, "target": task.target}
    for key, value in expected.items():
        if str(logits.metadata[key]) != value:
            raise TailproofError(
                f"{path} has the {key} '{logits.metadata[key]}', expected '{value}': run "
                "snakemake again with --forcerun infer"
            )
    if "temperature" not in logits.metadata:
        raise TailproofError(
            f"{path} has raw logits, expected calibrated logits: run snakemake again with "
            "--forcerun export"
        )
    if logits.classes[task.target] != len(task.classes):
        raise TailproofError(
            f"{path} has {logits.classes[task.target]} logits per sample, expected "
            f"{len(task.classes)}, the classes of '{task.target}' in the manifest: train the "
            "expert again"
        )
    if not logits.weight.sum() > 0:
        raise TailproofError(
            f"{path} has no sample of positive weight: give '{split}' a larger share in data.splits"
        )
    return logits


def _same_samples(split: str, experts: Experts, files: Files) -> None:
    base, origin = None, None
    for expert, seeds in experts.items():
        paths = {str(seed): path for seed, path in files[expert].items()}
        for seed, splits in seeds.items():
            logits, path = splits[split], paths[seed][split]
            if base is None:
                base, origin = logits, path
                continue
            for what, values, expected in (
                ("samples", logits.sample_ids, base.sample_ids),
                ("labels", logits.target, base.target),
                ("weights", logits.weight, base.weight),
            ):
                if not np.array_equal(values, expected):
                    raise TailproofError(
                        f"{path} and {origin} differ in their {what}, expected the same rows in "
                        f"the same order for '{split}': run snakemake again with --forcerun infer"
                    )


def _disjoint(splits: dict[str, LogitsFile]) -> None:
    seen: dict[str, str] = {}
    for split, logits in splits.items():
        for sample in logits.sample_ids:
            other = seen.setdefault(sample, split)
            if other != split:
                raise TailproofError(
                    f"sample '{sample}' is in both '{other}' and '{split}': splits must be "
                    "disjoint; run snakemake again with --forcerun split"
                )
