"""Heads: what maps the features of a frozen backbone to logits.

`tailproof.features.heads` makes and fits them, and `tailproof.features.backbone_with_head`
builds a network of a backbone and a head.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention


class StandardizingHead(nn.Module):
    """A head that standardizes features by their mean and deviation on train.

    Args:
        width: number of features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def standardized(self, x: Tensor) -> Tensor:
        """Return features [N, D] with mean 0 and deviation 1 on train."""
        return (x - self.mean) * self.scale


class LinearHead(StandardizingHead):
    """W·x + b of standardized features x."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width)
        self.layer = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        return self.layer(self.standardized(x))

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight [C, D] and bias [C] of the same function of features as they are."""
        weight = self.layer.weight.double() * self.scale.double()
        bias = self.layer.bias.double() - weight @ self.mean.double()
        return weight.float(), bias.float()


class RescaledHead(nn.Module):
    """f_c · w_c·x with one learnable factor per class and fixed weights (Kang et al. 2020, LWS).

    Args:
        weight: the weights of a trained classifier, [C, D].
    """

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.factors = nn.Parameter(torch.ones(len(weight)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        return self.factors * F.linear(x, self.weight)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight [C, D] and bias [C] of the same function."""
        return self.factors[:, None] * self.weight, torch.zeros_like(self.factors)


class CosineHead(StandardizingHead):
    """s · cos(x, w_c) of standardized features x (Gidaris & Komodakis 2018, equation 3)."""

    def __init__(self, width: int, outputs: int, scale: float) -> None:
        super().__init__(width)
        self.factor = scale
        self.weight = nn.Parameter(torch.empty(outputs, width))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        directions = F.normalize(self.standardized(x), dim=1)
        return self.factor * F.linear(directions, F.normalize(self.weight, dim=1))


class MlpHead(StandardizingHead):
    """Two linear layers with a GELU between them, of standardized features."""

    def __init__(self, width: int, outputs: int, hidden: int) -> None:
        super().__init__(width)
        self.hidden = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        return self.output(F.gelu(self.hidden(self.standardized(x))))


class NeighborHead(StandardizingHead):
    """Log of the share of each class in the votes of the most similar training samples.

    A vote is exp(cosine similarity / temperature), and all votes together are 1. One more vote
    is shared by the classes as they are shared in train, so that no logit is infinite.

    Args:
        width: number of features.
        outputs: number of classes, over all ranks.
        sizes: number of classes of each rank.
        rows: number of training samples.
        neighbors: number of samples that vote.
        temperature: of the votes.
        balanced: whether votes are divided by the class's share of train.
    """

    directions: Tensor
    labels: Tensor
    shares: Tensor

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        sizes: list[int],
        rows: int,
        neighbors: int,
        temperature: float,
        balanced: bool,
    ) -> None:
        super().__init__(width)
        if sum(sizes) != outputs:
            raise ValueError(f"sizes are for {sum(sizes)} outputs, expected {outputs}")
        self.sizes, self.neighbors = sizes, min(neighbors, rows)
        self.temperature, self.balanced = temperature, balanced
        self.register_buffer("directions", torch.zeros(rows, width))
        self.register_buffer("labels", torch.zeros(rows, len(sizes), dtype=torch.int64))
        self.register_buffer("shares", torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        similar = F.normalize(self.standardized(x), dim=1) @ self.directions.T
        nearest, rows = similar.topk(self.neighbors, dim=1)
        votes = (nearest / self.temperature).softmax(1)
        logits = []
        for size, labels, shares in zip(
            self.sizes, self.labels.unbind(1), self.shares.split(self.sizes), strict=True
        ):
            # A sample without a label at this rank votes for a class that is left out.
            counted = votes.new_zeros(x.shape[0], size + 1).scatter_add_(1, labels[rows] + 1, votes)
            share = (counted[:, 1:] + shares) / (counted[:, 1:].sum(1, keepdim=True) + 1)
            logits.append((share / shares if self.balanced else share).log())
        return torch.cat(logits, 1)


HEADS: dict[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "cosine": CosineHead,
    "mlp": MlpHead,
    "knn": NeighborHead,
}


def build_head(
    kind: str, width: int, outputs: int, options: dict[str, Any] | None = None
) -> nn.Module:
    """Build a head.

    Args:
        kind: a key of `HEADS`.
        width: number of features.
        outputs: number of outputs.
        options: further arguments of the head.

    Raises:
        ValueError: there is no such head.
    """
    if kind not in HEADS:
        raise ValueError(f"the head is {kind!a:.80}, expected one of {', '.join(HEADS)}")
    return HEADS[kind](width, outputs, **(options or {}))
