"""The sections model and tune of a recipe: a network, its weights, and which are trained."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tailproof.config.base import Count, Strict
from tailproof.config.weights import HUB
from tailproof.digests import digest_of


class Model(Strict):
    """Any model of timm's registry, to which Tailproof adds `cifar_resnet32` and others."""

    name: str = Field("cifar_resnet32", description="Model name as in timm.list_models().")
    weights: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Weights to start from: hub (those that timm publishes for the model), or the "
        "path of a checkpoint, of a folder of timm or of an expert. Default: random weights.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the model, e.g. {classifier: cosine} or {drop_path_rate: 0.1}.",
    )

    @property
    def weights_key(self) -> str | None:
        """The name of the weights' file in the folder `weights`; None for random weights.

        For weights of the hub it is the model's name, so that it can be fetched by name.
        """
        if self.weights in (None, HUB):
            return self.name if self.weights else None
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(self.weights).stem)
        return f"{self.name}--{stem}--{digest_of([self.name, self.weights])[:8]}"


class Tune(Strict):
    """Trains a few weights: adapters in the frozen parts of a pretrained network, and the head.

    Frozen are the stages of `freeze`, by default all but the head.
    """

    adapter: Literal["lora", "adaptformer", "bitfit", "ssf", "norm"] | None = Field(
        None,
        description="lora: low-rank changes of dense layers. norm: weights and biases of norms. "
        "Only for transformers: adaptformer (a bottleneck next to each perceptron), "
        "bitfit (all biases), ssf (scale and shift of each layer). Default: no "
        "adapter, so that only the head is trained.",
    )
    blocks: Literal["all"] | Count = Field(
        "all", description="Adapt all blocks, or only this many of the last ones."
    )
    dim: Literal["auto"] | Count = Field(
        "auto",
        description="Rank of lora or channels of adaptformer; auto: it grows with the number of "
        "classes per adapted block.",
    )
    head: Literal["linear", "cosine"] = Field(
        "linear",
        description="cosine: logits are scaled cosines, and each class starts at the mean of its "
        "training features.",
    )

    @model_validator(mode="after")
    def _fits_the_adapter(self) -> "Tune":
        if self.dim != "auto" and self.adapter not in ("lora", "adaptformer"):
            raise ValueError(
                f"dim is the size of lora and adaptformer, but adapter is {self.adapter or 'unset'}"
                ": remove dim or choose one of them"
            )
        if self.blocks != "all" and self.adapter is None:
            raise ValueError(
                "blocks says which blocks have adapters, but adapter is not set: set adapter, or "
                "remove blocks and name the frozen stages in recipe.freeze"
            )
        return self
