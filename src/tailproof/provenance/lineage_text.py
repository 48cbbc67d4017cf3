"""A lineage as a tree for a terminal."""

from collections.abc import Iterable
from itertools import takewhile
from os.path import commonpath
from typing import Any

from rich.text import Text
from rich.tree import Tree

from tailproof.core.words import quantity
from tailproof.provenance.lineage import Files, Jobs, Node, Raw
from tailproof.provenance.record import Record
from tailproof.provenance.settings import chosen

DIGITS = 12
NAMED = 6
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def tree(node: Node) -> Tree:
    """Return a lineage as a tree: files and jobs in turn, from the number to the raw data."""
    found = Tree(_label(node), guide_style="dim")
    for child in node.children:
        found.add(tree(child))
    return found


def verdict(node: Node) -> Text:
    """Say how many files there are, and how many of them are not what they were."""
    traced = [each.item for each in node]
    files = {
        file.path: state
        for item in traced
        if isinstance(item, Files)
        for file, state in zip(item.files, item.states, strict=True)
    }
    jobs = {record.path for item in traced if isinstance(item, Jobs) for record in item.records}
    raw = [note for item in traced if isinstance(item, Raw) for note in item.notes]
    changed = sum(state != "unchanged" for state in files.values())
    text = f"{quantity(len(files), 'file')} of {quantity(len(jobs), 'job')}: "
    if not changed and not raw:
        return Text.assemble(text, ("all unchanged", "green"))
    told = [f"{changed} not as they were"] * bool(changed) + raw
    return Text.assemble(text, ("; ".join(told), "red"))


def _label(node: Node) -> Text:
    if isinstance(node.item, Jobs):
        return _of_jobs(node.item)
    if isinstance(node.item, Raw):
        return _of_raw(node.item)
    if isinstance(node.item, str):
        return Text(node.item, style="bold")
    text = _of_files(node.item)
    return text.append("  … as above", style="dim") if node.above else text


def _of_files(item: Files) -> Text:
    paths = [file.path for file in item.files]
    text = Text(together(paths), style="bold")
    size = _size(item.bytes)
    if len(paths) == 1:
        text.append(f"  {item.digest[:DIGITS]}  {size}", style="not bold dim")
    else:
        text.append(f"  {len(paths)} files  {size}", style="not bold dim")
        text.append(f"  {item.digest[:DIGITS]} over all", style="not bold dim")
    states = {state: item.states.count(state) for state in sorted(set(item.states))[::-1]}
    for state, count in states.items():
        colour = "green" if state == "unchanged" else "red"
        shown = state if len(states) == 1 else f"{count} {state}"
        text.append(f"  {shown}", style=f"not bold {colour}")
    if len(paths) > 1 and len(states) > 1:
        first = next(p for p, s in zip(paths, item.states, strict=True) if s != "unchanged")
        text.append(f" (the first: {first})", style="not bold red")
    return text


def _of_jobs(item: Jobs) -> Text:
    records = item.records
    first = records[0]
    name = first.rule if first.name == first.rule else f"{first.rule} {first.name}"
    text = Text(name if len(records) == 1 else f"{first.rule} × {len(records)}", style="cyan")
    commits = [
        (record.code.commit or "no commit")[:DIGITS] + (" + changes" if record.code.dirty else "")
        for record in records
    ]
    seconds = sum((record.ended - record.started).total_seconds() for record in records)
    facts = [
        f"code {_one_of(record.code.closure[:DIGITS] for record in records)}",
        f"commit {_one_of(commits)}" if first.code.commit else _one_of(commits),
        f"{min(record.started for record in records):%Y-%m-%d %H:%M} UTC, {seconds:.1f} s",
        _one_of(record.machine.host for record in records),
        _one_of(record.machine.device for record in records),
    ]
    jobs = [record.machine.slurm_job for record in records if record.machine.slurm_job]
    facts += [f"Slurm {_one_of(jobs)}"] if jobs else []
    text.append(f"  {' · '.join(facts)}", style="dim")
    found = chosen(_shared(records))
    if found:
        text.append("\n" + ", ".join(f"{key} {value}" for key, value in found.items()), "dim")
    return text


def _shared(records: tuple[Record, ...]) -> dict[str, Any]:
    return {
        name: value
        for name, value in records[0].parameters.items()
        if all(record.parameters.get(name) == value for record in records)
    }


def _of_raw(item: Raw) -> Text:
    if item.files == 0:
        text = Text("raw data that come with a package", style="bold")
    else:
        count = "files" if item.files is None else quantity(item.files, "file")
        text = Text(f"raw data: {count} in {item.root}", style="bold")
    text.append(f"  {item.digest[:DIGITS]} (raw.parquet)", style="not bold dim")
    for note in item.notes:
        text.append(f"  {note}", style="not bold red")
    if item.files and not item.notes:
        text.append("  unchanged", style="not bold green")
    return text


def together(paths: list[str]) -> str:
    """Write several paths as one: ``a/{b,c}/d``, with ``*`` for many."""
    rows = [path.split("/") for path in paths]
    if len({len(row) for row in rows}) > 1:
        return f"{commonpath(paths)}/…"
    return "/".join(_segment(list(dict.fromkeys(column))) for column in zip(*rows, strict=True))


def _segment(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    head = _start(names)
    tail = _start([name[len(head) :][::-1] for name in names])[::-1]
    middles = [name[len(head) : len(name) - len(tail)] for name in names]
    return f"{head}{{{','.join(middles)}}}{tail}" if len(names) <= NAMED else f"{head}*{tail}"


def _start(names: list[str]) -> str:
    """Return the characters that all names start with."""
    columns = zip(*names, strict=False)
    return "".join(letters[0] for letters in takewhile(lambda each: len(set(each)) == 1, columns))


def _one_of(values: Iterable[str]) -> str:
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} others"


def _size(number: float) -> str:
    for unit in UNITS:
        if number < 1024 or unit == UNITS[-1]:
            break
        number /= 1024
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
