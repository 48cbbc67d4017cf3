"""Metrics of an epoch from its confusion matrix, counted on the device."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailproof.monitors import Validation
from tailproof.training.multi_head import Heads


class EpochMetrics:
    """Counts predictions and sums losses over an epoch without waiting for the device.

    Args:
        heads: the model's, one a taxonomic rank.
        device: where the counts are kept.
        total: sums a tensor over the process ranks.
    """

    def __init__(
        self, heads: Heads, device: torch.device, total: Callable[[Tensor], Tensor]
    ) -> None:
        self._heads, self._device, self._total = heads, device, total
        self.confusion = {
            rank: torch.zeros(size * size, dtype=torch.int64, device=device)
            for rank, size in heads.sizes.items()
        }
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor, size: int) -> None:
        """Count one batch.

        Args:
            logits: of this rank's samples, [B, all classes].
            labels: of the same, int64 [B, R]; -1 is none.
            loss: this rank's share of the batch's mean loss, a scalar.
            size: samples of the batch over all ranks.
        """
        outputs = self._heads.parts(logits).items()
        for (rank, own), truth in zip(outputs, labels.unbind(1), strict=True):
            classes = own.shape[1]
            pairs = truth * classes + own.argmax(1)
            # The target has all labels: no row is looked for, which would wait for the device.
            pairs = pairs if rank == self._heads.target else pairs[truth >= 0]
            self.confusion[rank] += torch.bincount(pairs, minlength=classes**2)
        self.losses.append(loss.detach())
        self.sizes.append(size)

    def first_non_finite(self) -> int | None:
        """Return the first step (from 1) whose loss is NaN or infinite, or None."""
        if not self.losses:
            return None
        bad = (~torch.isfinite(self._total(torch.stack(self.losses)))).nonzero()
        return int(bad[0]) + 1 if len(bad) else None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return loss, accuracy, balanced accuracy and macro F1, their names with `prefix`.

        Those of ranks beside the target end in the rank's name.
        """
        return self._metrics(prefix, self.state())

    def validation(self, rare: "RareScores") -> Validation:
        """Return what monitors are measured on, of a pass over val."""
        totals, classes = self.state(), self._heads.sizes[self._heads.target]
        confusion = totals["confusion"][self._heads.target].reshape(classes, classes).numpy()
        return Validation(self._metrics("val", totals), confusion, *rare.gathered())

    def _metrics(self, prefix: str, found: dict[str, Any]) -> dict[str, float]:
        loss = np.average(found["losses"].double().numpy(), weights=self.sizes)
        values = {f"{prefix}_loss": float(loss)}
        ranks = sorted(found["confusion"], key=lambda rank: rank != self._heads.target)
        for rank in ranks:
            classes = self._heads.sizes[rank]
            measured = scores(found["confusion"][rank].reshape(classes, classes).numpy())
            ending = "" if rank == self._heads.target else f"_{rank}"
            values |= {f"{prefix}_{name}{ending}": value for name, value in measured.items()}
        return values

    def state(self) -> dict[str, Any]:
        """Return the counts over all ranks, on the CPU."""
        losses = torch.stack(self.losses) if self.losses else torch.zeros(0, device=self._device)
        return {
            "confusion": {rank: self._total(own).cpu() for rank, own in self.confusion.items()},
            "losses": self._total(losses).cpu(),
            "sizes": list(self.sizes),
        }

    def restore(self, state: dict[str, Any], share: float) -> None:
        """Go on from what `state` returned; `share` is 1 on one rank and 0 on the others."""
        self.confusion = {
            rank: (own * int(share)).to(self._device) for rank, own in state["confusion"].items()
        }
        self.losses = list((state["losses"] * share).to(self._device))
        self.sizes = list(state["sizes"])


class RareScores:
    """The scores of the positive class of two over a whole split, gathered from all ranks.

    Args:
        labels: int64 [N].
        positive: index of the positive class; None where there are more than two: nothing is kept.
        total: sums a tensor over the process ranks.
    """

    def __init__(
        self, labels: Tensor, positive: int | None, total: Callable[[Tensor], Tensor]
    ) -> None:
        self._labels, self._positive, self._total = labels, positive, total
        self._scores = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)

    def add(self, logits: Tensor, rows: Tensor) -> None:
        """Take in one batch: the target's logits [B, 2] of these rows of the split, int64 [B]."""
        if self._positive is not None:
            own = logits[:, self._positive].double() - logits[:, 1 - self._positive].double()
            self._scores[rows] = own

    def gathered(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the scores of all samples, and which are positive; None of more classes."""
        if self._positive is None:
            return None, None
        scores = self._total(self._scores).cpu().numpy()
        return scores, (self._labels == self._positive).cpu().numpy()


def scores(confusion: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro F1 of counts [true, predicted].

    As scikit-learn: balanced accuracy is the mean recall over the classes that occur, macro F1
    the mean over the classes that occur or are predicted.
    """
    right, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    occurs, counted = true > 0, (true + predicted) > 0
    return {
        "accuracy": float(right.sum() / true.sum()),
        "balanced_accuracy": float(np.mean(right[occurs] / true[occurs])),
        "macro_f1": float(np.mean(2 * right[counted] / (true + predicted)[counted])),
    }
