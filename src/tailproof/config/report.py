"""Configuration of the stage report."""

from pydantic import Field

from tailproof.config.base import Strict
from tailproof.config.evaluation import WORST_ERRORS


class Report(Strict):
    """Content of the report."""

    worst_errors: int = Field(
        24,
        ge=0,
        le=WORST_ERRORS,
        description="Number of the most confident mistakes to show as images.",
    )
