"""Losses for long-tailed data: one class per loss, registered by `register_loss`.

This module does not import torch, because stages and environments without torch read the
configuration. Callers pass `torch.nn.functional` to a loss together with the tensors.
"""

import math
from typing import Any, Literal, get_args

from pydantic import Field

from tailproof.config.base import Positive, Strict
from tailproof.runtime.errors import TailproofError

Tensor = Any
"""torch.Tensor."""

TINY = 2.0**-126
"""The smallest normal number of float32."""


class Loss(Strict):
    """Base class of a loss; its fields are its options in the recipe.

    A target is int64 [N], or soft targets [N, C]. A loss may need numbers per class, which
    `class_values` computes once and the other methods receive.
    """

    name: str

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return False

    @property
    def corrects_prior(self) -> bool:
        """Whether it is lowest where all classes count the same, as with a class-aware sampler."""
        return self.rebalances

    def canonical(self, *, level: bool = False) -> "Loss":
        """Return the simplest loss that trains the same function.

        Args:
            level: whether all classes have the same number of samples.
        """
        return self

    def class_values(self, class_counts: Tensor) -> Tensor | None:
        """Return numbers per class, float32 [..., C]; None if the loss needs none.

        Args:
            class_counts: number of training samples per class, int64 [C], all positive.

        Raises:
            TailproofError: the options do not fit the number of classes.
        """
        return None

    def shift(self, class_values: Tensor | None) -> Tensor | None:
        """Return what the loss adds to the logits of each class, [C]; None if it adds nothing.

        Args:
            class_values: the result of the method `class_values`.
        """
        return None

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean loss of a batch, a scalar.

        Args:
            functional: the module torch.nn.functional.
            logits: [N, C].
            target: int64 [N], or soft targets [N, C].
            class_values: the result of the method `class_values`, on the device of the logits.
        """
        raise NotImplementedError

    def reduction_weight(self, target: Tensor, class_values: Tensor | None) -> Tensor:
        """Return the divisor of the mean, a scalar, to weigh the parts of a batch by."""
        return target.new_tensor(len(target)).float()


LOSSES: dict[str, type[Loss]] = {}


def register_loss(loss: type[Loss]) -> type[Loss]:
    """Register a loss class under its `name`, a Literal; a class decorator.

    Raises:
        ValueError: the name is not a Literal of one value, or is already taken by another loss.
    """
    names = get_args(loss.model_fields["name"].annotation)
    if len(names) != 1 or names[0] in LOSSES:
        raise ValueError(
            f"{loss.__name__}.name allows {names}, expected a Literal of one value that no other "
            "loss has"
        )
    LOSSES[names[0]] = loss
    return loss


class EffectiveNumber(Strict):
    """Class weights by the effective number of samples (Cui et al. 2019, section 4)."""

    effective_number: float = Field(
        ge=0, lt=1, description="beta of the weights (1−beta)/(1−beta^n), scaled to mean 1."
    )


ClassWeights = Literal["balanced"] | EffectiveNumber | list[Positive] | None


class WeightedLoss(Loss):
    """Base class of losses with class weights."""

    class_weights: ClassWeights = Field(
        None,
        description="'balanced' (inverse class frequency), {effective_number: BETA}, or one weight "
        "per class.",
    )

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return self.class_weights is not None

    def weights(self, class_counts: Tensor) -> Tensor | None:
        """Return the weights [C]; ``balanced`` is N / (C·n), so the mean weight per sample is 1.

        Raises:
            TailproofError: the list of weights does not fit the number of classes.
        """
        weights, counts = self.class_weights, class_counts.double()
        if weights is None:
            return None
        if weights == "balanced":
            return (counts.sum() / (len(counts) * counts)).float()
        if isinstance(weights, EffectiveNumber):
            unscaled = 1 / (1 - weights.effective_number**counts)
            return (unscaled / unscaled.mean()).float()
        if len(weights) != len(counts):
            raise TailproofError(
                f"the length of recipe.loss.class_weights is {len(weights)}, expected "
                f"{len(counts)}, one weight per class: correct the list or use 'balanced'"
            )
        return counts.new_tensor(weights).float()

    def class_values(self, class_counts: Tensor) -> Tensor | None:
        """Return the class weights."""
        return self.weights(class_counts)

    def canonical(self, *, level: bool = False) -> Loss:
        """Return the loss without class weights that are all 1."""
        computed = not isinstance(self.class_weights, list)
        if (level and computed) or self.class_weights == EffectiveNumber(effective_number=0):
            return self.model_copy(update={"class_weights": None})
        return self


@register_loss
class CrossEntropy(WeightedLoss):
    """Cross-entropy with optional class weights and label smoothing.

    The mean is weighted by class; label smoothing follows Szegedy et al. 2016, section 7.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Smoothing; 0 is off.")

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean, weighted by class."""
        return functional.cross_entropy(
            logits, target, weight=class_values, label_smoothing=self.label_smoothing
        )

    def reduction_weight(self, target: Tensor, class_values: Tensor | None) -> Tensor:
        """Return the sum of the weights; with soft targets torch divides by the batch size."""
        if class_values is None or target.dim() == 2:
            return super().reduction_weight(target, class_values)
        return class_values[target].sum()


@register_loss
class LogitAdjustment(Loss):
    """Cross-entropy on z + tau·log(prior) (Menon et al. 2021, equation 10)."""

    name: Literal["logit_adjustment"]
    tau: float = Field(
        1.0, ge=0, description="Strength of the adjustment; 0 is plain cross-entropy."
    )

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return self.tau > 0

    def canonical(self, *, level: bool = False) -> Loss:
        """Return cross-entropy if the shift is the same for all classes."""
        return CrossEntropy() if level or self.tau == 0 else self

    def class_values(self, class_counts: Tensor) -> Tensor:
        """Return what is added to the logits."""
        prior = class_counts.double() / class_counts.sum()
        return (self.tau * prior.log()).float()

    def shift(self, class_values: Tensor | None) -> Tensor | None:
        """Return tau·log(prior)."""
        return class_values

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean over the batch."""
        return functional.cross_entropy(logits + class_values, target)


