"""Configuration of the stage report."""

from pydantic import Field

from tailproof.config.base import Strict


class Report(Strict):
    """How the page looks."""

    worst_errors: int = Field(24, ge=0, description="Confident mistakes shown as pictures.")
