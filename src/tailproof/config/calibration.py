"""Configuration of the stage calibrate."""

from typing import Literal

from pydantic import Field

from tailproof.config.base import Count, Strict


class Calibration(Strict):
    """How each expert's temperature is fitted on the split calib."""

    weighting: Literal["plain", "class_balanced"] = "plain"
    bins: Count = Field(15, description="Bins of the calibration errors.")
