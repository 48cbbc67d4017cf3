"""What was estimated of a run against what came, of the runs that are finished."""

from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tailproof.config.recipe import KEPT_STATES
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record, read_record

Pair = tuple[float, float]


class EstimateCheck(NamedTuple):
    """One finished run.

    Attributes:
        expert: its expert.
        seed: as the name of its folder has it.
        epochs: that were trained.
        planned: epochs of its recipe, which the estimate of the whole run is for.
        resumed: first epochs of its attempts after the first.
        afterwards: whether the estimate was made when the run was over already.
        seconds: (estimated, came) by ``epoch``, a median one, and ``run``, all attempts together.
        megabytes: (estimated, came) by ``memory``, ``weights``, ``checkpoints``, ``logits``.
    """

    expert: str
    seed: str
    epochs: int
    planned: int
    resumed: tuple[int, ...]
    afterwards: bool
    seconds: dict[str, Pair]
    megabytes: dict[str, Pair]


def check_estimates(
    folder: Path, found: dict[str, Any], probe: dict[str, Any]
) -> list[EstimateCheck]:
    """Return what was estimated and what came of each finished run; what is unknown is left out.

    Runs that failed in the preflight are left out: nothing was estimated of them. Epochs of runs
    by phases differ, and are not compared. Memory is that of the processor's process, and known
    where training and preflight ran on one processor. Checkpoints are as large as the last one,
    whose size is on record.

    Args:
        folder: the experiment's results.
        found: preflight.json.
        probe: preflight_timing.json.
    """
    foretold = _record(folder / "provenance" / "preflight" / "preflight.json")
    runs = []
    for path in sorted(folder.glob("experts/*/seed-*/training.json")):
        expert, seed = path.parts[-3], path.parts[-2].removeprefix("seed-")
        timed = probe["experts"].get(expert, {})
        if expert not in found["experts"] or "run" not in timed:
            continue
        sizes, training = found["experts"][expert], read_json(path)
        records = {
            rule: _record(folder / "provenance" / rule / f"{expert}-{seed}.json")
            for rule in ("train", "infer", "export")
        }
        came = {
            "memory": _memory(training, records["train"], probe["device"]),
            "weights": _bytes(records["train"], "model.safetensors"),
            "checkpoints": _checkpoints(records["train"]),
            "logits": _bytes(records["infer"], ".parquet") + _bytes(records["export"], ".parquet"),
        }
        estimated = {"memory": timed["peak_memory_mb"]}
        estimated |= {name: sizes.get(f"{name}_mb", 0) for name in came if name != "memory"}
        runs.append(
            EstimateCheck(
                expert,
                seed,
                training["epochs"],
                sizes["epochs"],
                tuple(attempt["first_epoch"] for attempt in training["attempts"][1:]),
                bool(foretold and records["train"] and foretold.started > records["train"].ended),
                _seconds(timed, training),
                {
                    name: (estimated[name], size / 2**20)
                    for name, size in came.items()
                    if size and estimated[name]
                },
            )
        )
    return runs


def _seconds(timed: dict[str, Any], training: dict[str, Any]) -> dict[str, Pair]:
    spans = [
        datetime.fromisoformat(each["end"]) - datetime.fromisoformat(each["start"])
        for each in training["attempts"]
    ]
    whole = sum(span.total_seconds() for span in spans)
    found = {"run": (timed["run"], whole)} if whole else {}
    if len(timed["epoch"]) == 1 and training["seconds_an_epoch"]:
        found = {"epoch": (timed["epoch"][0], median(training["seconds_an_epoch"]))} | found
    return found


def _memory(training: dict[str, Any], record: Record | None, device: str) -> int:
    """Return the bytes of the largest process; 0 where the preflight measured another memory."""
    on_processor = all(each["device"] == "cpu" for each in training["attempts"])
    if record is None or not on_processor or record.machine.device != device:
        return 0
    return record.machine.peak_memory_bytes


def _bytes(record: Record | None, ending: str) -> int:
    files = record.outputs if record else []
    return sum(file.bytes for file in files if file.path.endswith(ending))


def _checkpoints(record: Record | None) -> int:
    """Return the bytes of as many states as a run keeps; once it is done it keeps but the last."""
    return KEPT_STATES * record.results.get("checkpoint_bytes", 0) if record else 0


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except TailproofError:
        return None
