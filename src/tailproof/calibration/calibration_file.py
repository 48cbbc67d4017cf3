"""calibration.json: the calibrators of an expert."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tailproof.calibration.calibrator import Calibrator
from tailproof.config.base import Strict
from tailproof.config.calibrators import CalibratorKind
from tailproof.config.json_file import JsonFile

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a fitted temperature."""

FACTOR_LIMITS = (0.05, 20.0)
"""Bounds of the factors of vector scaling, so that the order of a class's values stays."""

LARGEST = 1e6
"""Largest absolute value of a bias, or of a number of a matrix."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Factor = Annotated[float, Field(ge=FACTOR_LIMITS[0], le=FACTOR_LIMITS[1])]


class RankFit(Strict):
    """The fit of one rank. Predictions need its calibrator alone.

    Attributes:
        calibrator: its kind.
        temperature: what the logits are divided by.
        factors: of a vector, one number per class; of a matrix, a row per class.
        bias: of a vector or a matrix, one number per class.
        before, after: the scores of the samples to fit on, without and with calibrators; each
            fifth of the samples is calibrated by a fit on the others.
        choice: {kind: what it reaches on tune}, if several were fitted.
        weighting: the weight of each sample in the fit; like_tune only if it made a difference.
        check: what calibration changes on tune; None without samples there.
    """

    calibrator: CalibratorKind = "temperature"
    temperature: Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
    factors: list[Factor] | list[list[Number]] | None = None
    bias: list[Number] | None = None
    samples: int | None = None
    classes_present: int | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    choice: dict[str, Any] | None = None
    weighting: str | None = None
    check: dict[str, Any] | None = None
    warnings: list[str] | None = None

    @model_validator(mode="after")
    def _numbers_fit_the_kind(self) -> Self:
        if self.calibrator == "temperature":
            if self.factors is not None or self.bias is not None:
                raise ValueError("the calibrator temperature must not have factors or bias")
            return self
        if not self.factors or not self.bias:
            raise ValueError(f"the calibrator {self.calibrator} needs factors and bias")
        classes = len(self.bias)
        rows = [row for row in self.factors if isinstance(row, list)]
        if len(self.factors) != classes or any(len(row) != classes for row in rows):
            raise ValueError(f"factors and bias are for different numbers of classes ({classes})")
        if len(rows) != (classes if self.calibrator == "matrix" else 0):
            raise ValueError(
                f"factors do not have the shape that the calibrator {self.calibrator} needs"
            )
        return self

    def to_calibrator(self) -> Calibrator:
        """Return the calibrator."""
        return Calibrator.from_jsonable(self.model_dump())


class CalibrationFile(RankFit, JsonFile):
    """The content of calibration.json; the fit is that of the target.

    Attributes:
        fit_on: the splits of the samples to fit on.
        weights_sha256: SHA-256 of the weights whose logits were fitted.
        other_ranks: the fit of each other rank.
    """

    fit_on: list[str] | None = None
    weights_sha256: Sha256
    other_ranks: dict[str, RankFit]

    def calibrators(self, target: str) -> dict[str, Calibrator]:
        """Return the calibrator of each rank, the target's first.

        Args:
            target: the rank whose calibrator is not in `other_ranks`.
        """
        others = {rank: fit.to_calibrator() for rank, fit in self.other_ranks.items()}
        return {target: self.to_calibrator()} | others
