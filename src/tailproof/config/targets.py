"""Configuration of what is expected of a run."""

from pydantic import Field, model_validator

from tailproof.config.base import Count, Fraction, Name, Strict


class Target(Strict):
    """A value that a metric of history.csv should reach, at an epoch or at the end."""

    at_least: float | None = None
    at_most: float | None = None
    gap_at_most: Fraction | None = Field(
        None, description="Of the metric on train less that on val, for val metrics."
    )
    at_epoch: Count | None = Field(None, description="Counted from 1; by default at the end.")

    @model_validator(mode="after")
    def _says_something(self) -> "Target":
        if self.at_least is None and self.at_most is None and self.gap_at_most is None:
            raise ValueError("give 'at_least', 'at_most' or 'gap_at_most'")
        return self


Targets = dict[Name, list[Target]]
