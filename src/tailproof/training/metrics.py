"""Metrics of an epoch from its confusion matrix, counted on the device."""

import numpy as np
import torch
from torch import Tensor


class Tally:
    """Counts predictions and sums losses over an epoch without waiting for the device.

    Args:
        classes: number of classes C.
        device: where the counts are kept.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Count one batch: logits [B, C], labels int64 [B], its mean loss."""
        pairs = labels * self.classes + logits.argmax(1)
        self.confusion += torch.bincount(pairs, minlength=self.classes**2)
        self.losses.append(loss.detach())
        self.sizes.append(len(labels))

    def first_non_finite(self) -> int | None:
        """Return the first step (from 1) whose loss is NaN or infinite, or None."""
        bad = (~torch.isfinite(torch.stack(self.losses))).nonzero()
        return int(bad[0]) + 1 if len(bad) else None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return loss, accuracy, balanced accuracy and macro F1, their names with `prefix`."""
        losses = torch.stack(self.losses).double().cpu().numpy()
        confusion = self.confusion.reshape(self.classes, self.classes).cpu().numpy()
        values = {"loss": float(np.average(losses, weights=self.sizes)), **scores(confusion)}
        return {f"{prefix}_{name}": value for name, value in values.items()}


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
