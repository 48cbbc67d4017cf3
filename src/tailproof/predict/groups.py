"""One answer for all images of one thing: groups of images whose logits are averaged."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.data.sources.tables.text_table import TextTable
from tailproof.evaluation.sample_groups import group_log_probabilities
from tailproof.predict.posterior import Posterior
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

FOLDER = "folder"
FILE = "file"
SHOWN = 3


class Group(NamedTuple):
    """What gets one answer.

    Attributes:
        name: the name of the group; of an image without a group, the name of the image.
        image: the row of the image that is a group of its own; None for any other group.
    """

    name: str
    image: int | None = None


def groups_of(files: list[Path], by: str, table: str | None) -> list[Group]:
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
        return [Group(str(file.parent)) for file in files]
    cells = cells_of(files, table, [by]).values()
    return named_groups(files, [group or None for (group,) in cells])


def named_groups(images: Sequence[object], names: Sequence[str | None]) -> list[Group]:
    """Return the group of each image, of the names of both; an image without is one of its own."""
    return [
        Group(str(image), row) if name is None else Group(name)
        for row, (image, name) in enumerate(zip(images, names, strict=True))
    ]


def cells_of(
    files: Sequence[Path], table: str, columns: Sequence[str]
) -> dict[Path, tuple[str, ...]]:
    """Return the cells of each image file in columns of a table.

    Args:
        files: the image files.
        table: path of a table with the column `file` and the others; a relative file is looked for
            next to the table, and then from the current folder. Names may differ from those of the
            files in case and Unicode form, and have backslashes.
        columns: the columns.

    Raises:
        TailproofError: the table is missing or damaged, does not list every file, or lists one
            with two values.
    """
    path = Path(table)
    cells: dict[str, tuple[str, ...]] = {}
    alike: dict[str, set[str]] = defaultdict(set)
    for row in TextTable(path, [FILE, *columns], None, configured=False).rows():
        if row.fault:
            raise TailproofError(f"{path}, line {row.line} {row.fault}")
        file, *own = (cell.strip() for cell in row.cells)
        written = file.replace("\\", "/")
        tried = [path.parent / file, Path(file), path.parent / written, Path(written)]
        try:
            found = next((one for one in tried if one.exists()), None)
            place = os.path.realpath(found or file)
        except (OSError, ValueError):  # no image has such a name
            continue
        if found is None:
            for one in tried[2:]:
                alike[_key(os.path.realpath(one))].add(place)
        for column, cell, earlier in zip(
            columns, own, cells.setdefault(place, tuple(own)), strict=True
        ):
            if cell != earlier:
                raise TailproofError(
                    f"{path}, line {row.line}: the file '{printable(file)}' has the {column} "
                    f"'{printable(cell)}', and on an earlier line '{printable(earlier)}': keep one "
                    "of the lines"
                )
    places = {image: os.path.realpath(image) for image in files}
    unlisted = [image for image, place in places.items() if place not in cells]
    wanted = Counter(_key(places[image]) for image in unlisted)
    for image in unlisted:
        key = _key(places[image])
        if wanted[key] == len(alike[key]) == 1:
            places[image] = next(iter(alike[key]))
    unlisted = [image for image in unlisted if places[image] not in cells]
    if unlisted:
        raise TailproofError(
            f"{path} does not list {quantity(len(unlisted), 'image')} in its column '{FILE}', "
            f"such as {listed(list(map(str, unlisted)), SHOWN)}: add a row for each, or give "
            "other images"
        )
    return {image: cells[place] for image, place in places.items()}


def _key(path: str) -> str:
    """Return a path without what Windows and macOS ignore in names: case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class GroupMeans:
    """The mean log-probabilities of each rank, and the mean score, over the images of a group.

    Attributes:
        counts: the number of images of each group.
        members: the row of each image, and the number of its group.
    """

    def __init__(self) -> None:
        self._sums: dict[Group, dict[str, np.ndarray]] = {}
        self._scores: dict[Group, float] = {}
        self._numbers: dict[Group, int] = {}
        self.counts: dict[Group, int] = {}
        self.members: list[tuple[int, int]] = []

    def add(
        self,
        rows: Sequence[int],
        groups: Sequence[Group],
        log_p: dict[str, np.ndarray],
        scores: np.ndarray | None,
    ) -> None:
        """Add images.

        Args:
            rows: the row of each of N images among all.
            groups: the group of each.
            log_p: their log-probabilities [N, C] of each rank, as if nothing was known of them.
            scores: how well they are known, [N]; None if nothing calls them unknown.
        """
        for place, group in enumerate(groups):
            number = self._numbers.setdefault(group, len(self._numbers))
            self.members.append((rows[place], number))
            self.counts[group] = self.counts.get(group, 0) + 1
            of_group = self._sums.setdefault(group, {})
            for rank, values in log_p.items():
                of_group[rank] = of_group.get(rank, 0.0) + values[place]
            if scores is not None:
                self._scores[group] = self._scores.get(group, 0.0) + float(scores[place])

    @property
    def scores(self) -> np.ndarray:
        """The mean score of each group, in single precision as stored scores, [G]."""
        sums = np.array(list(self._scores.values()))
        return (sums / np.array(list(self.counts.values()))).astype(np.float32)

    def log_p(self, posterior: Posterior, temperature: float | None) -> dict[str, np.ndarray]:
        """Return the log-probabilities [G, C] of each rank.

        The mean of the logits of a group's images is divided by the temperature of groups, which
        was fitted for the target without a change of class shares.
        """
        number = np.array(list(self.counts.values()))
        fitted = {posterior.target: temperature or 1.0}
        by_rank = {
            rank: group_log_probabilities(
                np.stack([of_group[rank] for of_group in self._sums.values()]) / number[:, None],
                number,
                fitted.get(rank, 1.0),
            )
            for rank in next(iter(self._sums.values()))
        }
        by_rank[posterior.target] = posterior.shifted(by_rank[posterior.target])
        return by_rank
