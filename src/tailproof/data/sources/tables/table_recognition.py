"""Recognizes tables of pictures and labels: which table, which columns, where the pictures are."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.advised_commands import (
    import_command,
    python_command,
    python_text,
    read_table_code,
)
from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.folder_layout import new_table
from tailproof.data.sources.folders.folder_survey import Surveyed, split_kinds, survey_folder
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.data.sources.tables.box_columns import find_boxes
from tailproof.data.sources.tables.column_roles import Column, Roles, find_roles
from tailproof.data.sources.tables.listed_files import FileFinder
from tailproof.data.sources.tables.missing_values import EMPTY
from tailproof.data.sources.tables.picture_table import Placement, Table, Tables
from tailproof.data.sources.tables.table_advice import (
    describe_fault,
    describe_join,
)
from tailproof.data.sources.tables.text_table import TextTable, find_encoding, marked_encoding
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_bytes

ENDINGS = (".csv", ".tsv", ".tab", ".txt", "")
BARE = 5  # files without a suffix in a folder; more of them are pictures or parts
DEEPEST = 3  # levels of folders below the root in which tables are looked for
TABLES = 40  # tables that are read
WIDEST = 300  # columns; wider tables hold pixels or features
LARGEST = 300 * 2**20  # bytes
ROWS = 60_000  # rows that are compared; of longer tables, blocks of rows all over the table
BLOCK = 100
PLACES = 200  # folders in which the pictures of a table are looked for
TRIED = 60  # file names of a column that are looked for
FEW_FOUND, MOST_FOUND = 0.5, 0.95  # share of file names that exist
NO_HEADER = (
    "write a line with the names of the columns above its first line, such as filename,label, and "
    "import again"
)


def recognize_table(path: Path, label: str | None = None) -> Recognition | None:
    """Return the table that lists pictures, in a folder or in a file; None if there is none.

    Args:
        path: a folder, or a table.
        label: the column of labels, if the user named it.

    Raises:
        TailproofError: a table lists pictures, and its labels cannot be used as they are.
    """
    tables = _find_tables(path, label)
    if tables is None:
        return None
    root, found = tables
    named = [table for table in found.labelled if table.roles.named]
    if found.faulty and not named:
        raise TailproofError(describe_fault(root, found))
    if found.labelled:
        return _choose(root, found)
    for table in found.unlabelled:
        if table.roles.doubt:
            joined = describe_join(root, table, found)
            raise TailproofError(f"{root / table.path}: {joined or table.roles.doubt}")
    return None


def _find_tables(path: Path, label: str | None) -> tuple[Path, Tables] | None:
    """Return the folder that paths are relative to, and the tables of pictures in it."""
    if path.is_dir():
        top = survey_folder(path)
        return path, _read_tables(path, top, _tables_in(top), label)
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return None
    # Tables are next to the pictures, or in a folder next to theirs.
    folder = path.absolute().parent
    found = [
        (root, _read_tables(root, survey_folder(root), [name], label))
        for root, name in (
            (path.parent, path.name),
            (folder.parent, f"{folder.name}/{path.name}"),
        )
    ]
    return next((each for each in found if each[1].labelled), found[0])


def _tables_in(top: Surveyed) -> list[str]:
    """Return the paths of files that may be tables, those near the root first."""
    folders = [folder for folder in top.below() if folder.path.count("/") < DEEPEST - 1]
    paths = [
        f"{folder.path}/{name}" if folder.path else name
        for folder in folders
        for name in _table_names(folder.files)
    ]
    return sorted(paths, key=lambda path: (path.count("/"), path))


def _table_names(files: list[str]) -> list[str]:
    """Return the names of files that may be tables."""
    bare = [name for name in files if not PurePosixPath(name).suffix]
    return [
        name
        for name in files
        if PurePosixPath(name).suffix.lower() in ENDINGS and (name not in bare or len(bare) <= BARE)
    ]


def _read_tables(root: Path, top: Surveyed, paths: list[str], label: str | None) -> Tables:
    tables, finder = Tables(), _Places(root, top)
    lacking: dict[str, list[str]] = {}
    for path in paths[:TABLES]:
        try:
            columns, encoding, rows = _read_columns(root / path)
        except TailproofError:
            continue  # a text file that is no table
        if label is not None and label not in columns:
            lacking[path] = list(columns)
            continue
        table = _understand(path, columns, encoding, rows, finder, label)
        if table is None:
            tables.others[path] = columns
            continue
        kind = tables.unlabelled
        if table.roles.fault or table.roles.one_hot:
            kind = tables.faulty
        elif table.roles.ranks:
            kind = tables.labelled
        kind.append(table)
    if label and lacking and not (tables.labelled or tables.faulty):
        path, names = max(lacking.items(), key=lambda each: len(each[1]))
        raise TailproofError(
            f"{root / path} has no column '{label}'{suggestion(label, names)}; its columns are: "
            f"{', '.join(names)}: correct --label"
        )
    if len(paths) > TABLES:
        more = quantity(len(paths) - TABLES, "more text file was", "more text files were")
        tables.notes.append(f"{more} not examined")
    return tables


def _read_columns(file: Path) -> tuple[dict[str, Column], str | None, int]:
    """Return the columns of a table, its encoding, and the number of its rows.

    Raises:
        TailproofError: it is no table of text.
    """
    content = read_bytes(file, limit=LARGEST)
    encoding = None if marked_encoding(content) != "utf-8-sig" else find_encoding(content)
    header = TextTable(file, [], encoding).header
    names = [name for name in dict.fromkeys(header) if name and header.count(name) == 1]
    if not 2 <= len(names) <= WIDEST:
        raise TailproofError(f"{file} is not a table of pictures")
    step = max(1, content.count(b"\n") // ROWS)
    columns = {name: Column(name, []) for name in names}
    rows = 0
    with suppress(TailproofError):  # the source reports a row that cannot be read
        for row in TextTable(file, names, encoding).rows():
            if row.fault is None and (rows // BLOCK) % step == 0:
                for column, cell in zip(columns.values(), row.cells, strict=True):
                    column.cells.append(cell.strip())
            rows += 1
    return columns, encoding, rows


def _understand(
    path: str,
    columns: dict[str, Column],
    encoding: str | None,
    rows: int,
    places: "_Places",
    label: str | None,
) -> Table | None:
    placements = {
        name: placement
        for name, column in columns.items()
        if (placement := places.find(column, path)) is not None
    }
    if not placements:
        return _describe_missing(path, columns, rows, places)
    filename = max(
        placements,
        key=lambda name: (
            placements[name].share >= MOST_FOUND,
            len(columns[name].counts),
            placements[name].share,
        ),
    )
    if PurePosixPath(filename).suffix.lower() in SUFFIXES:
        if path.endswith(".txt"):  # a list
            return None
        roles = Roles(named=False, fault=f"it has no header: {NO_HEADER}")
    else:
        roles = find_roles(columns, filename, label)
    table = Table(path, encoding, columns, filename, placements[filename], roles, rows)
    if fault := _describe_folders(path, columns, filename, places):
        roles.fault = fault
    else:
        _find_boxes(places.root, table)
    return table


def _describe_folders(
    path: str, columns: dict[str, Column], filename: str, places: "_Places"
) -> str | None:
    """Return the command that joins the folder and the name of a file; None if one is enough.

    Tables of camera traps by Timelapse and camtrapR have the two in two columns.
    """
    files = columns[filename]
    if len(files.counts) == files.counts.total():
        return None
    for name, column in columns.items():
        if name == filename or not set(column.words) & {"path", "directory", "folder", "dir"}:
            continue
        pairs = list(zip(column.cells, files.cells, strict=True))
        tried = pairs[:: max(1, len(pairs) // TRIED)][:TRIED]
        joined = [f"{folder}/{file}".replace("\\", "/") for folder, file in tried]
        root = next((each for each in places.near(path) if places.all_exist(each, joined)), None)
        if root is None:
            continue
        written = new_table(places.root / root)
        code = (
            f"import pandas as p; t = {read_table_code(places.root / path, dtype='str')}; "
            f't["filename"] = t[{python_text(name)}].str.replace('
            f'"\\\\", "/") + "/" + t.pop({python_text(filename)}); '
            f"t.drop(columns={python_text(name)}).to_csv({python_text(written)}, index=False)"
        )
        return (
            f"the columns '{name}' and '{filename}' together name the pictures: join them with "
            f"{python_command(code)}, and import the result: {import_command(written)}"
        )
    return None


def _find_boxes(root: Path, table: Table) -> None:
    """Decide what several rows per picture mean: boxes, or a fault."""
    files, roles = table.columns[table.filename], table.roles
    named = files.counts.total()
    boxes = find_boxes(table.columns.values())
    if len(files.counts) > 0.95 * named:
        if boxes and roles.ranks:
            roles.notes.append(
                f"the boxes in the columns {listed(boxes.names)} are not cut out: whole pictures "
                "are read"
            )
        return
    if boxes and not boxes.corners:
        table.box = boxes.names
        roles.notes.append(
            f"boxes: the columns {listed(boxes.names)}, because several rows name one picture; "
            "each box is a sample"
        )
        return
    text = (
        f"{quantity(named, 'row')} name {quantity(len(files.counts), 'picture')}, expected one row "
        "per picture"
    )
    if boxes:
        written = new_table((root / table.path).parent)
        code = (
            f"import pandas as p; t = {read_table_code(root / table.path)}; {boxes.conversion}; "
            f"t.to_csv({python_text(written)}, index=False)"
        )
        roles.fault = roles.fault or (
            f"{text}, or the left edge, top edge, width and height of a box in each row: write "
            f"these with {python_command(code)}, and import the result: {import_command(written)}"
        )
        return
    roles.fault = roles.fault or (
        f"{text}: if a picture has several labels, keep the one that matters; if each row is a "
        "box, name the columns of its left edge, top edge, width and height x, y, w and h"
    )


def _describe_missing(
    path: str, columns: dict[str, Column], rows: int, places: "_Places"
) -> Table | None:
    """Return a table whose pictures are not where it says; None if it names no pictures."""
    for name, column in columns.items():
        cells = list(column.counts)[:TRIED]
        if fault := _describe_folders(path, columns, name, places):
            roles = Roles(named=False, fault=fault)
            return Table(path, None, columns, name, Placement(".", 0.0), roles, rows)
        named = [cell for cell in cells if PurePosixPath(cell).suffix.lower() in SUFFIXES]
        if 2 * len(named) <= len(cells) or path.endswith(".txt"):
            continue
        fault = (
            f"the column '{name}' names pictures that do not exist here, such as '{named[0]}': add "
            "the pictures, or correct the paths, relative to this folder, and import again"
        )
        if prefix := places.find_prefix(named):
            table = shlex.quote(str(places.root / path))
            written = shlex.quote(str(new_table(places.root)))
            fault = (
                f"the paths in the column '{name}' begin with '{prefix}', which is not here: write "
                f"them without it with `sed 's|{prefix}||' {table} > {written}`, and import it: "
                f"`tailproof import {written}`"
            )
        roles = Roles(named=False, fault=fault)
        return Table(path, None, columns, name, Placement(".", 0.0), roles, rows)
    return None


class _Places:
    """The folders in which the pictures of a table are looked for."""

    def __init__(self, root: Path, top: Surveyed) -> None:
        self.root = root
        self._finder = FileFinder(root)
        folders = top.below()
        self._folders = [folder.path for folder in folders if folder.names or folder.pictures]
        self._folders.sort(key=lambda path: (path.count("/"), path))
        self._stems = {
            PurePosixPath(name).stem.casefold() for folder in folders for name in folder.pictures
        }

    def find(self, column: Column, table: str) -> Placement | None:
        """Return where the files of a column are; None if most are nowhere."""
        values = list(column.counts)
        cells = values[:: max(1, len(values) // TRIED)][:TRIED]
        if not cells or any(len(cell) > 1000 or ".." in cell for cell in cells):
            return None
        nearest = PurePosixPath(table).parent.as_posix()
        stem = PurePosixPath(table).stem
        kind = split_kinds([stem], files=True)[stem]
        folders = dict.fromkeys([nearest.removeprefix("."), *self._folders[:PLACES]])
        best = Placement("", 0.0)
        rank: tuple = ()
        for folder in folders:
            if not self._exists(folder, cells[0]) and not self._exists(folder, cells[-1]):
                continue
            share = sum(self._exists(folder, cell) for cell in cells) / len(cells)
            kinds = {split_kind(part) for part in folder.split("/")}
            fits = kind in kinds if kind else not kinds & {"val", "test"}
            order = (share >= MOST_FOUND, fits, share)
            if order > rank:
                best, rank = Placement(folder or ".", share), order
        if best.share < MOST_FOUND:
            self._look_below(cells, best)
        return best if best.share >= FEW_FOUND else None

    def near(self, table: str) -> list[str]:
        """Return the folder of a table, the root and its folders, relative to the root."""
        nearest = PurePosixPath(table).parent.as_posix().removeprefix(".")
        top = [folder for folder in self._folders if "/" not in folder]
        return list(dict.fromkeys([nearest, "", *top]))

    def all_exist(self, folder: str, paths: list[str]) -> bool:
        """Return whether all these are pictures in a folder."""
        return bool(paths) and all(
            ".." not in path and self._exists(folder, path) for path in paths
        )

    def find_prefix(self, cells: list[str]) -> str | None:
        """Return what all paths begin with, if the rest of each is the path of a picture."""
        known = [cell for cell in cells if PurePosixPath(cell).stem.casefold() in self._stems]
        if len(known) < len(cells):
            return None
        paths = [self._find_end(cell) for cell in cells]
        prefixes = {
            cell[: len(cell) - len(_common_end(cell, path))] if path is not None else None
            for cell, path in zip(cells, paths, strict=True)
        }
        prefix = prefixes.pop()
        usable = not prefixes and prefix and re.fullmatch(r"[\w./: -]+", prefix)
        return prefix if usable else None

    def _find_end(self, cell: str) -> str | None:
        """Return the only picture whose path has an end in common with this one, the longest."""
        parts = cell.split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        matches = (self._finder.find_below(".", end) for end in ends if end)
        return next((match.path for match in matches if match.path or match.near), None)

    def _exists(self, folder: str, cell: str) -> bool:
        if not cell or cell in EMPTY:
            return False
        path = self._finder.find(normpath(f"{folder}/{cell}" if folder else cell)).path
        return path is not None and PurePosixPath(path).suffix.lower() in SUFFIXES

    def _look_below(self, cells: list[str], best: Placement) -> None:
        """Look for the files by name in all folders, if some of the names are known there."""
        names = [PurePosixPath(cell.replace("\\", "/")).name.casefold() for cell in cells]
        known = sum(
            name in self._stems or PurePosixPath(name).stem in self._stems for name in names
        )
        if not known:
            return
        paths = [self._finder.find_below(".", cell).path for cell in cells]
        share = sum(path is not None for path in paths) / len(cells)
        if share > best.share:
            parts = [PurePosixPath(path).parts[:-1] for path in paths if path is not None]
            common = _common(parts)
            best.images, best.share, best.subfolders = "/".join(common) or ".", share, True


def _common_end(first: str, second: str) -> str:
    """Return the longest end that two paths have in common, in whole names."""
    pairs = zip(reversed(first.split("/")), reversed(second.split("/")), strict=False)
    return "/".join(reversed([one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]))


def _common(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the first folders that all paths have in common."""
    shortest, longest = min(parts), max(parts)
    length = 0
    while length < min(len(shortest), len(longest)) and shortest[length] == longest[length]:
        length += 1
    return shortest[:length]


