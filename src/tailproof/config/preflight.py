"""Configuration of the stage preflight."""

from pydantic import Field

from tailproof.config.base import Strict


class Preflight(Strict):
    """Findings of the preflight that do not block training."""

    ignore: list[str] = Field(
        [],
        description="Kinds of findings that do not block training; docs/preflight.md lists them.",
    )
