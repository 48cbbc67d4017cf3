"""One answer for all images of one thing: groups of images that `tailproof predict` averages."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tailproof.data.sources.tables.text_table import TextTable
from tailproof.evaluation.sample_groups import group_log_probabilities
from tailproof.output import report
from tailproof.predict.classify import (
    Answer,
    Batch,
    Decision,
    Promises,
    answers_of,
    read_batches,
)
from tailproof.predict.expert import Expert
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

FOLDER = "folder"
FILE = "file"
SHOWN = 3


def groups_of(files: list[Path], by: str, table: str | None) -> dict[Path, str]:
    """Return the group of each image file.

    Args:
        files: the image files.
        by: folder, or a column of the table.
        table: path of a table with the columns `file` and `by`; a relative file is looked for next
            to the table, and then from the current folder. An empty cell makes a group of its own.

    Raises:
        TailproofError: the table is missing or damaged, does not list every file, or lists one in
            two groups.
    """
    if table is None:
        if by != FOLDER:
            raise TailproofError(
                f"--group {by} is a column of a table: name the table with --table, or use "
                "--group folder"
            )
        return {file: str(file.parent) for file in files}
    cells = cells_of(files, table, [by])
    return {file: group or str(file) for file, (group,) in cells.items()}


def cells_of(
    files: Sequence[Path], table: str, columns: Sequence[str]
) -> dict[Path, tuple[str, ...]]:
    """Return the cells of each image file in columns of a table.

    Args:
        files: the image files.
        table: path of a table with the column `file` and the others; a relative file is looked for
            next to the table, and then from the current folder.
        columns: the columns.

    Raises:
        TailproofError: the table is missing or damaged, does not list every file, or lists one
            with two values.
    """
    path = Path(table)
    cells: dict[Path, tuple[str, ...]] = {}
    for row in TextTable(path, [FILE, *columns], None).rows():
        if row.fault:
            raise TailproofError(f"{path}, line {row.line} {row.fault}")
        file, *own = (cell.strip() for cell in row.cells)
        near = path.parent / file
        try:
            place = (near if near.exists() else Path(file)).resolve()
        except OSError:  # no image has such a name
            continue
        for column, cell, earlier in zip(
            columns, own, cells.setdefault(place, tuple(own)), strict=True
        ):
            if cell != earlier:
                raise TailproofError(
                    f"{path}, line {row.line}: the file '{printable(file)}' has the {column} "
                    f"'{printable(cell)}', and on an earlier line '{printable(earlier)}': keep one "
                    "of the lines"
                )
    unlisted = [file for file in files if file.resolve() not in cells]
    if unlisted:
        raise TailproofError(
            f"{path} does not list {quantity(len(unlisted), 'image')} in its column '{FILE}', such "
            f"as {listed(list(map(str, unlisted)), SHOWN)}: add rows, or give other images"
        )
    return {file: cells[file.resolve()] for file in files}


def predict_groups(
    expert: Expert,
    rejector: Decision,
    files: list[Path],
    groups: dict[Path, str],
    promises: Promises = (),
) -> Iterator[Batch]:
    """Yield the errors of images batch by batch, and at last the predictions for all groups.

    The mean of the logits of a group's images is divided by the temperature of groups, which was
    fitted for the target without a change of class shares. Images that cannot be read are left out
    of their group.

    Raises:
        TailproofError: a logit is not finite.
    """
    if expert.deployment.group_temperature is None:
        report(
            "the expert has no temperature for groups, because its data had no groups of several "
            "images on tune, or groups of several classes: probabilities of groups may be too low"
        )
    single = replace(expert, shift=None)
    sums: dict[str, dict[str, np.ndarray]] = {}
    counts: dict[str, int] = {}
    for readable, broken in read_batches(expert, files):
        if readable:
            log_p = single.log_probabilities(np.stack([image for _, image in readable]))
            for row, (file, _) in enumerate(readable):
                group = groups[file]
                counts[group] = counts.get(group, 0) + 1
                of_group = sums.setdefault(group, dict.fromkeys(log_p, 0.0))
                for rank, values in log_p.items():
                    of_group[rank] = of_group[rank] + values[row]
        yield Batch([], broken)
    if sums:
        yield Batch(_answers(expert, rejector, sums, counts, promises), [])


def _answers(
    expert: Expert,
    rejector: Decision,
    sums: dict[str, dict[str, np.ndarray]],
    counts: dict[str, int],
    promises: Promises,
) -> list[Answer]:
    number = np.array([counts[group] for group in sums])
    fitted = {expert.target: expert.deployment.group_temperature or 1.0}
    log_p = {
        rank: group_log_probabilities(
            np.stack([of_group[rank] for of_group in sums.values()]) / number[:, None],
            number,
            fitted.get(rank, 1.0),
        )
        for rank in next(iter(sums.values()))
    }
    log_p[expert.target] = expert.shifted(log_p[expert.target])
    return [
        answer._replace(images=int(count))
        for answer, count in zip(
            answers_of(expert, rejector, list(sums), log_p, promises), number, strict=True
        )
    ]
