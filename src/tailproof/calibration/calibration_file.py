"""The temperatures in calibration.json."""

from typing import Any


def temperatures(calibration: dict[str, Any], target: str) -> dict[str, float]:
    """Return the temperature of each rank, the target's first.

    Args:
        calibration: calibration.json.
        target: the rank whose temperature is not in ``other_ranks``.
    """
    others = {rank: fit["temperature"] for rank, fit in calibration["other_ranks"].items()}
    return {target: calibration["temperature"]} | others
