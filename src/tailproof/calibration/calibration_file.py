"""calibration.json: the temperatures of an expert."""

from typing import Annotated, Any

from pydantic import Field

from tailproof.config.base import Strict
from tailproof.config.json_file import JsonFile

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a fitted temperature."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RankFit(Strict):
    """The fit of one rank. Predictions need its temperature alone.

    Attributes:
        temperature: what the logits are divided by.
        before, after: the scores on calib without and with the temperature.
    """

    temperature: Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
    samples: int | None = None
    classes_present: int | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    warnings: list[str] | None = None


class CalibrationFile(RankFit, JsonFile):
    """The content of calibration.json; the fit is that of the target.

    Attributes:
        weights_sha256: SHA-256 of the weights whose logits were fitted.
        other_ranks: the fit of each other rank.
    """

    weighting: str | None = None
    weights_sha256: Sha256
    other_ranks: dict[str, RankFit]

    def temperatures(self, target: str) -> dict[str, float]:
        """Return the temperature of each rank, the target's first.

        Args:
            target: the rank whose temperature is not in `other_ranks`.
        """
        others = {rank: fit.temperature for rank, fit in self.other_ranks.items()}
        return {target: self.temperature} | others
