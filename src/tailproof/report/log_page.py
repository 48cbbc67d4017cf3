"""The experiment log: every training run on the ledger, as a page and as Markdown."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tailproof.files import write_text
from tailproof.number_format import MISSING, written
from tailproof.project import project_paths
from tailproof.provenance.followed_advice import Followed
from tailproof.provenance.run_history import RunEntry, Runs, read_runs
from tailproof.report.render import render
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record
from tailproof.text import quantity

DIGITS = 12
FOLLOWED = ("Recommended", "By", "Expected", "What came")
HEAD = ("Run", "Configuration", "Results", "Findings", "Time and place")
PERCENT = ("accuracy", "f1", "tpr")


class Line(NamedTuple):
    """A run as a row of the log: the lines of each cell, in the order of HEAD."""

    name: str
    cells: list[list[str]]


class Section(NamedTuple):
    """An experiment: its newest evaluation, its runs, what recommendations did; newest first."""

    experiment: str
    evaluated: str
    lines: list[Line]
    followed: list[list[list[str]]]


def write_log(root: str | Path = ".") -> tuple[list[Path], int]:
    """Write results/log.html and results/log.md.

    Args:
        root: the repository, with results/ in it.

    Returns:
        The two files, and how many runs they tell of.

    Raises:
        TailproofError: there is no run on the ledger.
    """
    runs = read_runs(root)
    if not runs.by_experiment:
        raise TailproofError(
            f"{Path(root) / 'results'} and git's history hold no record of a training run: run an "
            "experiment first, with `snakemake`"
        )
    sections = [_section(runs, name) for name in runs.by_experiment]
    count = sum(len(section.lines) for section in sections)
    told = f"{quantity(count, 'run')} of {quantity(len(sections), 'experiment')}"
    if runs.unreadable:
        told += (
            f"; {quantity(runs.unreadable, 'version')} of records are of another schema or were "
            "edited, and are left out"
        )
    values = {"sections": sections, "head": HEAD, "followed": FOLLOWED, "told": told}
    page, text = (
        Path(root) / project_paths(root).results / f"log.{kind}" for kind in ("html", "md")
    )
    write_text(page, render("log.html.j2", **values))
    write_text(text, _markdown(sections, told))
    return [page, text], count


def _section(runs: Runs, experiment: str) -> Section:
    evaluation = runs.evaluations.get(experiment)
    lines = [Line(run.name, _cells(run)) for run in runs.by_experiment[experiment]]
    taken = [
        _recommendation(run, each)
        for run in runs.by_experiment[experiment]
        for each in run.followed
    ]
    return Section(experiment, _evaluated(evaluation) if evaluation else "", lines, taken)


def _cells(run: RunEntry) -> list[list[str]]:
    record = run.record
    return [
        [run.name, f"{record.wildcards['expert']}, seed {record.wildcards['seed']}"],
        _configuration(run),
        _results(run),
        _findings(run),
        _circumstances(record),
    ]


def _findings(run: RunEntry) -> list[str]:
    if run.findings is None:
        return []
    told = [f"{each['severity']}: {each['title']}" for each in run.findings]
    return told or ["nothing found"]


def _recommendation(run: RunEntry, taken: Followed) -> list[list[str]]:
    """Return the cells of a recommendation that a run followed, in the order of FOLLOWED."""
    finding = taken.finding
    change = yaml.safe_dump(finding["change"], default_flow_style=True, width=10_000).strip()
    wildcards = run.record.wildcards
    gone = {True: "the finding is gone", False: "the finding is still there"}
    came = [_effect(taken), gone.get(taken.gone, "not diagnosed yet")]
    if taken.beside:
        came.append(f"changed too: {', '.join(taken.beside)}")
    return [
        [f"{finding['kind']}: {finding['title']}", f"recipe: {change}"],
        [run.name, f"{wildcards['expert']}, seed {wildcards['seed']}"],
        [finding["expects"]],
        came,
    ]


def _effect(taken: Followed) -> str:
    if taken.before is None or taken.after is None:
        return "the runs chose their best epoch by different metrics"
    told = " → ".join(_value(taken.metric, each) for each in (taken.before, taken.after))
    change = taken.after - taken.before
    points = _in_percent(taken.metric)
    by = f"{written(change, '+%.1')} points" if points else written(change, "+.3")
    return f"{taken.metric} {told} ({by})"


def _configuration(run: RunEntry) -> list[str]:
    if not run.changes:
        return [f"as {run.follows}" if run.follows else "the defaults"]
    start = f"against {run.follows}:" if run.follows else "against the defaults:"
    return [start, *(_change(name, *each) for name, each in run.changes.items())]


def _change(name: str, before: str | None, now: str | None) -> str:
    if name in ("code", "data"):
        before, now = before[:DIGITS], now[:DIGITS]
    return f"{name}: {before or MISSING} → {now or MISSING}"


def _results(run: RunEntry) -> list[str]:
    found = run.record.results
    lines = []
    if "monitor" in found:
        value = _value(found["monitor"], found["monitored"])
        best = found["best_epoch"] or MISSING
        lines.append(f"best epoch {best} of {found['epochs']}: {found['monitor']} {value}")
        last = [
            f"{name.removeprefix('val_')} {_value(name, each)}"
            for name, each in found["last"].items()
        ]
        lines.append(f"last val: {', '.join(last)}")
    if run.tested:
        told = [f"{name} {_value(name, each)}" for name, each in run.tested.items()]
        lines.append(f"test, mean over seeds: {', '.join(told)}")
    return lines


def _in_percent(name: str) -> bool:
    return any(word in name for word in (*PERCENT, "top1"))


def _value(name: str, value: float | None) -> str:
    percent = _in_percent(name)
    return written(value, "%.1" if percent else ".3") + (
        " %" if percent and value is not None else ""
    )


def _circumstances(record: Record) -> list[str]:
    found, machine = record.results, record.machine
    seconds = found.get("seconds", (record.ended - record.started).total_seconds())
    attempts = found.get("attempts", 1)
    commit = (record.code.commit or "no commit")[:DIGITS]
    return [
        _duration(seconds) + (f" in {attempts} attempts" if attempts > 1 else ""),
        f"{machine.device}, {machine.host}",
        f"{commit}{' + changes' if record.code.dirty else ''}",
    ]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _evaluated(record: Record) -> str:
    tested: dict[str, Any] = record.results.get("test", {})
    told = [
        f"{method} {_value('balanced_accuracy', found['balanced_accuracy'])}"
        for method, found in tested.items()
    ]
    return (
        f"Balanced accuracy on test, evaluated {record.started:%Y%m%d_%H%M%S}: {', '.join(told)}."
    )


def _markdown(sections: list[Section], told: str) -> str:
    text = ["# Experiment log", "", f"{told}, newest first.", ""]
    for section in sections:
        text += [f"## {section.experiment}", ""]
        text += [_plain(section.evaluated), ""] if section.evaluated else []
        text += _table(HEAD, [line.cells for line in section.lines])
        if section.followed:
            text += ["What recommendations did:", "", *_table(FOLLOWED, section.followed)]
    return "\n".join(text)


def _table(head: tuple[str, ...], rows: list[list[list[str]]]) -> list[str]:
    shown = [_table_row(["<br>".join(map(_plain, cell)) for cell in cells]) for cells in rows]
    return [_table_row(head), _table_row(["---"] * len(head)), *shown, ""]


def _table_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Keep text from being read as Markdown or HTML."""
    for sign, instead in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;")):
        text = text.replace(sign, instead)
    for sign in "|*_`[]":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
