"""Looks at the first samples of a tar, to see where their images and labels are."""

from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.archives.tar_members import Tar
from tailproof.data.sources.archives.tar_samples import LARGEST_LABEL, NAME, is_json
from tailproof.data.sources.tables.column_roles import Column
from tailproof.files import parse_json

MEMBERS = 1000


@dataclass(frozen=True)
class TarHead:
    """Where the samples of a tar have what.

    Attributes:
        files: the suffixes of a sample, for a sentence.
        images: the suffixes of pictures, if a sample has several.
        label: where the label is, as in `TarSamples`; empty if nowhere.
        sure: whether there is no other choice.
    """

    files: str
    images: list[str]
    label: str
    sure: bool


def head_of(folder: Path, name: str) -> TarHead | None:
    """Return what the first samples of a tar consist of; None if they have no picture.

    Raises:
        TailproofError: the tar cannot be read.
    """
    suffixes: Counter[str] = Counter()
    pictures: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, list[str]] = defaultdict(list)
    with closing(Tar(folder / name)) as tar:
        for member in islice(tar.members(), MEMBERS):
            match = NAME.fullmatch(member.name) if member.isreg() else None
            if match is None:
                continue
            key, suffix = match[1], match[2].lower()
            suffixes[suffix] += 1
            if f".{suffix.rpartition('.')[2]}" in SUFFIXES:
                pictures[key].append(suffix)
            elif member.size <= LARGEST_LABEL and (suffix in ("cls", "txt") or is_json(suffix)):
                texts[suffix].append(tar.content(member, LARGEST_LABEL).decode(errors="replace"))
    if not pictures:
        return None
    several = max(pictures.values(), key=len)
    label, sure = _label_place(texts)
    files = " and ".join(f"KEY.{suffix}" for suffix, _ in suffixes.most_common(4))
    images = sorted(several, key=_distance_from_input) if len(several) > 1 else []
    return TarHead(files, images, label, sure and not images)


def _distance_from_input(suffix: str) -> tuple[bool, bool]:
    first = suffix.partition(".")[0]
    return first not in ("input", "image", "img"), "." in suffix


def _label_place(texts: dict[str, list[str]]) -> tuple[str, bool]:
    """Return the likely place of the label, and whether there is no other one."""
    if "cls" in texts:
        return "cls", True
    keys = [place for suffix in texts if is_json(suffix) for place in _keys(suffix, texts[suffix])]
    if keys:
        return keys[0], len(keys) == 1
    words = [text.strip() for text in texts.get("txt", ())]
    if words and len(set(words)) <= max(1, len(words) // 2) and "\n" not in "".join(words):
        return "txt", False
    return "", False


def _keys(suffix: str, texts: list[str]) -> list[str]:
    """Return the usual names of labels that every JSON text has with text or a whole number."""
    try:
        documents = [parse_json(text, nan=True) for text in texts]
    except ValueError:
        return []
    if not all(isinstance(document, dict) for document in documents):
        return []
    keys = [Column(key, [str(document.get(key)) for document in documents]) for key in documents[0]]
    labels = [
        key
        for key in keys
        if key.label_place is not None
        and all(isinstance(document.get(key.name), str | int) for document in documents)
    ]
    labels.sort(key=lambda key: (key.label_place, key.name))
    return [f"{suffix}:{key.name}" for key in labels]
