"""A model's outputs: one classification head a taxonomic rank, side by side in the last layer."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.config.recipe import Recipe
from tailproof.data.taxonomy import head_columns
from tailproof.loading import Split
from tailproof.losses import Loss
from tailproof.runtime.errors import TailproofError, unknown_name

FINEST = 0.5  # weight of the finest rank where the recipe does not say; the others share the rest


class Heads:
    """Which outputs belong to which rank, and what the ranks weigh.

    Attributes:
        classes: class names by rank, in the order of the outputs.
        target: the rank that the run is monitored by.
        weights: of each rank in the loss.
        positive: of two classes of the target the index of the one that is looked for, or None.
    """

    def __init__(self, manifest: dict[str, Any], recipe: Recipe) -> None:
        """Choose the ranks.

        Raises:
            TailproofError: the recipe names a rank that there is not, leaves out the target, or
                a rank has one class only.
        """
        self.target: str = manifest["target"]
        self.weights = rank_weights(recipe.heads, manifest["ranks"], self.target)
        self.classes: dict[str, list[str]] = {
            rank: manifest["classes"][rank] for rank in self.weights
        }
        for rank, names in self.classes.items():
            if len(names) < 2:
                raise TailproofError(
                    f"the rank '{rank}' has one class ({', '.join(names)}), so there is nothing to "
                    "learn: leave it out of recipe.heads, or out of the source's ranks"
                )
        named = manifest["positive"]
        self.positive = None if named is None else self.classes[self.target].index(named)
        self._columns = head_columns(self.sizes)

    @property
    def names(self) -> list[str]:
        """Names of all outputs."""
        return [name for names in self.classes.values() for name in names]

    @property
    def sizes(self) -> dict[str, int]:
        """Classes by rank."""
        return {rank: len(names) for rank, names in self.classes.items()}

    def labels(self, split: Split) -> Tensor:
        """Return the class index of every sample at each rank, int64 [N, R]; -1 is none."""
        return torch.from_numpy(np.stack([split.labels[rank] for rank in self.classes], axis=1))

    def parts(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the columns of each rank of [N, all classes]."""
        return {rank: outputs[:, columns] for rank, columns in self._columns.items()}

    def one_hot(self, labels: Tensor) -> Tensor:
        """Return labels [N, R] as float32 [N, all classes]; zeros where there is none."""
        columns = [
            F.one_hot(own + 1, size + 1)[:, 1:]
            for own, size in zip(labels.unbind(1), self.sizes.values(), strict=True)
        ]
        return torch.cat(columns, dim=1).float()


class MultiHeadLoss(nn.Module):
    """Each head's loss, weighted; where a sample has no label at a rank, that head learns nothing.

    Args:
        heads: of the model.
        loss: the recipe's, which all heads take.
        labels: of the training samples, int64 [N, R].
    """

    def __init__(self, heads: Heads, loss: Loss, labels: Tensor) -> None:
        super().__init__()
        self._heads, self._loss = heads, loss
        self._weights = list(heads.weights.values())
        self._complete = [bool((own >= 0).all()) for own in labels.unbind(1)]
        for number, size in enumerate(heads.sizes.values()):
            known = labels[:, number][labels[:, number] >= 0]
            counts = torch.bincount(known, minlength=size).clamp_min(1)
            self.register_buffer(f"class_values_{number}", loss.class_values(counts))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted mean loss of each head, [R]; their sum is what is trained.

        Args:
            logits: [N, all classes].
            target: int64 [N, R], or soft targets [N, all classes].
        """
        means = []
        for weight, values, own, truth in self._each(target, logits):
            mean = self._loss.mean
            means.append(weight * mean(F, own, truth, values) if len(truth) else own.sum())
        return torch.stack(means)

    def reduction_weight(self, target: Tensor) -> Tensor:
        """Return what the mean of each head divides by, [R]: parts of a batch are weighed by it."""
        return torch.stack(
            [
                self._loss.reduction_weight(truth, values)
                for _, values, _, truth in self._each(target)
            ]
        )

    def _each(self, target: Tensor, logits: Tensor | None = None):
        """Yield each head's weight, class values, and logits and targets where there is a label."""
        soft = target.is_floating_point()
        columns = self._heads.parts(target).values() if soft else target.unbind(1)
        outputs = [None] * len(self._weights)
        if logits is not None:
            outputs = list(self._heads.parts(logits).values())
        buffers = [getattr(self, f"class_values_{number}") for number in range(len(outputs))]
        parts = zip(self._weights, buffers, outputs, columns, self._complete, strict=True)
        for weight, values, own, truth, complete in parts:
            if complete:
                yield weight, values, own, truth
                continue
            labelled = truth.sum(1) > 0 if soft else truth >= 0
            yield weight, values, own if own is None else own[labelled], truth[labelled]


def rank_weights(heads: Any, ranks: list[str], target: str) -> dict[str, float]:
    """Return the weight of each rank that is learnt, in the order of the ranks.

    Raises:
        TailproofError: an unknown rank, or the target is not among them.
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
            f"recipe.heads leaves out '{target}', the rank that is learnt and evaluated: add it or "
            "set data.target"
        )
    return {rank: heads[rank] for rank in ranks if rank in heads}
