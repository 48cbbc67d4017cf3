"""Configuration of the stage evaluate."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from tailproof.config.base import Strict

Ensemble = Literal["mean_logits", "mean_probabilities", "stacked"]

ENSEMBLES: tuple[str, ...] = get_args(Ensemble)

STACKED: Ensemble = "stacked"

WORST_ERRORS = 48
"""Number of confident mistakes per method and seed in errors.csv."""


class Evaluation(Strict):
    """What is measured on the splits dev and test."""

    many_shot: int = Field(100, ge=1, description="Classes with more training samples are 'many'.")
    few_shot: int = Field(20, ge=1, description="Classes with fewer training samples are 'few'.")
    bootstrap: int = Field(1000, ge=100, description="Bootstrap resamples per 95 % interval.")
    coverages: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.5, 0.8, 0.9, 1.0],
        description="Coverages (accepted fractions) at which to report selective risk.",
    )
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        if self.few_shot > self.many_shot:
            raise ValueError(
                f"few_shot is {self.few_shot}, expected at most many_shot ({self.many_shot}): "
                "lower few_shot or raise many_shot"
            )
        return self
