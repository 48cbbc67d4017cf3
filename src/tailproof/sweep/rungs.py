"""Looks up which sweep point was promoted to a place of a rung."""

from pathlib import Path
from typing import Any

from tailproof.files import read_json


def recipe_for_slot(standing: str | Path, expert: str) -> dict[str, Any]:
    """Return the recipe of the point in a place, as plain values.

    Args:
        standing: the file of the previous rung, with the recipe of each place.
        expert: the name of the place, ``rung-R-place-P`` with P from 1.
    """
    place = int(expert.rsplit("-", 1)[1])
    return read_json(standing)["places"][place - 1]["recipe"]
