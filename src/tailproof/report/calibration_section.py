"""The section on calibration: which calibrator each expert has, why, and what it changed."""

from typing import Any

from tailproof.evaluation.registry import METRICS
from tailproof.report.keyed_number import KeyedNumber, calibration_effect, excludes_zero, keyed
from tailproof.report.metric_format import SPACE, kind
from tailproof.report.results import Results, Scores
from tailproof.report.tables import Cell, Row, Table
from tailproof.text import listed, quantity

NAMES = {"temperature": "a temperature", "vector": "vector scaling", "matrix": "matrix scaling"}
MOST_ROWS = 60


def calibrators(results: Results) -> list[str]:
    """Return sentences: what was fitted on which samples, and what was chosen."""
    config = results.experiment.calibration
    fits = _fits(results)
    samples = {fit["samples"] for _, _, fit in fits}
    count = quantity(max(samples), "sample")
    count = count if len(samples) == 1 else f"{min(samples):,} to {count}"
    used = listed([NAMES[name] for name in NAMES if name in {f["calibrator"] for _, _, f in fits}])
    place = " and ".join(fits[0][2]["fit_on"])
    sentences = [
        f"Calibrated with {used}, fitted on {place} ({count}). Few samples change little: the fit "
        "starts from 'no change'."
    ]
    if len(config.calibrators) > 1:
        first, *others = config.calibrators
        sentences.append(
            f"Of {listed([NAMES[name] for name in config.calibrators])}, {NAMES[first]} is used "
            f"unless {' or '.join(NAMES[name] for name in others)} has a significantly lower NLL "
            "on tune (by the 95 % interval of the difference) and no significantly lower "
            "balanced accuracy."
        )
    if config.fit_on == "val_and_calib":
        best = [name for name in results.calibrations if results.recipe(name).export == "best"]
        if best:
            sentences.append(
                f"val chose the epoch of {listed(best)}, so confidence on new images can be a "
                "little too high."
            )
    return sentences


def choices(results: Results) -> Table | None:
    """Return what each candidate reached on tune; None if there was no choice."""
    rows = [
        _choice(f"{expert}, seed {seed}: {name}", fit, name)
        for expert, seed, fit in _fits(results)
        for name in fit.get("choice") or ()
    ]
    if not rows:
        return None
    heads = [
        "NLL",
        "NLL, difference",
        f"balanced accuracy, difference,{SPACE}points",
    ]
    title = "Calibrators on tune: differences from the first; the chosen one is marked 'used'"
    if len(rows) > MOST_ROWS:
        title += (
            f" (the first {MOST_ROWS} of {len(rows):,} rows; each expert's calibration.json has "
            "its own)"
        )
    return Table(title, "calibrator", heads, rows[:MOST_ROWS])


def _choice(label: str, fit: dict[str, Any], name: str) -> Row:
    reached = fit["choice"][name]
    cells = [Cell(keyed("nll", {"mean": reached["nll"]})["main"])]
    for metric in ("nll", "balanced_accuracy"):
        difference = reached.get(f"{metric}_difference")
        if difference is None:
            cells.append(Cell(KeyedNumber("", None)))
            continue
        value = {
            "difference": difference["value"],
            "low": difference["low"],
            "high": difference["high"],
        }
        cells.append(Cell(**keyed(metric, value, sign=True), strong=excludes_zero(value)))
    return Row(label, "used" if name == fit["calibrator"] else "", cells)


def effects(scores: Scores) -> Table:
    """Return what calibration changed on test: after minus before, on the same samples."""
    metrics = [name for name, metric in METRICS.items() if metric.before_calibration]
    rows = []
    for method in scores.methods:
        cells = []
        for name in metrics:
            shown = calibration_effect(scores, method, name)
            effect = scores.effect_of_calibration("test", method, name)
            cells.append(Cell(**shown, strong=excludes_zero(effect)))
        rows.append(Row(method, kind(scores, method), cells, method))
    heads = [
        f"{METRICS[name].label},{SPACE}points" if METRICS[name].percent else METRICS[name].label
        for name in metrics
    ]
    return Table("After calibration minus before, on test", "method", heads, rows)


def _fits(results: Results) -> list[tuple[str, int, dict[str, Any]]]:
    return [
        (expert, seed, fit)
        for expert, seeds in results.calibrations.items()
        for seed, fit in seeds.items()
    ]
