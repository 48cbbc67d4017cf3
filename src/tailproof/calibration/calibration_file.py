"""What a calibration.json holds."""

from typing import Any


def temperatures(calibration: dict[str, Any], target: str) -> dict[str, float]:
    """Return what the logits of each rank are divided by, the target's first.

    Args:
        calibration: calibration.json.
        target: the rank whose temperature it holds outside of ``other_ranks``.
    """
    others = calibration["other_ranks"].items()
    own = {target: calibration["temperature"]}
    return own | {rank: each["temperature"] for rank, each in others}
