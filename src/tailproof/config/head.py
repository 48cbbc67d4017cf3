"""Configuration of a head: what maps the features of a frozen backbone to logits."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tailproof.config.base import Count, Positive, Strict


class Linear(Strict):
    """A linear layer, trained by the loss."""

    kind: Literal["linear"] = "linear"


class CosineSimilarity(Strict):
    """The cosine between features and one direction per class, times a scale; trained by the loss.

    All classes have weights of the same length, so that none is preferred for its size.
    """

    kind: Literal["cosine"]
    scale: Positive = Field(20.0, description="Factor on the cosine: the largest logit.")


class Mlp(Strict):
    """Two linear layers with a GELU between them, trained by the loss."""

    kind: Literal["mlp"]
    hidden: Count = Field(512, description="Width of the hidden layer.")


class Prototype(Strict):
    """The nearest class mean. Not trained by the loss; every class counts the same."""

    kind: Literal["prototype"]


class Knn(Strict):
    """The classes of the most similar training images. Not trained by the loss.

    The network keeps the features of all training images.
    """

    kind: Literal["knn"]
    neighbors: Count = Field(20, description="Number of training images that vote.")
    temperature: Positive = Field(
        0.07, description="A vote has the weight exp(cosine similarity / temperature)."
    )
    balanced: bool = Field(
        True, description="Divide the votes for a class by its share of the training images."
    )


class Ridge(Strict):
    """Least squares on the classes as 0 and 1, with a penalty. Not trained by the loss."""

    kind: Literal["ridge"]
    penalty: Positive = Field(
        1.0,
        description="Penalty on the squared weights, per training image, of standardized features.",
    )
    balanced: bool = Field(
        True, description="Give every class the same weight, however many images it has."
    )


class TauNorm(Strict):
    """The classifier of an expert, its weights divided by their lengths to the power tau.

    Kang et al. 2020, section 4. Not trained by the loss.
    """

    kind: Literal["tau_norm"]
    tau: float = Field(
        0.7,
        ge=0,
        le=1,
        description="0 leaves the weight vectors unchanged, 1 makes all of them equally long.",
    )


class Lws(Strict):
    """The classifier of an expert with one learnable factor per class, trained by the loss.

    Learnable weight scaling, Kang et al. 2020, section 4. Use it with `sampler: class_aware`.
    """

    kind: Literal["lws"]


Head = Annotated[
    Linear | CosineSimilarity | Mlp | Prototype | Knn | Ridge | TauNorm | Lws,
    Field(discriminator="kind"),
]

FITTED = (Prototype, Knn, Ridge, TauNorm)
"""Heads that are computed in one pass, without a loss or epochs."""

RESCALED = (TauNorm, Lws)
"""Heads that start from the classifier of an expert."""

HEAD_DEFAULTS: dict[str, Any] = {
    "head": {"kind": "linear"},
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 5e-4},
    "epochs": 20,
}
"""Defaults of a recipe with features, where they differ from those of a network."""
