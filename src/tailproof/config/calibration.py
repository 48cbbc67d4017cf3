"""Configuration of the stage calibrate."""

from typing import Literal

from pydantic import Field, field_validator

from tailproof.config.base import Strict
from tailproof.config.calibrators import CalibratorKind

FIT_ON = {"calib": ("calib",), "val_and_calib": ("val", "calib")}
CHOSEN_ON = "tune"
Weighting = Literal["like_tune", "plain", "class_balanced"]


class Calibration(Strict):
    """How the calibrators of each expert are fitted, and which one is chosen."""

    calibrators: list[CalibratorKind] = Field(
        ["temperature"],
        min_length=1,
        description="temperature: one number divides all logits. vector: each class also has a "
        "factor and a bias. matrix: each class also has a factor for every other "
        "class (Dirichlet calibration). All stay close to 'no change' as long as "
        "samples are few. If several are listed, the first is used unless another "
        "has a significantly lower NLL on tune and no significantly lower balanced "
        "accuracy, by the 95 % interval of the difference.",
    )
    fit_on: Literal["calib", "val_and_calib"] = Field(
        "calib",
        description="Splits to fit on. val_and_calib has more samples; but val chose the exported "
        "epoch where recipe.export is 'best', so the network is a little better on it than on new "
        "images.",
    )
    weighting: Weighting = Field(
        "like_tune",
        description="Weight of each sample in the fit. like_tune: if class frequencies differ "
        "from those on tune, for instance because data.long_tail thins out only the "
        "training pool, each class counts as often as on tune; otherwise all samples "
        "count equally. plain: all samples count equally. class_balanced: all "
        "classes count equally, in the choice between calibrators too.",
    )

    @field_validator("calibrators")
    @classmethod
    def _no_kind_twice(cls, kinds: list[CalibratorKind]) -> list[CalibratorKind]:
        twice = [kind for kind in kinds if kinds.count(kind) > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' is listed twice: name each calibrator once")
        return kinds

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose raw logits are read."""
        return (*FIT_ON[self.fit_on], CHOSEN_ON)
