"""Finds the lists of official splits next to class folders, and says how to keep them."""

import json
import re
from itertools import islice
from pathlib import Path, PurePosixPath

from tailproof.data.sources.advised_commands import import_command, python_command, python_text
from tailproof.data.sources.folders.folder_layout import new_table, quoted
from tailproof.data.sources.folders.folder_survey import Surveyed, split_kinds
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular

LINES = 50  # lines that are looked at
LONGEST = 2**12  # characters of a line
MOST = 0.8  # share of the lines that names pictures
ENDINGS = (".txt", ".lst", ".list")


def describe_official_lists(root: Path, top: Surveyed) -> tuple[list[str], str] | None:
    """Return the lists of official splits, and what writes them into a table of labels.

    Two kinds are known: a file for each set with the pictures of it (Food-101), and a file that
    says by number which of the numbered pictures are of the training set (CUB-200).

    Args:
        root: a folder with class folders.
        top: what is in it.
    """
    pictures = {
        f"{folder.name}/{PurePosixPath(name).stem}"
        for folder in top.below()
        for name in folder.pictures
    }
    lists = [
        f"{folder.path}/{name}".removeprefix("/")
        for folder in top.below()
        for name in folder.files
        if PurePosixPath(name).suffix.lower() in ENDINGS
    ]
    heads = {path: lines for path in lists if (lines := _head(root / path))}
    found = _find_sets(heads, pictures) or _find_numbered(heads, pictures)
    if found is None:
        return None
    files, code = found
    written = new_table(root)
    start = f"import pandas as p; d = {python_text(f'{root}/')}"
    code = f"{start}; {code}; t.to_csv({python_text(written)}, index=False)"
    return files, (
        f"{quoted(files)} list official sets: they are not read here; to keep "
        f"them, write a table with {python_command(code)}, and import it: {import_command(written)}"
    )


def _find_sets(heads: dict[str, list[str]], pictures: set[str]) -> tuple[list[str], str] | None:
    """Return the files with the pictures of each set, and the code that reads them."""
    named = [path for path, lines in heads.items() if _share(lines, pictures) >= MOST]
    kinds = split_kinds([PurePosixPath(path).stem for path in named], files=True)
    sets: dict[str, str] = {}
    for path in sorted(named, key=lambda path: (len(path), path)):
        kind = kinds[PurePosixPath(path).stem]
        if kind:
            sets.setdefault(kind, path)
    if "test" not in sets and "val" in sets:
        sets["test"] = sets.pop("val")
    if not {"train", "test"} <= sets.keys():
        return None
    sets = {kind: sets[kind] for kind in ("train", "val", "test") if kind in sets}
    pairs = json.dumps([[path, kind] for kind, path in sets.items()])
    code = (
        f"t = p.DataFrame([(l.strip(), s) for f, s in {pairs} for l in open(d + f) if l.strip()], "
        'columns=["filename", "split"]); t["label"] = t["filename"].str.split("/").str[-2]'
    )
    return list(sets.values()), code


def _find_numbered(heads: dict[str, list[str]], pictures: set[str]) -> tuple[list[str], str] | None:
    """Return the files with numbered pictures and with their sets, and the code that joins them."""
    names = [
        path
        for path, lines in heads.items()
        if _share([line.partition(" ")[2] for line in lines], pictures) >= MOST
    ]
    splits = [
        path
        for path, lines in heads.items()
        if re.search("train.*test", PurePosixPath(path).stem, re.IGNORECASE)
        and all(re.fullmatch(r"\S+ [01]", line) for line in lines)
    ]
    if not (names and splits):
        return None
    read = 'p.read_csv(d + {}, sep=" ", header=None, names=["id", {}], dtype=str)'
    code = (
        f"t = {read.format(python_text(names[0]), python_text('filename'))}"
        f".merge({read.format(python_text(splits[0]), python_text('split'))}); "
        't["split"] = t["split"].map({"1": "train", "0": "test"}); '
        't["label"] = t["filename"].str.split("/").str[-2]'
    )
    return [names[0], splits[0]], code


def _share(lines: list[str], pictures: set[str]) -> float:
    """Return the share of lines that are the path of a picture, perhaps without its suffix.

    Lines of folders that were not looked at do not count.
    """
    folders = {picture.partition("/")[0] for picture in pictures}
    keys = ["/".join(PurePosixPath(line).parts[-2:]) for line in lines]
    seen = [key for key in keys if key.partition("/")[0] in folders]
    known = sum(key in pictures or key.rpartition(".")[0] in pictures for key in seen)
    return known / max(len(seen), 1)


def _head(file: Path) -> list[str]:
    """Return the first lines of a text file that are not blank; none if it cannot be read."""
    try:
        with open_regular(file) as content:
            raw = b"".join(content.readline(LONGEST) for _ in range(LINES))
        lines = raw.decode().splitlines()
    except (TailproofError, UnicodeDecodeError):
        return []
    return [line.strip() for line in islice(lines, LINES) if line.strip()]
