"""The experiment log: every training run on record, as an HTML page and as Markdown."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tailproof.files import write_text
from tailproof.number_format import MISSING, format_number
from tailproof.project import project_paths
from tailproof.provenance.followed_advice import Followed
from tailproof.provenance.run_log import RunEntry, Runs, read_runs
from tailproof.report.metric_format import monitored
from tailproof.report.render import render
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.git import missing_history
from tailproof.runtime.records import Record
from tailproof.text import quantity

DIGITS = 12
FOLLOWED = ("Recommendation", "Run", "Expected effect", "Actual effect")
HEAD = ("Run", "Configuration", "Results", "Findings", "Time and machine")


class Line(NamedTuple):
    """A run as a row of the log: the lines of each cell, in the order of HEAD."""

    name: str
    cells: list[list[str]]


class Section(NamedTuple):
    """An experiment: its newest evaluation, its runs, effects of recommendations; newest first."""

    experiment: str
    evaluated: str
    lines: list[Line]
    followed: list[list[list[str]]]


def write_log(root: str | Path = ".") -> tuple[list[Path], int]:
    """Write results/log.html and results/log.md.

    Args:
        root: the repository, with results/ in it.

    Returns:
        The two files, and how many runs they list.

    Raises:
        TailproofError: no training run is on record.
    """
    runs = read_runs(root)
    if not runs.by_experiment:
        raise TailproofError(
            f"{Path(root) / 'results'} and git's history have no record of a training run: run an "
            "experiment with `snakemake --cores all` first"
        )
    sections = [_section(runs, name) for name in runs.by_experiment]
    count = sum(len(section.lines) for section in sections)
    counted = f"{quantity(count, 'run')} of {quantity(len(sections), 'experiment')}"
    if runs.unreadable:
        counted += (
            f"; {quantity(runs.unreadable, 'version')} of records "
            f"{'was' if runs.unreadable == 1 else 'were'} left out, because of another schema or "
            "an edit"
        )
    if missing := missing_history(Path(root)):
        counted += f"; {missing}"
    values: dict[str, Any] = {
        "sections": sections,
        "head": HEAD,
        "followed": FOLLOWED,
        "counted": counted,
    }
    page, text = (
        Path(root) / project_paths(root).results / f"log.{kind}" for kind in ("html", "md")
    )
    write_text(page, render("log.html.j2", **values))
    write_text(text, _markdown(sections, counted))
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
        _machine(record),
    ]


def _findings(run: RunEntry) -> list[str]:
    if run.findings is None:
        return []
    lines = [f"{finding['severity']}: {finding['title']}" for finding in run.findings]
    return lines or ["no findings"]


def _recommendation(run: RunEntry, taken: Followed) -> list[list[str]]:
    """Return the cells of a recommendation that a run followed, in the order of FOLLOWED."""
    finding = taken.finding
    change = yaml.safe_dump(finding["change"], default_flow_style=True, width=10_000).strip()
    wildcards = run.record.wildcards
    gone = {
        True: "the finding is gone",
        False: "the finding is still there",
        None: "not diagnosed yet",
    }
    effect = [_effect(taken), gone[taken.gone]]
    if taken.also_changed:
        effect.append(f"also changed: {', '.join(taken.also_changed)}")
    return [
        [f"{finding['kind']}: {finding['title']}", f"recipe: {change}"],
        [run.name, f"{wildcards['expert']}, seed {wildcards['seed']}"],
        [finding["expects"]],
        effect,
    ]


def _effect(taken: Followed) -> str:
    if taken.before is None or taken.after is None:
        return "the runs selected their best epoch by different metrics"
    values = " → ".join(_value(taken.metric, value) for value in (taken.before, taken.after))
    change = taken.after - taken.before
    points = _in_percent(taken.metric)
    by = f"{format_number(change, '+%.1')} points" if points else format_number(change, "+.3")
    return f"{taken.metric} {values} ({by})"


def _configuration(run: RunEntry) -> list[str]:
    if not run.changes:
        return [f"same as {run.follows}" if run.follows else "the defaults"]
    start = f"compared with {run.follows}:" if run.follows else "compared with the defaults:"
    return [start, *(_change(name, *each) for name, each in run.changes.items())]


def _change(name: str, before: str | None, now: str | None) -> str:
    if name in ("code", "data"):
        before, now = (digest and digest[:DIGITS] for digest in (before, now))
    return f"{name}: {before or MISSING} → {now or MISSING}"


def _results(run: RunEntry) -> list[str]:
    results = run.record.results
    lines = []
    if "monitor" in results:
        value = _value(results["monitor"], results["monitored"])
        best = results["best_epoch"] or MISSING
        lines.append(f"best epoch {best} of {results['epochs']}: {results['monitor']} {value}")
        last = [
            f"{name.removeprefix('val_')} {_value(name, value)}"
            for name, value in results["last"].items()
        ]
        lines.append(f"last val: {', '.join(last)}")
    if run.tested:
        means = [f"{name} {_value(name, value)}" for name, value in run.tested.items()]
        lines.append(f"test, mean over seeds: {', '.join(means)}")
    return lines


def _in_percent(name: str) -> bool:
    try:
        return monitored(name).percent
    except KeyError:  # a metric of an older version
        return False


def _value(name: str, value: float | None) -> str:
    percent = _in_percent(name)
    return format_number(value, "%.1" if percent else ".3") + (
        " %" if percent and value is not None else ""
    )


def _machine(record: Record) -> list[str]:
    results, machine = record.results, record.machine
    seconds = results.get("seconds", (record.ended - record.started).total_seconds())
    attempts = results.get("attempts", 1)
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
    means = [
        f"{method} {_value('balanced_accuracy', values['balanced_accuracy'])}"
        for method, values in tested.items()
    ]
    return (
        f"Balanced accuracy on test, evaluated {record.started:%Y%m%d_%H%M%S}: {', '.join(means)}."
    )


def _markdown(sections: list[Section], counted: str) -> str:
    text = ["# Experiment log", "", f"{counted}, newest first.", ""]
    for section in sections:
        text += [f"## {section.experiment}", ""]
        text += [_escape_markdown(section.evaluated), ""] if section.evaluated else []
        text += _table(HEAD, [line.cells for line in section.lines])
        if section.followed:
            text += ["Effects of recommendations:", "", *_table(FOLLOWED, section.followed)]
    return "\n".join(text)


def _table(head: tuple[str, ...], rows: list[list[list[str]]]) -> list[str]:
    shown = [
        _table_row(["<br>".join(map(_escape_markdown, cell)) for cell in cells]) for cells in rows
    ]
    return [_table_row(head), _table_row(["---"] * len(head)), *shown, ""]


def _table_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    """Escape text for Markdown and HTML."""
    for sign, instead in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;")):
        text = text.replace(sign, instead)
    for sign in "|*_`[]":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
