"""Finds out from their places which files belong to one run, and which split a file is of."""

from dataclasses import dataclass, replace
from pathlib import Path

from tailproof.diagnosis.column_aliases import PARTS, Part, read_name
from tailproof.diagnosis.readers.file_forms import (
    home_of_series,
    is_single_series,
    series_name,
    split_of_place,
)
from tailproof.diagnosis.readers.runs_in_table import runs_of_chart
from tailproof.diagnosis.readers.table import Rows, Table, merge_rows
from tailproof.runtime.errors import TailproofError

_COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class Source:
    """A table and where it is from.

    Attributes:
        path: the file.
        table: its rows.
        part: the split that the place of the file names; empty if none.
        renamed: whether the names of its metrics must say the split, next to those of other files.
    """

    path: Path
    table: Table
    part: Part = ""
    renamed: bool = False

    @property
    def rows(self) -> Rows:
        """The rows; where several files make one run, with the split in the names."""
        if not self.renamed:
            return self.table.rows
        names = {name: self._name(str(name)) for row in self.table.rows for name in row}
        return [{names[name]: cell for name, cell in row.items()} for row in self.table.rows]

    def _name(self, name: str) -> str:
        said = read_name(name)
        if said.role in _COUNTERS:
            return said.role
        return f"{self.part}/{name}" if self.part and _is_bare(name) else name


def rows_of_run(sources: list[Source]) -> Rows:
    """Return the rows of all files of a run, merged where they have the same epoch or step.

    Raises:
        TailproofError: no column numbers the rows of several files of different lengths.
    """
    tables = [source.rows for source in sources]
    if len(tables) == 1:
        return tables[0]
    if any(name in _COUNTERS for rows in tables for row in rows for name in row):
        return merge_rows([row for rows in tables for row in rows], lambda name: name in _COUNTERS)
    if len({len(rows) for rows in tables}) > 1:
        raise TailproofError(
            f"{' and '.join(str(source.path) for source in sources[:3])} have different numbers "
            "of rows and no column of epochs: add such a column to each"
        )
    return [{name: row[name] for row in same for name in row} for same in zip(*tables, strict=True)]


def by_run(sources: list[Source]) -> dict[str, list[Source]]:
    """Return the tables of each run by its name, the shortest that distinguishes it."""
    groups: dict[str, list[Source]] = {}
    for source in (chart for table in sources for chart in _charts(table)):
        key, placed = _placed(source)
        groups.setdefault(key, []).append(placed)
    runs: dict[str, list[Source]] = {}
    for key, group in groups.items():
        if len(group) > 1 and _collide(group):
            runs |= {f"{s.path}{_label(s)}": [replace(s, part="")] for s in group}
        elif len(group) == 1:
            only = group[0]
            name = key if is_single_series(only.path, only.table) else f"{only.path}{_label(only)}"
            part = only.part
            if part == "test":  # a folder may be named so for another reason
                part = "val" if name == key else ""
            runs[name if only.part else key] = [replace(only, part=part)]
        else:
            runs[key] = [replace(source, renamed=True) for source in group]
    names = _short(list(runs))
    return {names[key]: group for key, group in runs.items()}


def _charts(source: Source) -> list[Source]:
    """Return a source, or one for each run of a chart of Weights & Biases."""
    runs = runs_of_chart(source.table.rows) if source.table.rows else None
    if runs is None:
        return [source]
    form = "chart of Weights & Biases"
    return [
        replace(source, table=replace(source.table, rows=rows, run=run, form=form))
        for run, rows in runs.items()
    ]


def _label(source: Source) -> str:
    return f"/{source.table.run}" if source.table.run else ""


def _placed(source: Source) -> tuple[str, Source]:
    """Return the key of the run that a table belongs to, and the table with its split."""
    path, table = source.path, source.table
    names = {str(name) for row in table.rows for name in row}
    bare = not any(read_name(name).part for name in names)
    part, rest = split_of_place(path / table.run if table.run else path) if bare else ("", path)
    if table.form == "chart of Weights & Biases":
        return f"{path.parent}{_label(source)}", source
    if table.form == "TensorBoard event file":
        return _of_event_file(source)
    if is_single_series(path, table):
        part = PARTS.get(read_name(series_name(path)).part, "") if bare else ""
        return f"{home_of_series(path)}{_label(source)}", replace(source, part=part)
    if part:
        return str(rest), replace(source, part=part)
    return f"{path}{_label(source)}", source


def _of_event_file(source: Source) -> tuple[str, Source]:
    """Return the run of an event file: its folder, or the one above if that is named by a split.

    `SummaryWriter.add_scalars` writes each curve into a folder of its own, ``loss_val``.
    """
    folder = source.path.parent
    if folder.name.lower() in PARTS:
        part = PARTS[folder.name.lower()]
        return str(folder.parent), replace(source, part=part)
    said = read_name(folder.name)
    names = {name for row in source.table.rows for name in row if name != "step"}
    if said.role == "metric" and said.part and said.known and len(names) == 1:
        (tag,) = names
        if read_name(tag).metric in ("", said.metric) or tag.lower().startswith(said.metric):
            rows = [{"step": row["step"], folder.name: row[tag]} for row in source.table.rows]
            return str(folder.parent), replace(source, table=replace(source.table, rows=rows))
    return str(folder), source


def _is_bare(name: str) -> bool:
    said = read_name(name)
    return said.role == "metric" and not said.part


def _collide(group: list[Source]) -> bool:
    """Return whether two files have the same metric of the same split, so that they are two runs.

    Event files of one folder may: a run that resumed wrote another one.
    """
    if all(source.table.form == "TensorBoard event file" for source in group):
        return False
    names = [
        name
        for source in group
        for name in {
            (source.part or said.part, said.metric)
            for row in source.table.rows[:50]
            for said in (read_name(str(column)) for column in row)
            if said.role == "metric"
        }
    ]
    return len(names) != len(set(names))


def _short(runs: list[str]) -> dict[str, str]:
    """Name each run by the parts of its path that differ."""
    parts = [Path(run).with_suffix("").parts for run in runs]
    if not runs:
        return {}
    if len(runs) == 1:
        return {runs[0]: parts[0][-1] if parts[0] else runs[0]}
    common = 0
    while len({path[common : common + 1] for path in parts}) == 1 and parts[0][common:]:
        common += 1
    rests = [path[common:] for path in parts]
    longest = max(map(len, rests))
    padded = [("",) * (longest - len(rest)) + rest for rest in rests]
    differs = [len({path[i] for path in padded}) > 1 for i in range(longest)]
    names = {
        run: "/".join(part for part, kept in zip(rest, differs, strict=True) if kept and part)
        or path[-1]
        for run, path, rest in zip(runs, parts, padded, strict=True)
    }
    return names if len(set(names.values())) == len(runs) else {run: run for run in runs}