@register_loss
class BalancedSoftmax(Loss):
    """Cross-entropy on z + log(n) (Ren et al. 2020, equation 4).

    Equal to logit adjustment with tau 1: log n = log prior + log N, and the constant cancels.
    """

    name: Literal["balanced_softmax"]

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return True

    def canonical(self, *, level: bool = False) -> Loss:
        """Return logit adjustment, up to a constant that cancels."""
        return self._adjustment.canonical(level=level)

    def class_values(self, class_counts: Tensor) -> Tensor:
        """Return what is added to the logits."""
        return self._adjustment.class_values(class_counts)

    def shift(self, class_values: Tensor | None) -> Tensor | None:
        """Return log(prior)."""
        return class_values

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean over the batch."""
        return self._adjustment.mean(functional, logits, target, class_values)

    @property
    def _adjustment(self) -> LogitAdjustment:
        return LogitAdjustment(name="logit_adjustment", tau=1.0)


@register_loss
class Focal(WeightedLoss):
    """Focal loss −w·(1−p)^gamma·log(p) (Lin et al. 2017, equation 5); mean weighted by class."""

    name: Literal["focal"]
    gamma: float = Field(2.0, ge=0, description="Focus on hard samples; 0 is plain cross-entropy.")

    def canonical(self, *, level: bool = False) -> Loss:
        """Return cross-entropy if gamma is 0."""
        if self.gamma == 0:
            return CrossEntropy(class_weights=self.class_weights).canonical(level=level)
        return super().canonical(level=level)

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean, weighted by class and by soft targets."""
        log_p = functional.log_softmax(logits, dim=1)
        if target.dim() == 1:
            target = functional.one_hot(target, logits.shape[1]).to(log_p.dtype)
        if class_values is not None:
            target = target * class_values
        # log p is 0 at p = 1, where the power's gradient would be 0·∞ for gamma < 1
        focus = (-log_p.expm1()).clamp_min(TINY) ** self.gamma
        return -(target * focus * log_p).sum() / target.sum()

    def reduction_weight(self, target: Tensor, class_values: Tensor | None) -> Tensor:
        """Return the sum of the weights and soft targets."""
        if target.dim() == 2:
            return (target if class_values is None else target * class_values).sum()
        if class_values is None:
            return super().reduction_weight(target, class_values)
        return class_values[target].sum()


