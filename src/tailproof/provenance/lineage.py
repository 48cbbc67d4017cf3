"""Traces a file, or one number in it, back to the raw data through all jobs and files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from os.path import commonpath
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from tailproof.config.evaluation import ENSEMBLES, STACKED
from tailproof.digests import digest_of, sha256_files
from tailproof.project import project_paths
from tailproof.provenance.config_diff import chosen
from tailproof.provenance.dotted_path import look_up, read_keyed
from tailproof.provenance.raw_files import check_raw, pinned_files, raw_root
from tailproof.runtime.errors import TailproofError, suggestion, unknown_name
from tailproof.runtime.ledger import Ledger, experiment_of, read_ledger
from tailproof.runtime.records import File, Record
from tailproof.text import quantity


@dataclass(frozen=True)
class Jobs:
    """One job, or the jobs of all shards: jobs of one rule that read the same files."""

    records: tuple[Record, ...]


@dataclass(frozen=True)
class Files:
    """Files that were made by the same jobs.

    Attributes:
        files: the files as the jobs that read them recorded them.
        states: state of each file: ``unchanged``, ``altered``, ``missing`` or ``rebuilt since``.
    """

    files: tuple[File, ...]
    states: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of a single file, or a digest over those of several files."""
        digests = [file.sha256 for file in self.files]
        return digests[0] if len(digests) == 1 else digest_of(digests)


@dataclass(frozen=True)
class Raw:
    """The raw files that prepare read.

    Attributes:
        root: the folder of the files.
        files: number of files in raw.parquet; None if raw.parquet is missing.
        digest: digest of raw.parquet, which lists the checksum of each file.
        notes: what does not hold.
    """

    root: Path
    files: int | None
    digest: str
    notes: tuple[str, ...]


@dataclass
class Node:
    """A node of the lineage tree: an item and its origins.

    Attributes:
        item: a number as text, files, jobs, or raw files.
        children: the origins of the item.
        above: whether the origins are shown further up.
    """

    item: str | Files | Jobs | Raw
    children: list["Node"] = field(default_factory=list)
    above: bool = False

    def __iter__(self) -> Iterator["Node"]:
        yield self
        for child in self.children:
            yield from child


def lineage(place: str) -> Node:
    """Trace a results file, or one number in it, back to the raw data.

    Args:
        place: path of a file that a job made, relative to the working directory. For JSON and CSV
            files, ``#`` and the dotted key of one value may follow.

    Raises:
        TailproofError: no record lists the file, or the file has no such key.
    """
    name, _, key = place.partition("#")
    path = _from_here(name)
    file = _made(path)
    tracer = _Tracer()
    if not key:
        return tracer.files([file])
    content, columns = read_keyed(path)
    value, way = look_up(content, key, path)
    if isinstance(value, dict | list):
        keys = [f"{key}.{child}" for child in (value if isinstance(value, dict) else [])]
        raise TailproofError(
            f"{path}#{key} is not a single value: give the key of a value in it"
            + (f", for instance {keys[0]}" if keys else "")
        )
    if maker := tracer.maker(file):
        tracer.wanted = experts_behind(maker, way, columns)
    return Node(f"{key} = {value}", [tracer.files([file])])


def _from_here(name: str) -> str:
    """Return a path as records spell it: relative to the working directory, normalized."""
    path = Path(name)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def _made(path: str) -> File:
    """Return a file as the record of its job lists it."""
    experiment = experiment_of(path)
    if experiment is None:
        raise TailproofError(
            f"{path} is not a file of an experiment: give the path of a file that the workflow "
            "made, for instance results/EXPERIMENT/evaluation/metrics.json"
        )
    ledger = read_ledger(experiment)
    if not ledger.records:
        folders = Path(project_paths().results).glob("*/provenance")
        names = [folder.parent.name for folder in folders]
        if names and experiment not in names:
            raise unknown_name("experiment", experiment, names)
        raise TailproofError(
            f"{project_paths().provenance(experiment)} contains no records: run the experiment, "
            "or `git pull` the records of an experiment that was run elsewhere"
        )
    if path in ledger.files:
        return ledger.files[path]
    if path in ledger.records:
        raise TailproofError(
            f"{path} is the record of a job: give a file that the job made, for instance "
            f"{ledger.records[path].outputs[0].path}"
        )
    unreadable = quantity(len(ledger.unreadable), "record")
    raise TailproofError(
        f"no record lists {path}{suggestion(path, ledger.files)}: only a file that a job made has "
        "a lineage" + (f"; {unreadable} cannot be read" if ledger.unreadable else "")
    )


