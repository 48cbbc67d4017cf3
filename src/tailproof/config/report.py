"""Configuration of the stage report."""

from pydantic import Field

from tailproof.config.base import Strict
from tailproof.config.evaluation import WORST_ERRORS


class Report(Strict):
    """How the page looks."""

    worst_errors: int = Field(
        24, ge=0, le=WORST_ERRORS, description="Confident mistakes shown as pictures."
    )
