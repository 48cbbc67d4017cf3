"""Makes heads for stored features: those that the loss trains, and those that are fitted here."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tailproof.config.head import Head, Lws, TauNorm
from tailproof.features.head_layers import (
    LinearHead,
    NeighborHead,
    RescaledHead,
    build_head,
)
from tailproof.features.store import FeatureSplit
from tailproof.models.model_options import LARGEST
from tailproof.runtime.errors import TailproofError

SMALLEST = 1e-6
"""Features that vary less, next to the one that varies most, are left out."""

OPTIONS = {"cosine": {"scale"}, "mlp": {"hidden"}, "knn": {"neighbors", "temperature", "balanced"}}
"""Fields of the configuration that are arguments of the head."""


class Targets(NamedTuple):
    """What heads are fitted to.

    Attributes:
        labels: class of each sample at each rank, int64 [N, R]; -1 if it has none.
        sizes: number of classes of each rank.
    """

    labels: np.ndarray
    sizes: list[int]

    def one_hot(self, rows: slice, rank: int) -> np.ndarray:
        """Return the classes of some samples at a rank, float64 [n, C]; 0 without a label."""
        labels = self.labels[rows, rank]
        one_hot = np.zeros((len(labels), self.sizes[rank] + 1))
        one_hot[np.arange(len(labels)), labels + 1] = 1
        return one_hot[:, 1:]

    def counts(self, rank: int) -> np.ndarray:
        """Return the number of samples of each class of a rank, at least 1, float64 [C]."""
        return np.maximum(np.bincount(self.labels[:, rank] + 1, minlength=self.sizes[rank] + 1), 1)[
            1:
        ].astype(np.float64)


def make_head(
    config: Head, split: FeatureSplit, targets: Targets, own: Callable[[], Tensor]
) -> nn.Module:
    """Return a head for features: fitted, or with random weights for the loss to train.

    Args:
        config: the head.
        split: the features of train.
        targets: the labels of train.
        own: returns the weights of the backbone's own classifier, [C, D], for heads that rescale
            it.

    Raises:
        TailproofError: the head cannot hold so many samples.
    """
    if isinstance(config, TauNorm):
        return _linear_head(*tau_normalized(own(), config.tau))
    if isinstance(config, Lws):
        return RescaledHead(own())
    moments = standardization(split)
    if config.kind == "prototype":
        return _linear_head(*fit_prototypes(split, targets, moments), *moments)
    if config.kind == "ridge":
        fitted = fit_ridge(split, targets, moments, config.penalty, balanced=config.balanced)
        return _linear_head(*fitted, *moments)
    outputs = sum(targets.sizes)
    if config.kind == "linear":
        head: nn.Module = LinearHead(split.width, outputs)
    else:
        head = build_head(config.kind, split.width, outputs, head_options(config, split, targets))
    head.mean, head.scale = (torch.from_numpy(part).float() for part in moments)
    if isinstance(head, NeighborHead):
        _store_samples(head, split, targets)
    return head


def head_options(config: Head, split: FeatureSplit, targets: Targets) -> dict:
    """Return the arguments of a head other than its width and outputs.

    Raises:
        TailproofError: the head cannot hold so many samples.
    """
    options = config.model_dump(include=OPTIONS.get(config.kind, set()))
    if config.kind == "knn":
        if len(split) > LARGEST:
            raise TailproofError(
                f"recipe.head.kind is knn, which keeps the features of at most {LARGEST:,} "
                f"training images, found {len(split):,}: choose prototype or linear"
            )
        options |= {"sizes": targets.sizes, "rows": len(split)}
    return options


def standardization(split: FeatureSplit) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each feature on train, and 1 / its deviation; 0 where it is constant."""
    count, total, squares = 0, np.zeros(split.width), np.zeros(split.width)
    for _, block in split.blocks():
        values = block.reshape(-1, split.width).astype(np.float64)
        count, total = count + len(values), total + values.sum(0)
        squares += (values**2).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    varies = deviation > SMALLEST * deviation.max(initial=0)
    return mean, np.divide(1, deviation, out=np.zeros(split.width), where=varies)


