"""The predictions of all experts for samples that none of them was trained on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

INSPECTED = ("val", "calib", "tune", "dev")
"""Splits that no expert was trained on. Test is left out: whoever removes the labels of test that
the experts doubt makes the experts look better than they are."""


@dataclass(frozen=True)
class HeldOutPredictions:
    """The mean prediction of all experts and seeds.

    Attributes:
        sample_ids: N strings.
        splits: N positions in `INSPECTED`.
        mean: the mean of the log-probabilities, float32, and the N class indices at the target
            rank; rows need not sum to 1. It is read from the files block by block.
    """

    sample_ids: np.ndarray
    splits: np.ndarray
    mean: Prediction

    @property
    def labels(self) -> np.ndarray:
        """The N class indices at the target rank."""
        return self.mean.labels

    @classmethod
    def read(cls, files: Mapping[str, Iterable[str | Path]], classes: int) -> "HeldOutPredictions":
        """Open calibrated logits.

        Args:
            files: for each split of `INSPECTED` a file of every expert and seed.
            classes: the number of classes.

        Raises:
            TailproofError: a file is damaged, or two files of a split differ in their samples.
        """
        opened = [_open(list(files[split]), classes) for split in INSPECTED]
        first = [of_split[0] for of_split in opened]
        labels = np.concatenate([logits.target for logits in first])
        return cls(
            sample_ids=np.concatenate([logits.sample_ids for logits in first]),
            splits=np.repeat(np.arange(len(first)), [len(logits) for logits in first]),
            mean=Prediction(Streamed(classes, lambda: _mean(opened)), labels),
        )


def _open(paths: list[str | Path], classes: int) -> list[LogitsFile]:
    """Return the files of a split, which must have the same samples."""
    files = [LogitsFile.open(path) for path in paths]
    for path, logits in zip(paths, files, strict=True):
        same = np.array_equal(logits.sample_ids, files[0].sample_ids)
        if not (same and np.array_equal(logits.target, files[0].target)):
            raise TailproofError(
                f"{path} and {paths[0]} differ in their samples or labels, expected the same rows "
                "in the same order: run snakemake again with --forcerun infer"
            )
        found = logits.classes[logits.metadata["target"]]
        if found != classes:
            raise TailproofError(
                f"{path} has logits of {quantity(found, 'class', 'classes')}, expected {classes}, "
                "as in the manifest: run snakemake again with --forcerun train"
            )
    return files


def _mean(opened: list[list[LogitsFile]]) -> Blocks:
    """Yield the mean log-probabilities of all files of each split, one split after the other."""
    start = 0
    for files in opened:
        blocks = (file.blocks(file.metadata["target"]) for file in files)
        for parts in zip(*blocks, strict=True):
            rows = parts[0][0]
            total = np.zeros((), np.float32)
            for _, block in parts:
                (logits,) = block.values()
                total = total + log_probabilities(logits, np.float32)
            yield slice(start + rows.start, start + rows.stop), total / np.float32(len(files))
        start += len(files[0])
