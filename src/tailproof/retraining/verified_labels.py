"""The table of labels that a person verified, and what it changes in the labels of a split."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tailproof.data.sources.folders.class_names import same_names
from tailproof.data.sources.tables.text_table import read_text_of_tables
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_json
from tailproof.untrusted_text import is_encodable, plain_cell, printable

SAMPLE, VERIFIED = "sample_id", "verified"

LABELS = (VERIFIED, "label")
"""Columns of the label; the first one that exists. Label Studio's export has both, and there
`label` is the given one."""


class Labelled(Protocol):
    """A split with its labels; see `tailproof.features.store.FeatureSplit`."""

    manifest: dict[str, Any]
    sample_ids: list[str]
    labels: dict[str, np.ndarray]


class VerifiedLabels(NamedTuple):
    """The content of a table of verified labels.

    Attributes:
        classes: name of the class by sample.
        unlabelled: number of rows without a label.
    """

    classes: dict[str, str]
    unlabelled: int

    @classmethod
    def read(cls, path: str | Path) -> "VerifiedLabels":
        """Read a CSV table with the columns `sample_id`, and `verified` or else `label`.

        A file whose name ends in .json is Label Studio's export, as JSON or JSON-MIN.

        Raises:
            TailproofError: the file is no such table, has no label, or has two for one sample.
        """
        header, rows = _read_json(path) if Path(path).suffix == ".json" else _read_rows(path)
        label = next((name for name in LABELS if name in header), None)
        if SAMPLE not in header or label is None:
            missing = SAMPLE if SAMPLE not in header else LABELS[1]
            raise TailproofError(
                f"{path} has no column '{missing}'{suggestion(missing, header)}, expected the "
                f"columns sample_id and label; its columns are {listed(header)}: rename a column"
            )
        at_sample, at_label = header.index(SAMPLE), header.index(label)
        classes: dict[str, str] = {}
        unlabelled, twice = 0, []
        for row in rows:
            sample, name = row[at_sample], row[at_label]
            if not name:
                unlabelled += 1
            elif classes.setdefault(sample, name) != name:
                twice.append(f"{sample} ('{classes[sample]}', '{name}')")
        if twice:
            raise TailproofError(
                f"{path} has different labels for {quantity(len(twice), 'sample')}, expected one "
                f"each: {listed(twice)}: keep the right row"
            )
        if bad := [name for name in classes.values() if not is_encodable(name)]:
            raise TailproofError(
                f"{path} has the label '{printable(bad[0])}', which is not text: correct it"
            )
        if not classes:
            raise TailproofError(
                f"{path} has no label in the column '{label}' ({quantity(len(rows), 'row')}): "
                "write the right class of each sample that you checked, in Label Studio with "
                f'Choices of the name "{VERIFIED}"'
            )
        return cls(classes, unlabelled)

    def indices(self, path: str | Path, names: list[str]) -> dict[str, int]:
        """Return the class index by sample.

        Args:
            path: the table, for messages.
            names: the classes that the expert knows, in their order.

        Raises:
            TailproofError: a label is none of them.
        """
        index = {name: number for number, name in enumerate(names)}
        same = same_names(self.classes.values(), names)
        unknown = sorted(name for name, own in same.items() if own is None)
        if unknown:
            shown = [f"'{name}'{suggestion(name, names)}" for name in unknown]
            raise TailproofError(
                f"{path} has labels that are not classes of the expert, {listed(shown)}, expected "
                f"those of its {quantity(len(names), 'class', 'classes')}: correct them; a new "
                "class needs a new run of the experiment"
            )
        return {sample: index[same[name] or name] for sample, name in self.classes.items()}


class Correction(NamedTuple):
    """What verified labels are to a split.

    Attributes:
        verified: number of samples with a verified label.
        changed: number of those whose given label was another one.
    """

    verified: int
    changed: int


def correct_labels(split: Labelled, verified: Mapping[str, int]) -> Correction:
    """Replace the given labels of a split by the verified ones.

    Where the target changes, labels of the ranks above follow from it, and those of finer ranks
    are removed.

    Args:
        split: the split, which is changed.
        verified: class index at the target rank, by sample.
    """
    manifest, target = split.manifest, split.manifest["target"]
    rows = np.array([row for row, name in enumerate(split.sample_ids) if name in verified], int)
    classes = np.array([verified[split.sample_ids[row]] for row in rows], int)
    changed = classes != split.labels[target][rows]
    rows, classes = rows[changed], classes[changed]
    unknown = [None] * len(manifest["classes"][target])
    for rank, labels in split.labels.items():
        if rank == target:
            labels[rows] = classes
        else:
            parents = manifest["ancestors"][target].get(rank, unknown)
            labels[rows] = np.array([-1 if one is None else one for one in parents])[classes]
    return Correction(len(changed), int(changed.sum()))


def _read_json(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """Return the samples and answers of Label Studio's export; a task without one has an empty one.

    In JSON each task holds its annotations, in JSON-MIN it is flat and each annotation is a task.
    """
    wrong = TailproofError(
        f"{path} is not an export of Label Studio, expected a list of tasks whose data have a "
        f"{SAMPLE}: export the project as JSON, JSON-MIN or CSV"
    )
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise wrong
    rows = []
    for task in tasks:
        data = task.get("data", task)
        sample = data.get(SAMPLE) if isinstance(data, dict) else None
        if not isinstance(sample, str | int):  # Label Studio reads digits as a number
            raise wrong
        given = _annotated(task) if "data" in task else [task.get(VERIFIED)]
        names = [name for name in given if isinstance(name, str)]
        rows += [[plain_cell(str(sample)), plain_cell(name)] for name in names or [""]]
    if not rows:
        raise wrong
    return [SAMPLE, VERIFIED], rows


def _annotated(task: dict[str, Any]) -> list[Any]:
    """Return the choices of each annotation of a task that was not skipped."""
    try:
        return [
            choice
            for annotation in task.get("annotations", [])
            if not annotation.get("was_cancelled")
            for result in annotation["result"]
            if result.get("from_name") == VERIFIED  # relations have none
            for choice in result["value"]["choices"]
        ]
    except (AttributeError, KeyError, TypeError):
        return []


def _read_rows(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table that a spreadsheet may have written."""
    text = read_text_of_tables(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        table = [[plain_cell(cell) for cell in row] for row in lines if any(row)]
    except csv.Error as error:
        raise TailproofError(
            f"{path} is not a CSV table ({error}): look for a quote that is not closed"
        ) from None
    if len(table) < 2:
        raise TailproofError(
            f"{path} has no rows, expected the columns sample_id and label and a row for each "
            "verified label"
        )
    header, *rows = table
    wrong = [f"{number:,}" for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if wrong:
        raise TailproofError(
            f"{path} has {quantity(len(wrong), 'row')} with another number of cells than the "
            f"header, which has {len(header)}: correct the rows {listed(wrong)} after the header"
        )
    return header, rows