def tau_normalized(weight: Tensor, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Return w_c / |w_c|^tau and a bias of 0 (Kang et al. 2020, tau-normalized classifier)."""
    lengths = weight.double().norm(dim=1, keepdim=True)
    return (weight.double() / lengths**tau).numpy(), np.zeros(len(weight))


def fit_prototypes(
    split: FeatureSplit, targets: Targets, moments: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight [C, D] and bias [C] of the nearest class mean of standardized features.

    The logit of class c is -√D·|x - m_c|² / 2v up to a constant, where v is the mean squared
    distance of a sample from the mean of its class. If v is 0, all logits are.
    """
    weights, biases = [], []
    for rank, size in enumerate(targets.sizes):
        sums, squares, labelled = np.zeros((size, split.width)), 0.0, 0.0
        for rows, values in _standardized(split, moments):
            one_hot = targets.one_hot(rows, rank)
            sums += one_hot.T @ values
            squares += (one_hot.sum(1) * (values**2).sum(1)).sum()
            labelled += one_hot.sum()
        counts = targets.counts(rank)[:, None]
        means = sums / counts
        spread = (squares - (counts * means**2).sum()) / labelled
        scale = np.sqrt(split.width) / spread if spread > 0 else 0.0
        weights.append(scale * means)
        biases.append(-scale * (means**2).sum(1) / 2)
    return np.concatenate(weights), np.concatenate(biases)


def fit_ridge(
    split: FeatureSplit,
    targets: Targets,
    moments: tuple[np.ndarray, np.ndarray],
    penalty: float,
    *,
    balanced: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight [C, D] and bias [C] that minimize Σ s|Wx + b - y|² + N·penalty·|W|².

    y is 1 at the class of a sample and else 0; s is 1, or for `balanced` N / (C·n_class).
    """
    weights, biases, width = [], [], split.width
    for rank, size in enumerate(targets.sizes):
        counts = targets.counts(rank)
        factors = counts.sum() / (size * counts) if balanced else np.ones(size)
        total, x, y = 0.0, np.zeros(width), np.zeros(size)
        xx, xy = np.zeros((width, width)), np.zeros((width, size))
        for rows, values in _standardized(split, moments):
            weighted = targets.one_hot(rows, rank) * factors
            share = weighted.sum(1)
            total, x, y = total + share.sum(), x + share @ values, y + weighted.sum(0)
            xx += (values * share[:, None]).T @ values
            xy += values.T @ weighted
        centred = xx - np.outer(x, x) / total + penalty * total * np.eye(width)
        weight = np.linalg.solve(centred, xy - np.outer(x, y) / total).T
        weights.append(weight)
        biases.append((y - weight @ x) / total)
    return np.concatenate(weights), np.concatenate(biases)


def _standardized(
    split: FeatureSplit, moments: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their standardized features without augmentation, float64 [n, D]."""
    mean, scale = moments
    for rows, block in split.blocks():
        yield rows, (block[:, 0].astype(np.float64) - mean) * scale


def _linear_head(
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> LinearHead:
    """Return a head with fixed weights."""
    head = LinearHead(weight.shape[1], len(weight))
    if mean is not None:
        head.mean, head.scale = torch.from_numpy(mean).float(), torch.from_numpy(scale).float()
    with torch.no_grad():
        head.layer.weight.copy_(torch.from_numpy(weight))
        head.layer.bias.copy_(torch.from_numpy(bias))
    return head.requires_grad_(False)


@torch.no_grad()
def _store_samples(head: NeighborHead, split: FeatureSplit, targets: Targets) -> None:
    for rows, block in split.blocks():
        values = head.standardized(torch.from_numpy(block[:, 0]).float())
        head.directions[rows] = nn.functional.normalize(values, dim=1)
    head.labels.copy_(torch.from_numpy(targets.labels))
    counts = [targets.counts(rank) for rank in range(len(targets.sizes))]
    shares = np.concatenate([count / count.sum() for count in counts])
    head.shares.copy_(torch.from_numpy(shares))
