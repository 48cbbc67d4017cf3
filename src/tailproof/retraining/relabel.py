"""`tailproof relabel`: a table of all labels, where the verified ones replace the given."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tailproof.config.validation import load_experiment
from tailproof.files import read_json, write_text
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.retraining.verified_labels import VerifiedLabels
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed, quantity

FILE = "file"

OFFICIAL = {"train": "train", "val": "val", "held_out": "test"}
"""What a table calls the pools of a source with a test set."""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels that was written.

    Attributes:
        path: its file.
        images: its rows.
        verified: rows whose label a person verified.
        changed: rows whose label was another one before.
        added: new images, which had no row before.
        unlabelled: answers without a label.
        unknown: answers about images that do not exist.
        classes: classes that the experiment does not have, with near ones.
        source: the keys of the source that read the table.
    """

    path: str
    images: int
    verified: int
    changed: int
    added: int
    unlabelled: int
    unknown: list[str]
    classes: list[str]
    source: dict[str, Any]

    def summary(self) -> Iterator[str]:
        """Yield the lines that say what is in the table."""
        yield (
            f"{quantity(self.images, 'image')} in {self.path}: {self.verified:,} verified, "
            f"{self.changed:,} of them changed, {self.added:,} new"
        )
        passed_over = {
            f"{self.unlabelled:,} without a label": self.unlabelled,
            f"{len(self.unknown):,} of images that are neither in the experiment nor below the "
            f"root of its source ({listed(self.unknown)})": len(self.unknown),
        }
        if shown := [text for text, count in passed_over.items() if count]:
            yield f"skipped: {'; '.join(shown)}"
        if self.classes:
            yield f"new classes, unless they are misspelled: {listed(self.classes)}"
        source = yaml.safe_dump(self.source, default_flow_style=True, sort_keys=False, width=1000)
        root = self.source["root"]
        yield f"to use it, put it into {root} and write under data: source: {source.strip()}"


def write_label_table(name: str, answers: str, output: str) -> LabelTable:
    """Write the labels of all images of an experiment, corrected by a person's answers.

    A new image, of a folder that was reviewed, gets a row if it is below the root of the source.
    Labels of the ranks above follow from the verified one; those of finer ranks are removed.

    Args:
        name: the name of the experiment.
        answers: the table of verified labels; see `VerifiedLabels`.
        output: the table to write.

    Raises:
        TailproofError: the output exists, the answers cannot be read, or the images of the
            experiment are no files.
    """
    project_paths().check_output("--output", output)
    if Path(output).exists() or Path(output).is_symlink():
        raise TailproofError(f"--output is {output}, which exists: name a new file")
    verified = VerifiedLabels.read(answers)
    folder = project_paths().experiment(name)
    labels = _Labels(read_json(folder / "shards" / "manifest.json"))
    rows, others = _read_samples(folder / "samples.parquet", labels.ranks)
    changed = 0
    for row in rows:
        right = verified.classes.get(row["sample_id"])
        if right is not None and right != row[labels.target]:
            row.update(labels.of(right))
            changed += 1
    known = {row["sample_id"] for row in rows}
    strangers = sorted(verified.classes.keys() - known)
    root = getattr(load_experiment(EXPERIMENTS / f"{name}.yaml").data.source, "root", None)
    new = {path: None for path in strangers if _is_new_image(root, path)}
    rows += [{"path": path} | labels.of(verified.classes[path]) for path in new]
    columns = ["path", *labels.ranks, *others]
    cells = [[row.get(column) for column in columns] for row in rows]
    # As it is, because a source takes the apostrophe before a formula's sign for part of a name.
    text = io.StringIO()
    csv.writer(text).writerows([[FILE, *columns[1:]], *cells])
    write_text(output, text.getvalue())
    return LabelTable(
        output,
        len(rows),
        len(verified.classes) - len(strangers) + len(new),
        changed,
        len(new),
        verified.unlabelled,
        [path for path in strangers if path not in new],
        labels.unknown(verified.classes.values()),
        _source(root, output, labels.ranks, others),
    )


def _read_samples(path: Path, ranks: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the samples, and the names of the columns besides labels that say something.

    Raises:
        TailproofError: a sample is not the whole of a file.
    """
    rows = pq.read_table(
        path, columns=["sample_id", "path", "row", *ranks, "group", "pool"]
    ).to_pylist()
    shared = Counter(row["path"] for row in rows)
    parts = [row["sample_id"] for row in rows if row["row"] is not None or shared[row["path"]] > 1]
    if parts:
        raise TailproofError(
            f"{path} has {quantity(len(parts), 'sample')} cut from larger files, such as "
            f"{parts[0]}, which no table of files can name: correct the labels in the source"
        )
    for row in rows:
        row["split"] = OFFICIAL.get(row.pop("pool"))
    others = ["group"] if any(row["group"] != row["sample_id"] for row in rows) else []
    return rows, others + ["split"] * any(row["split"] for row in rows)


class _Labels:
    """The classes of all ranks, and which labels follow from one at the target."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.ranks: list[str] = list(manifest["ranks"])
        self.target: str = manifest["target"]
        self._classes = manifest["classes"]
        self._above = manifest["ancestors"][self.target]

    def of(self, name: str) -> dict[str, str | None]:
        """Return the labels of all ranks of a sample of a class; None where nothing is known."""
        known = self._classes[self.target]
        labels: dict[str, str | None] = dict.fromkeys(self.ranks)
        for rank, parents in self._above.items():
            parent = parents[known.index(name)] if name in known else None
            labels[rank] = None if parent is None else self._classes[rank][parent]
        return labels | {self.target: name}

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return the names that are no classes of the target, each with a near one."""
        known = self._classes[self.target]
        return [f"'{name}'{suggestion(name, known)}" for name in sorted({*names} - {*known})]


def _source(
    root: str | Path | None, output: str, ranks: list[str], others: list[str]
) -> dict[str, Any]:
    return {
        "name": "metadata_csv",
        "root": str(root),
        "table": Path(output).name,
        "filename": FILE,
        "ranks": ranks,
        "group": "group" if "group" in others else None,
        **({"split": "split"} if "split" in others else {}),
    }


def _is_new_image(root: str | Path | None, path: str) -> bool:
    """Return whether a path is that of a file below the root of the experiment's source."""
    if root is None or Path(path).is_absolute() or ".." in Path(path).parts:
        return False
    return Path(root, path).is_file()
