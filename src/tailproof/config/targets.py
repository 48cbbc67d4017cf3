"""Configuration of the targets that runs should reach."""

from pydantic import Field, model_validator

from tailproof.config.base import Count, Fraction, Name, Strict


class Target(Strict):
    """A value that a column of history.csv should reach, at a given epoch or at the end."""

    at_least: float | None = Field(None, description="Lower limit of the value.")
    at_most: float | None = Field(None, description="Upper limit of the value.")
    gap_at_most: Fraction | None = Field(
        None,
        description="Upper limit of the metric on train minus the metric on val; for val metrics.",
    )
    at_epoch: Count | None = Field(
        None, description="Epoch, from 1, at which to check. Default: the last."
    )

    @model_validator(mode="after")
    def _says_something(self) -> "Target":
        if self.at_least is None and self.at_most is None and self.gap_at_most is None:
            raise ValueError(
                "expected 'at_least', 'at_most' or 'gap_at_most', found none of them: add one"
            )
        return self


Targets = dict[Name, list[Target]]