def experts_behind(
    maker: Record, way: tuple[str, ...], columns: list[str]
) -> set[tuple[str, str]] | None:
    """Return the (expert, seed) pairs whose logits a value of the evaluation needs; None for all.

    A number of an expert needs the logits of that expert, a number of a seed those of that seed. A
    number of a pair of experts needs the logits of both. An ensemble needs those of all experts of
    its seeds but students, and what is said of a student those of the ensemble too.

    Args:
        maker: the record of the job that wrote the value.
        way: the keys to the value, or its cells in a table.
        columns: the columns of these cells; empty for keys.
    """
    if maker.rule != "evaluate":
        return None
    experts, seeds = maker.parameters["experts"], [str(seed) for seed in maker.seeds]
    students = maker.parameters.get("students", ())
    if columns:
        names = dict(zip(columns, way, strict=False))
        method, seed = names.get("method", ""), names.get("seed")
    else:
        paired = way[0] in ("paired", "agreement")
        method = way[2] if paired and len(way) > 2 else way[1] if len(way) > 1 else ""
        seed = way[way.index("seeds") + 1] if "seeds" in way[2:-1] else None
    parts = [part for pair in method.split(" - ") for part in pair.split(" / ")]
    if not columns and way[0] == "students" and len(way) > 2:
        parts = [STACKED, way[2]]
    needed = experts
    if set(parts) <= {*experts, *ENSEMBLES}:
        of_ensemble = [name for name in experts if name not in students]
        needed = [part for part in parts if part in experts]
        needed += of_ensemble if len(needed) < len(parts) else []
    return {(expert, number) for expert in needed for number in ([seed] if seed else seeds)}


