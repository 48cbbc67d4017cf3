"""Configuration of the stage guarantee."""

from typing import Annotated

from pydantic import Field, field_validator

from tailproof.config.base import Strict

Share = Annotated[float, Field(gt=0, lt=1)]


class Guarantees(Strict):
    """What is promised of answers, fitted on the split tune and measured on dev and test."""

    coverages: list[Share] = Field(
        [0.9, 0.95],
        min_length=1,
        description="How often a prediction set should hold the true class.",
    )
    risks: list[Share] = Field(
        [0.01, 0.02, 0.05, 0.1],
        min_length=1,
        description="Largest shares of wrong answers to promise.",
    )
    precisions: list[Share] = Field(
        [0.8, 0.9, 0.95, 0.99],
        min_length=1,
        description="Smallest shares of right answers to promise at every rank of the roll-up.",
    )
    false_alarms: list[Share] = Field(
        [0.05],
        min_length=1,
        description="Largest shares of known images that are called unknown; with data.unknown.",
    )
    confidence: Share = Field(
        0.9,
        description="Probability, over draws of the split tune, that a promised risk, precision "
        "or share of false alarms is kept.",
    )

    @field_validator("coverages", "risks", "precisions", "false_alarms")
    @classmethod
    def _differ(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            repeated = next(level for level in levels if levels.count(level) > 1)
            raise ValueError(f"{repeated:g} is listed twice: remove one")
        return levels
