"""The predictions of all experts for samples that none of them was trained on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from tailproof.data.logits import Logits
from tailproof.runtime.errors import TailproofError

INSPECTED = ("val", "calib", "tune", "dev")
"""Splits that no expert was trained on. Test is left out: whoever removes the labels of test that
the experts doubt makes the experts look better than they are."""


@dataclass(frozen=True)
class HeldOutPredictions:
    """The mean prediction of all experts and seeds.

    Attributes:
        sample_ids: N strings.
        splits: N positions in `INSPECTED`.
        labels: N class indices at the target rank.
        log_p: float32 [N, C], the mean of the log-probabilities; rows need not sum to 1.
    """

    sample_ids: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    log_p: np.ndarray

    @classmethod
    def read(cls, files: Mapping[str, Iterable[str | Path]], classes: int) -> "HeldOutPredictions":
        """Read calibrated logits one file after the other, so that memory holds one and their sum.

        Args:
            files: for each split of `INSPECTED` a file of every expert and seed.
            classes: the number of classes.

        Raises:
            TailproofError: a file is damaged, or two files of a split differ in their samples.
        """
        parts = [_mean(list(files[split]), classes) for split in INSPECTED]
        return cls(
            sample_ids=np.concatenate([logits.sample_ids for logits, _ in parts]),
            splits=np.repeat(np.arange(len(parts)), [len(log_p) for _, log_p in parts]),
            labels=np.concatenate([logits.target for logits, _ in parts]),
            log_p=np.concatenate([log_p for _, log_p in parts]),
        )


def _mean(paths: list[str | Path], classes: int) -> tuple[Logits, np.ndarray]:
    """Return the logits of the first file, and the mean of the log-probabilities of all files."""
    first = Logits.read(paths[0])
    total = np.zeros((len(first.sample_ids), classes), np.float32)
    for path in paths:
        logits = first if path == paths[0] else Logits.read(path)
        same = np.array_equal(logits.sample_ids, first.sample_ids)
        if not (same and np.array_equal(logits.target, first.target)):
            raise TailproofError(
                f"{path} and {paths[0]} differ in their samples or labels, expected the same rows "
                "in the same order: run infer again for both"
            )
        if logits.values.shape[1] != classes:
            raise TailproofError(
                f"{path} has {logits.values.shape[1]} logits per sample, expected {classes}, the "
                "classes in the manifest: train the expert again"
            )
        total += log_softmax(logits.values, axis=1)
    return first, total / np.float32(len(paths))
