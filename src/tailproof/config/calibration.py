"""Configuration of the stage calibrate."""

from typing import Literal

from tailproof.config.base import Strict


class Calibration(Strict):
    """How each expert's temperature is fitted on the split calib."""

    weighting: Literal["plain", "class_balanced"] = "plain"
