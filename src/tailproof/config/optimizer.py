"""Configuration of the optimizer, and of the schedule of its learning rate."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tailproof.config.base import Count, OneOf, Positive, Strict


class Optimizer(Strict):
    """Any optimizer of timm.optim; `sgd` is SGD with Nesterov momentum."""

    name: str = Field("sgd", description="Optimizer name as in timm.optim.list_optimizers().")
    learning_rate: Positive = Field(0.1, description="Peak learning rate of the schedule.")
    weight_decay: float = Field(
        5e-4, ge=0, description="Weight decay; not applied to normalization layers and biases."
    )
    momentum: float = Field(0.9, ge=0, lt=1)
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Factor on the learning rate from each layer to the one before it, so that the "
        "first layers change least. Default: one rate for all.",
    )
    head_learning_rate_factor: Positive = Field(
        1.0, description="Factor on the learning rate of the head."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of the optimizer, e.g. {eps: 1e-6}."
    )


class Warmup(OneOf):
    """Linear warm-up from zero; set exactly one of `epochs` and `steps`."""

    epochs: Positive | None = Field(None, description="Length in epochs; may be a fraction.")
    steps: Count | None = Field(None, description="Length in optimizer updates.")


class Constant(Strict):
    """Constant learning rate."""

    name: Literal["constant"]
    warmup: Warmup | None = None


class Multistep(Strict):
    """Multiplies the learning rate by `gamma` after each milestone."""

    name: Literal["multistep"]
    milestones: list[Count] = Field(description="Epochs after which the learning rate changes.")
    gamma: Positive = Field(0.1, description="Factor on the learning rate at each milestone.")
    warmup: Warmup | None = None


class Cosine(Strict):
    """Half-cosine decay of the learning rate down to `min_lr` at the end of training."""

    name: Literal["cosine"] = "cosine"
    min_lr: float = Field(0.0, ge=0, description="Final learning rate.")
    warmup: Warmup | None = None


class Plateau(Strict):
    """Multiplies the learning rate by `factor` when the monitor stops improving."""

    name: Literal["plateau"]
    factor: Positive = Field(0.1, description="Factor on the learning rate at each plateau.")
    patience: Count = Field(
        10,
        description="Validations without an improvement of the monitor before the rate is lowered.",
    )
    warmup: Warmup | None = None


Schedule = Annotated[Constant | Multistep | Cosine | Plateau, Field(discriminator="name")]
