"""Compares preflight estimates with what finished runs actually took."""

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tailproof.config.recipe import KEPT_STATES
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record, read_record
from tailproof.training.run_summary import attempt_seconds

Pair = tuple[float, float]


class EstimateCheck(NamedTuple):
    """The estimates for one finished run.

    Attributes:
        expert: the expert.
        seed: the seed, as in the name of its folder.
        epochs: number of trained epochs.
        planned: number of epochs in the recipe, which the estimate of the whole run is for.
        resumed: the first epochs of later attempts.
        afterwards: whether the estimate was made after the run.
        seconds: (estimated, actual) for ``epoch``, the median one, and ``run``, all attempts.
        megabytes: (estimated, actual) for ``memory``, ``weights``, ``checkpoints``, ``logits``.
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
    folder: Path, summary: dict[str, Any], timing: dict[str, Any]
) -> list[EstimateCheck]:
    """Return estimates and actual values of each finished run; unknown values are left out.

    Runs that failed in the preflight have no estimate and are left out. Epochs of runs with phases
    differ and are not compared. Memory is that of the CPU process; it is compared where training
    and preflight ran on the same CPU. All checkpoints count as large as the last
    one, whose size is on record.

    Args:
        folder: the results of the experiment.
        summary: preflight.json.
        timing: preflight_timing.json.
    """
    estimate = _record(folder / "provenance" / "preflight" / "preflight.json")
    runs = []
    for path in sorted(folder.glob("experts/*/seed-*/training.json")):
        expert, seed = path.parts[-3], path.parts[-2].removeprefix("seed-")
        timed = timing["experts"].get(expert, {})
        if expert not in summary["experts"] or "run" not in timed:
            continue
        sizes, training = summary["experts"][expert], read_json(path)
        records = {
            rule: _record(folder / "provenance" / rule / f"{expert}-{seed}.json")
            for rule in ("train", "infer", "export")
        }
        actual = {
            "memory": _memory(training, records["train"], timing["device"]),
            "weights": _bytes(records["train"], "model.safetensors"),
            "checkpoints": _checkpoints(records["train"]),
            "logits": _bytes(records["infer"], ".parquet") + _bytes(records["export"], ".parquet"),
        }
        estimated = {"memory": timed["peak_memory_mb"]}
        estimated |= {name: sizes.get(f"{name}_mb", 0) for name in actual if name != "memory"}
        runs.append(
            EstimateCheck(
                expert,
                seed,
                training["epochs"],
                sizes["epochs"],
                tuple(attempt["first_epoch"] for attempt in training["attempts"][1:]),
                bool(estimate and records["train"] and estimate.started > records["train"].ended),
                _seconds(timed, training),
                {
                    name: (estimated[name], size / 2**20)
                    for name, size in actual.items()
                    if size and estimated[name]
                },
            )
        )
    return runs


def _seconds(timed: dict[str, Any], training: dict[str, Any]) -> dict[str, Pair]:
    whole = attempt_seconds(training)
    seconds = {"run": (timed["run"], whole)} if whole else {}
    if len(timed["epoch"]) == 1 and training["seconds_an_epoch"]:
        seconds = {"epoch": (timed["epoch"][0], median(training["seconds_an_epoch"]))} | seconds
    return seconds


def _memory(training: dict[str, Any], record: Record | None, device: str) -> int:
    """Return the bytes of the largest process; 0 if the preflight measured other memory."""
    on_cpu = all(attempt["device"] == "cpu" for attempt in training["attempts"])
    if record is None or not on_cpu or record.machine.device != device:
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
