"""Losses for long-tailed data: one class per loss, registered by `register_loss`.

This module does not import torch, because stages and environments without torch read the
configuration. Callers pass `torch.nn.functional` to a loss together with the tensors.
"""

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

    A target is int64 [N], or soft targets [N, C]. A loss may need one number per class, which
    `class_values` computes once and the other methods receive.
    """

    name: str

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return False

    def canonical(self, *, level: bool = False) -> "Loss":
        """Return the simplest loss that trains the same function.

        Args:
            level: whether all classes have the same number of samples.
        """
        return self

    def class_values(self, class_counts: Tensor) -> Tensor | None:
        """Return one number per class, float32 [C]; None if the loss needs none.

        Args:
            class_counts: number of training samples per class, int64 [C], all positive.

        Raises:
            TailproofError: the options do not fit the number of classes.
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


ClassWeights = Literal["balanced"] | list[Positive] | None


def _class_weights(weights: ClassWeights, class_counts: Tensor) -> Tensor | None:
    """Return weights [C]; ``balanced`` is N / (C·n), so the mean weight per sample is 1."""
    if weights is None:
        return None
    if weights == "balanced":
        return (class_counts.sum() / (len(class_counts) * class_counts.double())).float()
    if len(weights) != len(class_counts):
        raise TailproofError(
            f"recipe.loss.class_weights has {len(weights)} values, expected {len(class_counts)}, "
            "one per class: correct the list or use 'balanced'"
        )
    return class_counts.double().new_tensor(weights).float()


def _level_weights(weights: ClassWeights, level: bool) -> ClassWeights:
    """Return None for ``balanced`` weights of equally large classes, which are all 1."""
    return None if level and weights == "balanced" else weights


@register_loss
class CrossEntropy(Loss):
    """Cross-entropy with optional class weights and label smoothing.

    The mean is weighted by class; label smoothing follows Szegedy et al. 2016, section 7.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    class_weights: ClassWeights = Field(
        None, description="'balanced' (inverse class frequency) or one weight per class."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Smoothing; 0 is off.")

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return self.class_weights is not None

    def canonical(self, *, level: bool = False) -> Loss:
        """Return the loss without class weights that are all 1."""
        return self.model_copy(update={"class_weights": _level_weights(self.class_weights, level)})

    def class_values(self, class_counts: Tensor) -> Tensor | None:
        """Return the class weights."""
        return _class_weights(self.class_weights, class_counts)

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

    def mean(
        self, functional: Any, logits: Tensor, target: Tensor, class_values: Tensor | None
    ) -> Tensor:
        """Return the mean over the batch."""
        return self._adjustment.mean(functional, logits, target, class_values)

    @property
    def _adjustment(self) -> LogitAdjustment:
        return LogitAdjustment(name="logit_adjustment", tau=1.0)


@register_loss
class Focal(Loss):
    """Focal loss −w·(1−p)^gamma·log(p) (Lin et al. 2017, equation 5); mean weighted by class."""

    name: Literal["focal"]
    gamma: float = Field(2.0, ge=0, description="Focus on hard samples; 0 is plain cross-entropy.")
    class_weights: ClassWeights = Field(
        None, description="'balanced' (inverse class frequency) or one weight per class."
    )

    @property
    def rebalances(self) -> bool:
        """Whether rare classes count for more than their samples."""
        return self.class_weights is not None

    def canonical(self, *, level: bool = False) -> Loss:
        """Return cross-entropy if gamma is 0."""
        weights = _level_weights(self.class_weights, level)
        if self.gamma == 0:
            return CrossEntropy(class_weights=weights)
        return self.model_copy(update={"class_weights": weights})

    def class_values(self, class_counts: Tensor) -> Tensor | None:
        """Return the class weights."""
        return _class_weights(self.class_weights, class_counts)

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
