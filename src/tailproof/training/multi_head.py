"""Classification heads, one per taxonomic rank, next to each other in the last layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.config.recipe import Recipe
from tailproof.data.taxonomy import head_columns
from tailproof.losses import Loss
from tailproof.runtime.errors import TailproofError, unknown_name

FINEST = 0.5  # default loss weight of the finest rank; the other ranks share the rest


class Heads:
    """The outputs and the loss weight of each rank.

    Attributes:
        classes: class names by rank, in the order of the outputs.
        target: the rank that the monitor is computed on.
        weights: loss weight by rank.
        positive: index of the positive class of a binary target; else None.
    """

    def __init__(self, manifest: dict[str, Any], recipe: Recipe) -> None:
        """Select the ranks to learn.

        Raises:
            TailproofError: the recipe names an unknown rank or omits the target, or a rank has
                only one class.
        """
        self.target: str = manifest["target"]
        self.weights = rank_weights(recipe.heads, manifest["ranks"], self.target)
        self.classes: dict[str, list[str]] = {
            rank: manifest["classes"][rank] for rank in self.weights
        }
        for rank, names in self.classes.items():
            if len(names) < 2:
                raise TailproofError(
                    f"the rank '{rank}' has 1 class ({', '.join(names)}), expected at least 2: "
                    "remove it from recipe.heads or from the ranks of the source"
                )
        positive = manifest["positive"]
        self.positive = None if positive is None else self.classes[self.target].index(positive)
        self._columns = head_columns(self.sizes)

    @property
    def names(self) -> list[str]:
        """The class names of all outputs."""
        return [name for names in self.classes.values() for name in names]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of classes by rank."""
        return {rank: len(names) for rank, names in self.classes.items()}

    def labels(self, by_rank: Mapping[str, np.ndarray]) -> Tensor:
        """Return the class index of every sample at each rank, int64 [N, R]; -1 if it has none."""
        return torch.from_numpy(np.stack([by_rank[rank] for rank in self.classes], axis=1))

    def parts(self, outputs: Tensor) -> dict[str, Tensor]:
        """Split outputs [N, all classes] by rank."""
        return {rank: outputs[:, columns] for rank, columns in self._columns.items()}

    def one_hot(self, labels: Tensor) -> Tensor:
        """Return labels [N, R] as one-hot float32 [N, all classes]; all zero without a label."""
        columns = [
            F.one_hot(label + 1, size + 1)[:, 1:]
            for label, size in zip(labels.unbind(1), self.sizes.values(), strict=True)
        ]
        return torch.cat(columns, dim=1).float()


class MultiHeadLoss(nn.Module):
    """Weighted losses of all heads; a head ignores samples without a label at its rank.

    Args:
        heads: the heads of the model.
        loss: the loss of every head.
        labels: labels of the training samples, int64 [N, R].
    """

    def __init__(self, heads: Heads, loss: Loss, labels: Tensor) -> None:
        super().__init__()
        self._heads, self._loss = heads, loss
        self._weights = list(heads.weights.values())
        self._complete = [bool((label >= 0).all()) for label in labels.unbind(1)]
        for number, size in enumerate(heads.sizes.values()):
            present = labels[:, number][labels[:, number] >= 0]
            counts = torch.bincount(present, minlength=size).clamp_min(1)
            self.register_buffer(f"class_values_{number}", loss.class_values(counts))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted mean loss of each head, [R]; training minimizes their sum.

        Args:
            logits: [N, all classes].
            target: int64 [N, R], or soft targets [N, all classes].
        """
        means = []
        for weight, values, truth, output in self._parts(target, logits):
            mean = self._loss.mean
            means.append(weight * mean(F, output, truth, values) if len(truth) else output.sum())
        return torch.stack(means)

    def reduction_weight(self, target: Tensor) -> Tensor:
        """Return the divisor of each head's mean, [R], to weigh the parts of a batch by."""
        return torch.stack(
            [self._loss.reduction_weight(truth, values) for _, values, truth in self._parts(target)]
        )

    def _parts(self, target: Tensor, *logits: Tensor) -> Iterator[tuple[Any, ...]]:
        """Yield each head's weight, class values, and targets and logits of labelled samples."""
        soft = target.is_floating_point()
        columns = self._heads.parts(target).values() if soft else target.unbind(1)
        outputs = [self._heads.parts(values).values() for values in logits]
        buffers = [getattr(self, f"class_values_{number}") for number in range(len(self._weights))]
        parts = zip(self._weights, buffers, self._complete, columns, *outputs, strict=True)
        for weight, values, complete, truth, *output in parts:
            if complete:
                yield weight, values, truth, *output
                continue
            labelled = truth.sum(1) > 0 if soft else truth >= 0
            yield weight, values, truth[labelled], *(part[labelled] for part in output)


def build_losses(heads: Heads, recipe: Recipe, labels: Tensor) -> list[MultiHeadLoss]:
    """Build the loss of each phase, on the device of the labels of train [N, R]."""
    counted = labels.cpu()
    return [
        MultiHeadLoss(heads, phase.loss, counted).to(labels.device) for phase in recipe.timeline
    ]


def rank_weights(heads: Any, ranks: list[str], target: str) -> dict[str, float]:
    """Return the loss weight of each rank that is learnt, in the order of the ranks.

    Raises:
        TailproofError: a rank is unknown, or the target is missing.
    """
    if heads is None:
        return {target: 1.0}
    if heads == "all":
        others = len(ranks) - 1
        if not others:
            return {target: 1.0}
        return {rank: FINEST if rank == ranks[-1] else FINEST / others for rank in ranks}
    for rank in heads:
        if rank not in ranks:
            raise unknown_name("taxonomic rank in recipe.heads", rank, ranks)
    if target not in heads:
        raise TailproofError(
            f"recipe.heads has no '{target}', the target rank: add it, or set data.target to "
            f"one of {', '.join(heads)}"
        )
    return {rank: heads[rank] for rank in ranks if rank in heads}
