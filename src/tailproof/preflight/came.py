"""Seconds that were estimated against those that came, of the runs that are finished."""

from pathlib import Path
from statistics import median
from typing import Any

from tailproof.core.files import read_json


def came_true(folder: Path, probe: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the seconds of a median epoch, estimated and as they came, of each finished run.

    Runs by phases and runs that failed in the preflight are left out: their epochs differ, or
    nothing was estimated.

    Args:
        folder: the experiment's results.
        probe: preflight_probe.json.
    """
    found = []
    for path in sorted(folder.glob("experts/*/seed-*/training.json")):
        expert, seed = path.parts[-3], path.parts[-2].removeprefix("seed-")
        estimated = probe["experts"].get(expert, {}).get("epoch", [])
        seconds = read_json(path)["seconds_an_epoch"]
        if len(estimated) == 1 and seconds:
            each = {"expert": expert, "seed": seed, "estimated": estimated[0]}
            found.append({**each, "came": median(seconds)})
    return found
