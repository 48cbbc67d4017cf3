"""Temperature scaling: one number an expert, fitted on the split calib alone."""

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export

__all__ = ["calibrate", "export"]