class _Tracer:
    """Builds the tree; remembers the jobs that it has shown and the files that it has hashed."""

    def __init__(self) -> None:
        self.wanted: set[tuple[str, str]] | None = None
        self._ledger = cache(read_ledger)
        self._now: dict[str, str | None] = {}
        self._shown: set[tuple[str, ...]] = set()

    def files(self, files: list[File]) -> Node:
        """Return a node of files that the same jobs made, with those jobs below."""
        self._hash(files)
        node = Node(Files(tuple(files), tuple(self._state(file) for file in files)))
        makers = [maker for file in files if (maker := self.maker(file))]
        paths = tuple(sorted({maker.path for maker in makers}))
        if not paths:
            return node
        node.above = paths in self._shown
        if not node.above:
            self._shown.add(paths)
            jobs = {maker.path: maker for maker in makers}
            node.children = [self._jobs(list(jobs.values()))]
        return node

    def maker(self, file: File) -> Record | None:
        """Return the record of the job that made a file."""
        ledger = self._ledger_of(file.path)
        return ledger.makers.get(file.path) if ledger else None

    def _ledger_of(self, path: str) -> Ledger | None:
        experiment = experiment_of(path)
        return self._ledger(experiment) if experiment else None

    def _jobs(self, records: list[Record]) -> Node:
        node = Node(Jobs(tuple(records)))
        first = records[0]
        if first.rule == "prepare":
            node.children = [Node(self._raw(first))]
            return node
        for group in self._alike(self._needed(first)):
            node.children.append(self.files(group))
        return node

    def _needed(self, record: Record) -> Iterator[File]:
        """Yield a job's inputs; for the evaluation, only those that the number needs."""
        for file in record.inputs:
            maker = self.maker(file) if record.rule == "evaluate" and self.wanted else None
            wildcards = maker.wildcards if maker else {}
            source = wildcards.get("expert", ""), wildcards.get("seed", "")
            if self.wanted is None or "" in source or source in self.wanted:
                yield file

    def _alike(self, files: Iterable[File]) -> list[list[File]]:
        """Group files of one job, files of all shards, and records."""
        groups: dict[tuple[str, ...], list[File]] = {}
        for file in files:
            groups.setdefault(self._group(file), []).append(file)
        return list(groups.values())

    def _group(self, file: File) -> tuple[str, ...]:
        maker = self.maker(file)
        if maker is None:
            ledger = self._ledger_of(file.path)
            return ("a record",) if ledger and file.path in ledger.records else (file.path,)
        whose = maker.wildcards.get("expert", ""), maker.wildcards.get("seed", "")
        return maker.rule, *whose, *(source.path for source in maker.inputs)

    def _hash(self, files: list[File]) -> None:
        new = [file.path for file in files if file.path not in self._now]
        there = [path for path in new if Path(path).is_file()]
        self._now |= dict.fromkeys(new) | dict(zip(there, sha256_files(there), strict=True))

    def _state(self, file: File) -> str:
        ledger = self._ledger_of(file.path)
        recorded = ledger.files.get(file.path, file) if ledger else file
        if self._now[file.path] is None:
            return "missing"
        if recorded.sha256 != file.sha256:
            return "rebuilt since"
        return "unchanged" if self._now[file.path] == file.sha256 else "altered"

    def _raw(self, record: Record) -> Raw:
        ledger = self._ledger(record.experiment)
        digest = next(file.sha256 for file in record.outputs if file.path.endswith("/raw.parquet"))
        if not (project_paths().experiment(record.experiment) / "raw.parquet").is_file():
            return Raw(
                raw_root(ledger), None, digest, ("raw.parquet, which lists them, is missing",)
            )
        verdicts, notes = check_raw(ledger)
        wrong = [verdict for verdict in verdicts if verdict.state != "proven"]
        problems = [f"{verdict.path} is {verdict.state}" for verdict in wrong[:3]]
        problems += [f"and {len(wrong) - 3} more"] if len(wrong) > 3 else []
        return Raw(raw_root(ledger), len(pinned_files(ledger)), digest, (*problems, *notes))


DIGITS = 12
NAMED = 6
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def tree(node: Node) -> Tree:
    """Return a lineage as a tree of files and jobs, from the number to the raw data."""
    branch = Tree(_label(node), guide_style="dim")
    for child in node.children:
        branch.add(tree(child))
    return branch


def verdict(node: Node) -> Text:
    """Return a line with the number of files and how many of them have changed."""
    traced = [part.item for part in node]
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
    problems = [f"{changed} changed"] * bool(changed) + raw
    return Text.assemble(text, ("; ".join(problems), "red"))


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
    parameters = chosen(_shared(records))
    if parameters:
        text.append("\n" + ", ".join(f"{key} {value}" for key, value in parameters.items()), "dim")
    return text


def _shared(records: tuple[Record, ...]) -> dict[str, Any]:
    return {
        name: value
        for name, value in records[0].parameters.items()
        if all(record.parameters.get(name) == value for record in records)
    }


def _of_raw(item: Raw) -> Text:
    if item.files == 0:
        text = Text("raw data from an installed package", style="bold")
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
    """Abbreviate several paths to one: ``a/{b,c}/d``, with ``*`` for many."""
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
    """Return the common prefix of the names."""
    columns = zip(*names, strict=False)
    return "".join(
        letters[0] for letters in takewhile(lambda column: len(set(column)) == 1, columns)
    )


def _one_of(values: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"


def _size(number: float) -> str:
    for unit in UNITS:
        if number < 1024 or unit == UNITS[-1]:
            break
        number /= 1024
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
