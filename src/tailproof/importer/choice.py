"""Asks every source what it takes a path for, and chooses the most specific one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tailproof.data.sources import SOURCES
from tailproof.data.sources.base import Recognition, Source
from tailproof.data.sources.metadata_csv import MetadataCsvSource
from tailproof.importer.annotation_files import describe_annotations
from tailproof.importer.unrecognized import (
    describe_archives,
    describe_unrecognized,
)
from tailproof.runtime.errors import TailproofError, unknown_name

GENERAL = ("image_list", "metadata_csv", "image_folder")
"""Sources that read much of what people have, the least general first; all others come before."""


@dataclass(frozen=True)
class Choice:
    """What a path is taken for.

    Attributes:
        recognition: the chosen one.
        others: other recognitions, the most specific first.
        refusals: why more specific sources cannot read the path.
    """

    recognition: Recognition
    others: list[Recognition]
    refusals: list[str]

    @property
    def name(self) -> str:
        """The name of the chosen source."""
        return self.recognition.source["name"]


def choose_source(path: Path, wanted: str | None = None, label: str | None = None) -> Choice:
    """Return what a path is taken for.

    A source that is sure comes before one that is not, and a more specific one before a more
    general one: a format, a list or a table says more of each picture than a folder.

    Args:
        path: a file or folder.
        wanted: the name of the source that the user chose.
        label: the column of labels that the user chose.

    Raises:
        TailproofError: no source reads the path, or not as it is.
    """
    if wanted is not None and wanted not in SOURCES:
        raise unknown_name("source", wanted, SOURCES)
    if label is not None and (wanted or "metadata_csv") != "metadata_csv":
        raise TailproofError(
            f"--label is for the source metadata_csv, but --as is {wanted}: remove one of them"
        )
    recognitions: list[Recognition] = []
    refusals: dict[str, str] = {}
    for name, source in _candidates(wanted, label).items():
        try:
            recognition = _ask(source, path, label)
        except TailproofError as error:
            refusals[name] = str(error)
            continue
        if recognition is not None:
            recognitions.append(recognition)
    recognitions.sort(key=lambda each: (not each.sure, _generality(each.source["name"])))
    if not recognitions:
        raise TailproofError(_describe_refusal(path, wanted, refusals))
    first, *others = recognitions
    stronger = [name for name in refusals if _generality(name) < _generality(first.source["name"])]
    stronger.sort(key=_generality)
    if stronger and not first.sure:
        raise TailproofError(refusals[stronger[0]])
    return Choice(first, others, [refusals[name] for name in stronger])


def _describe_refusal(path: Path, wanted: str | None, refusals: Mapping[str, str]) -> str:
    if annotations := describe_annotations(path):
        return annotations
    if not refusals:
        return describe_unrecognized(path, wanted)
    reason, packed = refusals[min(refusals, key=_generality)], describe_archives(path)
    return f"{reason}; {packed}" if packed else reason


def _candidates(wanted: str | None, label: str | None) -> dict[str, type[Source]]:
    """Return the sources to ask by one of their names, each once."""
    if label is not None:
        return {"metadata_csv": MetadataCsvSource}
    if wanted is not None:
        return {wanted: SOURCES[wanted]}
    names: dict[type[Source], str] = {}
    for name, source in SOURCES.items():
        names.setdefault(source, name)
    return {name: source for source, name in names.items()}


def _ask(source: type[Source], path: Path, label: str | None) -> Recognition | None:
    if source is MetadataCsvSource:
        return source.recognize(path, label)
    return source.recognize(path)


def _generality(name: str) -> int:
    return GENERAL.index(name) + 1 if name in GENERAL else 0
