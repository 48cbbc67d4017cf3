"""The section distill of a recipe: a student of an ensemble."""

from typing import Literal

from pydantic import ConfigDict, Field

from tailproof.config.base import Positive, Strict


class Distill(Strict):
    """Train a student: it also learns the answers of an ensemble of the other experts.

    The loss is (1 − weight) · loss of the labels + weight · T² · KL(teacher ‖ student), with both
    softmaxes at temperature T (Hinton, Vinyals & Dean 2015, sections 2 and 3).
    """

    model_config = ConfigDict(serialize_by_alias=True)

    teacher: Literal["stacked"] = Field(
        "stacked",
        alias="from",
        description="Ensemble that teaches. stacked: all evaluated experts that are not "
        "students, with weights fitted on tune.",
    )
    temperature: Positive = Field(
        2.0, description="T: how much the teacher's answers are softened; 1 leaves them unchanged."
    )
    weight: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the teacher's answers in the loss; the labels have the rest.",
    )