def _choose(root: Path, tables: Tables) -> Recognition:
    """Return the recognition of the tables of official splits, or else of the best table."""
    labelled = sorted(
        tables.labelled, key=lambda table: (not table.roles.named, -table.rows, table.path)
    )
    pools = _find_pools(labelled)
    chosen = pools["train"] if pools else labelled[0]
    if not pools:
        kinds = split_kinds([table.stem for table in labelled], files=True)
        trains = [table for table in labelled if kinds[table.stem] == "train"]
        chosen = trains[0] if trains and not chosen.roles.split else chosen
    used = list(pools.values()) or [chosen]
    source = _source(root, chosen, pools)
    notes = [
        f"file names: the column '{chosen.filename}'{_where(chosen)}",
        *chosen.roles.notes,
        *_notes_of_others(tables, used),
    ]
    doubts = list(chosen.roles.doubts)
    if not pools and not chosen.roles.split:
        doubts += _describe_lists(root, chosen)
    if chosen.encoding:
        doubts.append(
            f"{chosen.path} is not UTF-8, so it is read as {chosen.encoding}: check its accented "
            "letters"
        )
    paths = [table.path for table in used]
    reason = (
        f"{listed(paths)} in {root} {'lists' if len(paths) == 1 else 'list'} "
        f"{quantity(sum(table.rows for table in used), 'row')} with the names of pictures and "
        "their labels"
    )
    return Recognition(
        source,
        reason,
        chosen.roles.named,
        tuple(notes),
        tuple(doubts),
        tuple(chosen.roles.group_notes),
    )


