"""The kinds of calibrators, by name."""

from typing import Literal

CalibratorKind = Literal["temperature", "vector", "matrix"]
