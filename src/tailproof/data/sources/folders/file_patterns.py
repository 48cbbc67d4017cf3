"""Finds the files that a configuration names by patterns such as ``train-{000..012}.tar``."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice, product, takewhile
from os.path import commonpath
from pathlib import Path, PurePosixPath

import yaml

from tailproof.data.sources.folders.filesystem import Folder, walk
from tailproof.data.sources.folders.split_keywords import split_of
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed

MOST = 100_000  # files that braces may name
POOLS = {"train": "train", "val": "validation", "test": "test"}
"""The split of Hugging Face that each field of a source names."""
BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERED = re.compile(r"(.*?)(\d{1,9})(-of-\d{1,9}\D*|\D*)")
RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")


def expand_braces(pattern: str) -> list[str]:
    """Return what a shell makes of ``{a,b}`` and ``{00..12}``, in its order.

    Raises:
        ValueError: the braces name more than `MOST` files.
    """
    parts = BRACES.split(pattern)
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    count = 1
    for names in choices:
        count *= len(names)
    if count > MOST:
        raise ValueError(f"'{pattern}' names {count:,} files, expected at most {MOST:,}")
    return ["".join(names) for names in product(*choices)]


def find_files(root: Path, pattern: str, suffix: str) -> list[str]:
    """Return the files below root that a pattern names, in a folder or by themselves.

    Args:
        root: the folder.
        pattern: a file, a folder, a glob pattern, or several of them in braces.
        suffix: the suffix of the files that count in a folder or for a glob pattern.

    Raises:
        TailproofError: a file does not exist, or a folder or a glob pattern has no file.
    """
    paths = []
    missing: dict[str, list[str]] = {}
    try:
        names = expand_braces(pattern)
        for name in names:
            place = root / name
            kind = "absent"
            if place.is_dir():
                kind = "empty"
                files = sorted(
                    file.relative_to(root).as_posix()
                    for file in walk(place)
                    if file.suffix == suffix
                )
            elif place.exists():
                files = [PurePosixPath(name).as_posix()]
            else:
                kind = "unmatched" if re.search(r"[*?\[]", name) else "absent"
                files = sorted(
                    file.relative_to(root).as_posix()
                    for file in root.glob(name)
                    if file.suffix == suffix
                )
            paths += files
            if not files:
                missing.setdefault(kind, []).append(f"'{name}'")
    except OSError as error:
        raise unreadable(error.filename, error) from None
    except (ValueError, NotImplementedError) as error:
        raise TailproofError(
            f"{root / pattern} is not a valid pattern ({error}): correct data.source"
        ) from None
    if missing:
        raise TailproofError(
            f"{root}: {_describe_missing(missing, len(names), suffix)}: add the files, or correct "
            "data.source"
        )
    return paths


def _describe_missing(names: Mapping[str, list[str]], count: int, suffix: str) -> str:
    """Return which of several names have no file.

    Args:
        names: names of files that are absent, folders that are empty, and unmatched glob patterns.
        count: the number of all names.
        suffix: the suffix of the files.
    """
    clauses = []
    if absent := names.get("absent"):
        shown, verb = listed(absent), "does" if len(absent) == 1 else "do"
        subject = shown if count == 1 else f"{len(absent)} of {count} files ({shown})"
        clauses.append(f"{subject} {verb} not exist")
    if empty := names.get("empty"):
        clauses.append(f"no {suffix} file is in {listed(empty)}")
    if unmatched := names.get("unmatched"):
        clauses.append(f"no {suffix} file matches {listed(unmatched)}")
    return "; ".join(clauses)


def path_pattern(pattern: str) -> re.Pattern[str]:
    """Return what matches the paths that a pattern names, or that are in the folder it names.

    ``*`` and ``?`` match within a name, ``**`` across folders.

    Raises:
        ValueError: the braces name too many files.
    """
    return re.compile("|".join(map(_translated, expand_braces(pattern))), re.DOTALL)


def _translated(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", PurePosixPath(pattern).as_posix())
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(
        signs.get(part) or (part.replace("[!", "[^") if part[0] == "[" else re.escape(part))
        for part in parts
        if part
    )
    return f"(?:{regex}(?:/.*)?)"


def first_files(folder: Path, most: int = 1000) -> list[Path]:
    """Return a few of the files below a folder, which say of what kind it is."""
    try:
        return list(islice(walk(folder), most))
    except OSError:
        return []


def first_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; none if it cannot be read."""
    try:
        return list(Folder(folder).entries()[0])
    except OSError:
        return []