def _describe_lists(root: Path, table: Table) -> Iterator[str]:
    """Yield a sentence if lists of official splits may be next to a table."""
    folder = PurePosixPath(table.path).parent
    lists = {kind: folder / path.name for path in sorted((root / folder).glob("*.txt"))
             if (kind := split_kind(path.stem))}  # fmt: skip
    if {"train", "test"} <= lists.keys():
        fields = ", ".join(f"{kind}: {path}" for kind, path in lists.items())
        yield (
            f"{lists['train']} and {lists['test']} may list official splits, which are not used; "
            f"to use these, add to data.source: lists: {{{fields}}}"
        )


def _find_pools(labelled: list[Table]) -> dict[str, Table]:
    """Return the tables of the official splits by their field; empty if there are none."""
    kinds = split_kinds([table.stem for table in labelled], files=True)
    trains = [table for table in labelled if kinds[table.stem] == "train"]
    if not trains:
        return {}
    train = trains[0]
    roles = train.roles
    columns = [train.filename, roles.group, *roles.ranks]
    pools = {"train": train}
    for kind in ("val", "test"):
        fitting = [
            table
            for table in labelled
            if kinds[table.stem] == kind and table is not train and table.has(columns)
        ]
        if fitting:
            near = [table for table in fitting if _plain(table.stem) == _plain(train.stem)]
            pools[kind] = (near or fitting)[0]
    if "test" not in pools and "val" in pools:
        pools["test"] = pools.pop("val")
        roles.notes.append(
            f"{pools['test'].path} serves as the test set, because there is no other one"
        )
    if len(pools) == 1 or roles.split is not None:
        return {}
    return pools


