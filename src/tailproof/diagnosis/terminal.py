"""Prints in a terminal what was read of histories, and what was found."""

from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tailproof.diagnosis.command import ALL_RUNS, Diagnosis
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.readers import Reading
from tailproof.text import listed, quantity

_COLOURS = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_MOST_COLUMNS = 30


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print for each run what was read as what, and then the findings."""
    for name, findings in diagnosis.findings.items():
        if name == ALL_RUNS:
            console.print("[bold]all runs[/bold]")
        else:
            _print_reading(diagnosis.readings[name], console)
        for finding in findings:
            _print(finding, console)
        if not findings:
            console.print(escape(_nothing(diagnosis.readings.get(name))))


def _print_reading(reading: Reading, console: Console) -> None:
    history = reading.history
    files = listed([_printable(str(path)) for path in reading.files], 3)
    console.print(
        f"[bold]{escape(_printable(history.name))}[/bold]  {escape(files)}: "
        f"{escape(reading.form)}, {quantity(len(history.epochs), 'epoch')}, "
        f"{history.epochs[0]} to {history.last}"
    )
    read = [column for column in reading.columns if column.read_as]
    width = max(len(column.read_as) for column in read)
    lines = []
    for column in read[:_MOST_COLUMNS]:
        unit = f", {'in percent' if column.unit == 'percent' else 'a share'}" if column.unit else ""
        why = f" ({_printable(column.why)})" if column.why else ""
        lines.append(f"{column.read_as:{width}}  from {_printable(column.name)}{unit}{why}")
    if len(read) > _MOST_COLUMNS:
        more = quantity(len(read) - _MOST_COLUMNS, "more column")
        lines.append(f"and {more}")
    if left_out := [column for column in reading.columns if not column.read_as]:
        names = [
            f"{_printable(c.name) or 'without a name'} ({_printable(c.why)})" for c in left_out
        ]
        lines.append(f"columns skipped: {listed(names, 12)}")
    for item in reading.passed_over:
        shown = listed([_printable(example) for example in item.examples])
        examples = f", such as {shown}" if shown else ""
        lines.append(f"skipped: {item.reason} ({item.count:,}){examples}")
    lines += [_printable(note) for note in reading.notes]
    console.print(Padding(escape("\n".join(lines)), (0, 0, 0, 4), expand=False), style="dim")


def _nothing(reading: Reading | None) -> str:
    """Say that nothing was found, and in which columns nothing was looked for."""
    if reading is None:
        return "nothing found"
    names = [_printable(column.name) for column in reading.not_judged]
    if not reading.judged:
        return (
            f"nothing was checked: no check uses {listed(names)}; if the loss or the accuracy "
            "is among them, name it: --columns 'val_loss=COLUMN,…'"
        )
    if names:
        return f"nothing found; not checked: {listed(names)} (see --columns)"
    return "nothing found"


def _printable(text: str) -> str:
    """Return a name of a stranger without control characters, cut to a readable length."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= 200 else f"{plain[:197]}…"


def patch(finding: Finding) -> str:
    """Return the suggested change as YAML for an experiment; empty if there is none."""
    if finding.change is None:
        return ""
    change = finding.to_jsonable()["change"]
    return yaml.safe_dump({"recipe": change}, sort_keys=False, allow_unicode=True).rstrip()


def epochs_of(finding: Finding) -> str:
    """Format epochs as ``5``, ``5, 7`` or, if there are many, ``5 … 40 (36)``."""
    epochs = finding.epochs
    texts = [str(epoch) for epoch in epochs]
    return ", ".join(texts) if len(texts) <= 4 else f"{texts[0]} … {texts[-1]} ({len(texts)})"


def details(values: dict[str, Any]) -> str:
    """Format names and numbers on one line; unknown values are left out."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    )


def _print(finding: Finding, console: Console) -> None:
    colour = _COLOURS[finding.severity]
    console.print(f"[{colour}]{finding.severity}[/{colour}]  [bold]{escape(finding.title)}[/bold]")
    plain = finding.to_jsonable()
    lines = [f"{finding.kind}, {100 * finding.confidence:.0f} % sure"]
    if finding.epochs:
        lines[0] += f", epochs {epochs_of(finding)}"
    if evidence := details(plain["evidence"]):
        lines.append(f"evidence: {evidence}")
    if cost := details(plain["cost"]):
        lines.append(f"cost: {cost}")
    if finding.expects:
        lines.append(f"expected: {finding.expects}")
    console.print(Padding(escape("\n".join(lines)), (0, 0, 0, 4)))
    if text := patch(finding):
        console.print(Padding(escape(text), (0, 0, 0, 8)), style="green")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = ", ".join(_value(item) for item in value[:6])
        return f"[{shown}{', …' if len(value) > 6 else ''}]"
    return str(value)
