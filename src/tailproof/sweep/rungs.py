"""Who trains in a place of a sweep's rung: the point that came to it in the rung before."""

from pathlib import Path
from typing import Any

from tailproof.files import read_json


def recipe_for_slot(standing: str | Path, expert: str) -> dict[str, Any]:
    """Return the recipe that a place takes, as plain values.

    Args:
        standing: what was written after the rung before, with the recipe of each place.
        expert: the place's name, ``rung-R-place-P`` with P from 1.
    """
    place = int(expert.rsplit("-", 1)[1])
    return read_json(standing)["places"][place - 1]["recipe"]
