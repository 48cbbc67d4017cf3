"""Losses for long-tailed data. Each takes logits [N, C] and targets [N] or soft targets [N, C]."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.runtime.errors import TailproofError, unknown_name


class CrossEntropy(nn.Module):
    """Cross-entropy with class weights and label smoothing; the mean is weighted by class.

    Args:
        weight: weight of each class, shape [C], or None.
        label_smoothing: share of the target spread evenly (Szegedy et al. 2016, section 7).
    """

    def __init__(self, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        return F.cross_entropy(
            logits, target, weight=self.weight, label_smoothing=self.label_smoothing
        )

    def reduction_weight(self, target: Tensor) -> Tensor:
        """Return what the mean divides by, a scalar: parts of a batch are weighed by it."""
        if self.weight is None or target.dim() == 2:
            return _count(target)
        return self.weight[target].sum()


class LogitAdjustment(nn.Module):
    """Cross-entropy on z + tau·log(prior) (Menon et al. 2021, equation 10).

    At tau 1 this is balanced softmax (Ren et al. 2020, equation 4): log n = log prior + log N, and
    softmax does not see a constant.

    Args:
        class_counts: training samples of each class, shape [C], all positive.
        tau: strength; 0 is cross-entropy.
    """

    def __init__(self, class_counts: Tensor, tau: float) -> None:
        super().__init__()
        prior = class_counts.double() / class_counts.sum()
        self.register_buffer("adjustment", (tau * prior.log()).float())

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        return F.cross_entropy(logits + self.adjustment, target)

    def reduction_weight(self, target: Tensor) -> Tensor:
        """Return what the mean divides by, a scalar."""
        return _count(target)


class BalancedSoftmax(LogitAdjustment):
    """Cross-entropy on z + log(n) (Ren et al. 2020, equation 4), up to a constant that cancels."""

    def __init__(self, class_counts: Tensor) -> None:
        super().__init__(class_counts, tau=1.0)


class Focal(nn.Module):
    """−w·(1−p)^gamma·log(p) (Lin et al. 2017, equation 5), weighted mean over the batch.

    Args:
        gamma: focus on hard samples; 0 is cross-entropy.
        weight: weight of each class, shape [C], or None.
    """

    def __init__(self, gamma: float, weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss, a scalar."""
        log_p = F.log_softmax(logits, dim=1)
        if target.dim() == 1:
            target = F.one_hot(target, logits.shape[1]).to(log_p.dtype)
        if self.weight is not None:
            target = target * self.weight
        # log p is 0 at p = 1, where the power's gradient would be 0·∞ for gamma < 1
        focus = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny) ** self.gamma
        return -(target * focus * log_p).sum() / target.sum()

    def reduction_weight(self, target: Tensor) -> Tensor:
        """Return what the mean divides by, a scalar."""
        if target.dim() == 2:
            return (target if self.weight is None else target * self.weight).sum()
        return _count(target) if self.weight is None else self.weight[target].sum()


def build_loss(config: dict[str, Any], class_counts: Tensor) -> nn.Module:
    """Build a recipe's loss.

    Args:
        config: the recipe's loss section.
        class_counts: training samples of each class, shape [C].

    Raises:
        TailproofError: an unknown name, or class weights that do not fit the classes.
    """
    name, options = config["name"], {k: v for k, v in config.items() if k != "name"}
    if "class_weights" in options:
        options["weight"] = _class_weights(options.pop("class_weights"), class_counts)
    builders = {
        "cross_entropy": CrossEntropy,
        "logit_adjustment": lambda **o: LogitAdjustment(class_counts, **o),
        "balanced_softmax": lambda **o: BalancedSoftmax(class_counts, **o),
        "focal": Focal,
    }
    if name not in builders:
        raise unknown_name("loss", name, builders)
    return builders[name](**options)


def _count(target: Tensor) -> Tensor:
    return torch.tensor(float(len(target)), device=target.device)


def _class_weights(weights: str | list[float] | None, class_counts: Tensor) -> Tensor | None:
    """Return weights [C]; ``balanced`` is N / (C·n), the mean weight of a sample is 1."""
    if weights is None:
        return None
    if weights == "balanced":
        return (class_counts.sum() / (len(class_counts) * class_counts.double())).float()
    if len(weights) != len(class_counts):
        raise TailproofError(
            f"recipe.loss.class_weights has {len(weights)} values, the data have "
            f"{len(class_counts)} classes: give one a class, or 'balanced'"
        )
    return torch.tensor(weights, dtype=torch.float32)
