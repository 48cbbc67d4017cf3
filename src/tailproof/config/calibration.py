"""Configuration of the stage calibrate."""

from typing import Literal

from pydantic import Field

from tailproof.config.base import Strict


class Calibration(Strict):
    """How the temperatures of each expert are fitted on the split calib."""

    weighting: Literal["plain", "class_balanced"] = Field(
        "plain",
        description="Weight of each sample in the fit. plain: all samples count equally; "
        "class_balanced: all classes count equally.",
    )