@register_loss
class Ldam(WeightedLoss):
    """Cross-entropy on z with the margin m taken off the true class (Cao et al. 2019, equation 13).

    m is in proportion to n^(−1/4). The authors' code has cosine logits times a scale s and margins
    of s·0.5 at most; `max_margin` is in the unit of the logits.
    """

    name: Literal["ldam"]
    max_margin: float = Field(
        0.5,
        ge=0,
        description="Margin of the rarest class, in the unit of the logits: 15 for a cosine "
        "classifier with scale 30.",
    )

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return self.max_margin > 0 or super().rebalances

    @property
    def corrects_prior(self) -> bool:
        """Whether it has class weights; a margin alone leaves the prior as it is."""
        return super().rebalances

    def canonical(self, *, level: bool = False) -> Loss:
        """Return cross-entropy if there is no margin."""
        if self.max_margin == 0:
            return CrossEntropy(class_weights=self.class_weights).canonical(level=level)
        return super().canonical(level=level)

    def class_values(self, class_counts: Tensor) -> Tensor:
        """Return the margins and the class weights, [2, C]."""
        counts = class_counts.double()
        values = counts.new_ones(2, len(counts)).float()
        values[0] = self.max_margin * (counts.min() / counts) ** 0.25
        if self.class_weights is not None:
            values[1] = self.weights(class_counts)
        return values

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean, weighted by class and by soft targets."""
        assert class_values is not None  # from the method `class_values`
        margins, weights = class_values
        if target.dim() == 1:
            true_class = functional.one_hot(target, logits.shape[1])
            return functional.cross_entropy(logits - true_class * margins, target, weight=weights)
        # Each class as the true one, by the log-sum-exp of the logits of all others.
        largest = functional.one_hot(logits.argmax(1), logits.shape[1]).bool()
        log_p = functional.log_softmax(logits, dim=1).masked_fill(largest, -math.inf)
        others = logits.logsumexp(1, keepdim=True) + (-log_p.exp()).log1p()
        others = others.where(~largest, logits.masked_fill(largest, -math.inf).logsumexp(1, True))
        losses = functional.softplus(others - logits + margins)
        return (target * weights * losses).sum() / (target * weights).sum()

    def reduction_weight(self, target: Tensor, class_values: Tensor | None) -> Tensor:
        """Return the sum of the weights and soft targets."""
        assert class_values is not None  # from the method `class_values`
        weights = class_values[1]
        return (target * weights).sum() if target.dim() == 2 else weights[target].sum()


@register_loss
class LabelAwareSmoothing(Loss):
    """Cross-entropy with labels that are smoother in larger classes (Zhong et al. 2021, MiSLAS).

    The true class has 1 − e and each other class e / (C − 1) (section 3.2). e goes from `tail` in
    the smallest class to `head` in the largest one, by the function `shape` of the size.
    """

    name: Literal["label_aware_smoothing"]
    head: float = Field(0.4, ge=0, lt=1, description="Smoothing of the largest class.")
    tail: float = Field(0.1, ge=0, lt=1, description="Smoothing of the smallest class.")
    shape: Literal["concave", "linear", "convex"] = Field(
        "concave", description="How the smoothing grows with the size of a class."
    )

    def canonical(self, *, level: bool = False) -> Loss:
        """Return cross-entropy if nothing is smoothed."""
        return CrossEntropy() if self.head == self.tail == 0 else self

    def class_values(self, class_counts: Tensor) -> Tensor:
        """Return the smoothing of each class; equally large classes are all the largest."""
        counts = class_counts.double()
        span = counts.max() - counts.min()
        size = (counts - counts.min()) / span if span else counts.new_ones(len(counts))
        if self.shape == "concave":
            size = (size * math.pi / 2).sin()
        elif self.shape == "convex":
            size = 1 + (size * math.pi / 2 + 1.5 * math.pi).sin()
        return (self.tail + (self.head - self.tail) * size).float()

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean over the batch."""
        assert class_values is not None  # from the method `class_values`
        log_p = functional.log_softmax(logits, dim=1)
        classes = logits.shape[1]
        if target.dim() == 1:
            target = functional.one_hot(target, classes).to(log_p.dtype)
        other = class_values / (classes - 1)
        smoothed = target * (1 - class_values - other) + (target * other).sum(1, keepdim=True)
        return -(smoothed * log_p).sum() / len(logits)
