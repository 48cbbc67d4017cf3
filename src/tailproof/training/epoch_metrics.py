"""Metrics of an epoch, computed from counts by class that are kept on the device."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailproof.monitors import ClassCounts, Validation
from tailproof.training.multi_head import Heads


class EpochMetrics:
    """Counts predictions and collects losses over an epoch without waiting for the device.

    Args:
        heads: the heads of the model, one per taxonomic rank.
        device: the device that holds the counts.
        total: sums a tensor over the process ranks.
    """

    def __init__(
        self, heads: Heads, device: torch.device, total: Callable[[Tensor], Tensor]
    ) -> None:
        self._heads, self._device, self._total = heads, device, total
        # By rank: right, actual and predicted. No matrix, which 10,000 classes make 800 MB.
        self.counts = {
            rank: torch.zeros(3 * size, dtype=torch.int64, device=device)
            for rank, size in heads.sizes.items()
        }
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, size: int) -> None:
        """Count one batch.

        Args:
            logits: logits of this process's samples, [B, all classes].
            labels: labels of the same samples, int64 [B, R]; -1 if there is none.
            loss: this process's share of the mean loss of the batch, a scalar.
            size: number of samples in the batch over all processes.
        """
        outputs = self._heads.parts(logits).items()
        for (rank, scores_of_rank), truth in zip(outputs, labels.unbind(1), strict=True):
            classes, predicted = scores_of_rank.shape[1], scores_of_rank.argmax(1)
            # Weights of zero leave out missing labels; selecting rows would wait for the device.
            known, actual = (truth >= 0).long(), truth.clamp(min=0)
            right = known * (predicted == actual)
            places = torch.cat([actual, actual + classes, predicted + 2 * classes])
            self.counts[rank].index_add_(0, places, torch.cat([right, known, known]))
        self.losses.append(loss.detach())
        self.sizes.append(size)

    def first_non_finite(self) -> int | None:
        """Return the first step (from 1) whose loss is NaN or infinite, or None."""
        if not self.losses:
            return None
        bad = (~torch.isfinite(self._total(torch.stack(self.losses)))).nonzero()
        return int(bad[0]) + 1 if len(bad) else None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return loss, accuracy, balanced accuracy and macro F1, names prefixed by `prefix`.

        The names for ranks other than the target end in the name of the rank.
        """
        return self._metrics(prefix, self.state())

    def validation(self, rare: "RareScores") -> Validation:
        """Return the results of a pass over val, which monitors are computed from."""
        totals = self.state()
        counts = _by_class(totals["counts"][self._heads.target])
        return Validation(self._metrics("val", totals), counts, *rare.gathered())

    def _metrics(self, prefix: str, totals: dict[str, Any]) -> dict[str, float]:
        loss = np.average(totals["losses"].double().numpy(), weights=self.sizes)
        values = {f"{prefix}_loss": float(loss)}
        ranks = sorted(totals["counts"], key=lambda rank: rank != self._heads.target)
        for rank in ranks:
            measured = scores(_by_class(totals["counts"][rank]))
            ending = "" if rank == self._heads.target else f"_{rank}"
            values |= {f"{prefix}_{name}{ending}": value for name, value in measured.items()}
        return values

    def state(self) -> dict[str, Any]:
        """Return the counts and losses over all processes, on the CPU."""
        losses = torch.stack(self.losses) if self.losses else torch.zeros(0, device=self._device)
        return {
            "counts": {rank: self._total(counts).cpu() for rank, counts in self.counts.items()},
            "losses": self._total(losses).cpu(),
            "sizes": list(self.sizes),
        }

    def restore(self, state: dict[str, Any], share: float) -> None:
        """Restore what `state` returned; `share` is 1 on one process and 0 on the others."""
        self.counts = {
            rank: (counts * int(share)).to(self._device) for rank, counts in state["counts"].items()
        }
        self.losses = list((state["losses"] * share).to(self._device))
        self.sizes = list(state["sizes"])


class RareScores:
    """The scores of the positive class over a whole split, gathered from all processes.

    Args:
        labels: class indices, int64 [N].
        positive: index of the positive class; None, which stores nothing, unless binary.
        total: sums a tensor over the process ranks.
    """

    def __init__(
        self, labels: Tensor, positive: int | None, total: Callable[[Tensor], Tensor]
    ) -> None:
        self._labels, self._positive, self._total = labels, positive, total
        self._scores = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)

    def add(self, logits: Tensor, rows: Tensor) -> None:
        """Add one batch: the target's logits [B, 2] of the given rows of the split, int64 [B]."""
        if self._positive is not None:
            margin = logits[:, self._positive].double() - logits[:, 1 - self._positive].double()
            self._scores[rows] = margin

    def gathered(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the scores of all samples and whether each is positive; None unless binary."""
        if self._positive is None:
            return None, None
        scores = self._total(self._scores).cpu().numpy()
        return scores, (self._labels == self._positive).cpu().numpy()


def _by_class(counts: Tensor) -> ClassCounts:
    return ClassCounts(*counts.reshape(3, -1).numpy())


def scores(counts: ClassCounts) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro F1.

    As in scikit-learn, balanced accuracy is the mean recall over the classes that occur, macro F1
    the mean F1 over the classes that occur or are predicted.
    """
    right, actual, predicted = counts.right, counts.actual, counts.predicted
    occurs, counted = actual > 0, (actual + predicted) > 0
    return {
        "accuracy": float(right.sum() / actual.sum()),
        "balanced_accuracy": float(np.mean(right[occurs] / actual[occurs])),
        "macro_f1": float(np.mean(2 * right[counted] / (actual + predicted)[counted])),
    }