def _plain(stem: str) -> str:
    """Return the name of a table without the words for splits."""
    return "".join(word for word in stem.replace("_", "-").split("-") if not split_kind(word))


def _source(root: Path, table: Table, pools: dict[str, Table]) -> dict[str, Any]:
    roles = table.roles
    source: dict[str, Any] = {"name": "metadata_csv", "root": str(root)}
    if pools:
        for kind in ("train", "val", "test"):
            if kind in pools:
                images = pools[kind].placement.images
                source[kind] = {"table": pools[kind].path, "images": images}
    else:
        source["table"] = table.path
        if table.placement.images != ".":
            source["images"] = table.placement.images
    source["filename"] = table.filename
    source["ranks"] = roles.ranks
    source["group"] = roles.group
    if any(each.placement.subfolders for each in [table, *pools.values()]):
        source["subfolders"] = True
    if roles.split and not pools:
        source["split"] = roles.split
    if table.box and not pools:
        source["box"] = table.box
    if roles.missing:
        source["missing"] = roles.missing
    if table.encoding:
        source["encoding"] = table.encoding
    return source


def _where(table: Table) -> str:
    place = table.placement
    folder = "the folder itself" if place.images == "." else place.images
    return f", whose files are in {'folders below ' if place.subfolders else ''}{folder}"


def _notes_of_others(tables: Tables, used: list[Table]) -> Iterator[str]:
    for table in tables.unlabelled:
        yield f"{table.path} lists pictures without labels: left out"
    for table in tables.faulty:
        why = table.roles.fault or "it has a column of 0 and 1 for each class"
        yield f"{table.path} lists pictures too: left out, because {why}"
    for table in tables.labelled:
        if table not in used:
            yield (
                f"{table.path} lists {quantity(table.rows, 'row')} too, with the label "
                f"'{table.roles.ranks[-1]}': not used; to use it instead, import it by its path"
            )
    yield from tables.notes