def shortest_pattern(chosen: list[str], files: list[str]) -> str | list[str]:
    """Return a folder or a glob pattern that names some files and no others, or else the files.

    Args:
        chosen: paths of files with the same suffix.
        files: all paths, including `chosen`.
    """
    others = set(files) - set(chosen)
    above = commonpath([path.rpartition("/")[0] for path in chosen])
    if above and not any(path.startswith(f"{above}/") for path in others):
        return above
    if len(chosen) == 1:
        return chosen[0]
    start = _common_start(chosen).rstrip("0123456789")
    end = _common_start([path[::-1] for path in chosen])[::-1].lstrip("0123456789")
    pattern = f"{start}*{end}"
    fits = re.compile(f"{re.escape(start)}[^/]*{re.escape(end)}")
    magic = re.search(r"[*?\[\]{}]", start + end)
    if magic or any(map(fits.fullmatch, others)) or not all(map(fits.fullmatch, chosen)):
        return chosen
    return pattern


def pools_by_keyword(paths: list[str]) -> dict[str, str | list[str]]:
    """Return the pattern of each pool, if the paths name several splits.

    Returns:
        For ``train``, ``val`` and ``test`` the pattern of its files; empty if the paths name no
        training split or no other one. The only other split is for testing.
    """
    splits: dict[str, list[str]] = {}
    for path in paths:
        if split := split_of(path):
            splits.setdefault(split, []).append(path)
    if "train" not in splits or len(splits) == 1:
        return {}
    pools = {
        pool: shortest_pattern(splits[split], paths)
        for pool, split in POOLS.items()
        if split in splits
    }
    if "test" not in pools:
        pools["test"] = pools.pop("val")
    return pools


def source_line(source: str, root: str, pools: Mapping[str, str | list[str]]) -> str:
    """Return the line of an experiment that names a source and its pools."""
    value = {"data": {"source": {"name": source, "root": root, **pools}}}
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20
    )
    return f"`{text.strip()[1:-1]}`"


def _common_start(texts: list[str]) -> str:
    pairs = zip(min(texts), max(texts), strict=False)
    return "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _choices(text: str) -> list[str]:
    """Return what a pair of braces stands for."""
    if match := RANGE.fullmatch(text):
        first, last = map(int, match.groups())
        step = 1 if first <= last else -1
        if abs(last - first) >= MOST:
            raise ValueError(f"'{{{text}}}' names more than {MOST:,} files")
        padded = any(len(digits) > 1 and digits[0] == "0" for digits in match.groups())
        width = max(map(len, match.groups())) if padded else 0
        return [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return text.split(",") if "," in text else [f"{{{text}}}"]


def missing_numbers(names: list[str]) -> Iterator[str]:
    """Yield the names that are missing among numbered files, such as ``x-3.tar`` of ``x-0.tar`` on.

    Args:
        names: paths. Those with the same text around their number are one series, which ends with
            the largest number, or with that after ``-of-``.
    """
    series: dict[tuple[str, str, int], set[int]] = {}
    for name in names:
        if match := NUMBERED.fullmatch(name):
            series.setdefault((match[1], match[3], len(match[2])), set()).add(int(match[2]))
    for (before, after, width), present in series.items():
        total = re.match(r"-of-(\d+)", after)
        first, end = (0, int(total[1])) if total else (min(present), max(present))
        serial = end < MOST if total else end - first < 2 * len(present)
        if serial:
            for number in sorted(set(range(first, end)) - present):
                yield f"{before}{number:0{width}d}{after}"
