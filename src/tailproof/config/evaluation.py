"""Configuration of the stage evaluate."""

from typing import Annotated

from pydantic import Field, model_validator

from tailproof.config.base import Strict

ENSEMBLES = ("mean_logits", "mean_probabilities", "stacked")

WORST_ERRORS = 48
"""Confident mistakes of each method and seed in errors.csv."""


class Evaluation(Strict):
    """What is measured on dev and test."""

    many_shot: int = Field(100, ge=1, description="Classes with more training samples are 'many'.")
    few_shot: int = Field(20, ge=1, description="Classes with fewer training samples are 'few'.")
    bootstrap: int = Field(1000, ge=100, description="Resamples behind each 95 % interval.")
    coverages: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.5, 0.8, 0.9, 1.0], description="Coverages at which selective risk is listed."
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        if self.few_shot > self.many_shot:
            raise ValueError(
                f"few_shot ({self.few_shot}) is larger than many_shot ({self.many_shot})"
            )
        return self
