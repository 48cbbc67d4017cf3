"""Text files with an image and its label in each line: ImageNet-LT, Places-LT, iNaturalist-LT.

500,000 lines take 4 s and 120 MB, and 330 MB while they are read.
"""

from array import array
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tailproof.config.base import Strict
from tailproof.config.data import BelowRoot, MissingSigns, PictureSourceConfig, check_pools
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.base import Recognition, Sample, Skipped, register_source
from tailproof.data.sources.folders.filesystem import LeftOut
from tailproof.data.sources.picture_source import PictureSource
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.class_name_file import read_class_names
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.label_list import NUMBER, LabelList
from tailproof.data.sources.tables.list_recognition import recognize_list
from tailproof.data.sources.tables.listed_files import FileFinder
from tailproof.data.sources.tables.missing_values import as_yaml, text_or_none
from tailproof.data.sources.tables.official_splits import compare_pools
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

RANK = "class"
SHOWN = 5


class ListFile(Strict):
    """A list, and the folder of the images that it names."""

    list: BelowRoot = Field(description="The list.")
    images: BelowRoot = Field(".", description="Folder of the images. Default: root.")


class ImageList(PictureSourceConfig):
    """Lists with an image and its label in each line, as published for long-tailed benchmarks."""

    name: Literal["image_list"]
    root: str = Field(description="Folder that contains the lists and the images.")
    list: BelowRoot | None = Field(None, description="List of all images.")
    images: BelowRoot | None = Field(
        None, description="Folder of the images in `list`. Default: root."
    )
    train: ListFile | None = Field(None, description="The training pool, if there is a test set.")
    val: ListFile | None = Field(
        None, description="The official validation set, which becomes the split val."
    )
    test: ListFile | None = Field(None, description="The held-out pool, if there is a test set.")
    names: BelowRoot | None = Field(
        None,
        description="File with the names of the classes: the name of label 0 in the first line "
        "and so on, or label and name in each line, or JSON.",
    )
    missing: MissingSigns = None
    on_missing_image: Literal["stop", "skip"] = Field(
        "stop", description="What to do with listed images that do not exist: stop, or leave out."
    )

    @property
    def pools(self) -> dict[str | None, ListFile]:
        """The list of each pool."""
        if self.list is not None:
            return {None: ListFile(list=self.list, images=self.images or ".")}
        pools = {TRAIN: self.train, VAL: self.val, HELD_OUT: self.test}
        return {pool: file for pool, file in pools.items() if file is not None}

    @model_validator(mode="after")
    def _one_list_or_pools(self) -> "ImageList":
        check_pools(self.train, self.val, self.test, None)
        given = self.list is not None, self.test is not None
        if given not in ((True, False), (False, True)) or (self.images and not self.list):
            raise ValueError(
                "give 'list' (and 'images') for a collection in one list, or both 'train' and "
                "'test' (and 'val'), each with 'list' and 'images'"
            )
        if self.list is not None and self.train is not None:
            raise ValueError("'list' and 'train' both name the images: remove one")
        return self


@register_source(ImageList)
class ImageListSource(PictureSource[ImageList]):
    """Images that lists name. The id and the path of a sample are its path below root.

    Only the lists are `files`.
    """

    ranks = (RANK,)

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return the lists in a folder, or that a file belongs to, and their pictures."""
        return recognize_list(path)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The labels in the order of their numbers, or else sorted."""
        return {RANK: self._listing.classes}

    def files(self) -> list[Path]:
        """Return the lists, and the file with the names of the classes."""
        names = [file.list for file in self.config.pools.values()]
        return [
            self.root / name
            for name in [*names, *([self.config.names] if self.config.names else [])]
        ]

    def __len__(self) -> int:
        return len(self._listing.paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the lines of the lists, after looking for their images.

        Raises:
            TailproofError: a list is invalid, or an image does not exist.
        """
        listing = self._listing
        for row, path in enumerate(listing.paths):
            yield Sample(path, {RANK: listing.label[row]}, path, pool=listing.pools[row])

    def skipped(self) -> list[Skipped]:
        """Return the lines and the images that are no samples."""
        return self._listing.left_out.skipped()

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in labels and names of files."""
        return self._listing.warnings

    @cached_property
    def _listing(self) -> "_Listing":
        return _Listing(self.config)


class _Listing:
    """The samples of all lists, stored by column.

    Attributes:
        paths: the path of the image of each sample.
        pools: the pool of each sample.
        label: the label of each sample.
        classes: the labels in class order.
        left_out: what is no sample.
        warnings: what looks like a mistake.
    """

    def __init__(self, config: ImageList) -> None:
        self.config = config
        self.root = Path(config.root)
        self.paths: list[str] = []
        self.pools: list[str | None] = []
        self.label = LabelColumn()
        self.left_out = LeftOut()
        self.warnings: list[str] = []
        self._finder, self._problems = FileFinder(self.root), Problems("line")
        self._rows: dict[str, int] = {}
        self._starts: list[tuple[int, Path]] = []
        self._lines = array("q")
        for pool, entry in config.pools.items():
            self._add(LabelList(self.root / entry.list), entry.images, pool)
        self._problems.check()
        for path in self._finder.unlisted(self._rows):
            self.left_out.add("images that no list names", path)
        self.classes = self._name_classes(listed([str(file) for _, file in self._starts]))

    def _add(self, lines: LabelList, folder: str, pool: str | None) -> None:
        file = lines.file
        self._starts.append((len(self.paths), file))
        for number in lines.comments:
            self.left_out.add("lines with a comment in the lists", f"{file.name}, line {number}")
        entries = []
        for entry in lines.entries():
            if entry.fault:
                self._problems.add(f"{file}, line {entry.line}", entry.fault)
            else:
                entries.append(entry)
        places = [f"{file}, line {entry.line}" for entry in entries]
        found = self._finder.find_listed(
            [entry.path for entry in entries],
            folder,
            file,
            places.__getitem__,
            self._problems,
            skipped=self.left_out if self.config.on_missing_image == "skip" else None,
        )
        self.warnings += found.warnings
        for entry, where, path in zip(entries, places, found.paths, strict=True):
            if path is None:
                continue
            label = text_or_none(entry.label)
            known = self._rows.setdefault(path, len(self.paths))
            if known == len(self.paths):
                self.paths.append(path)
                self.pools.append(pool)
                self.label.add(label)
                self._lines.append(entry.line)
            elif (self.pools[known], self.label[known]) == (pool, label):
                self.left_out.add("lines that repeat another one", path)
            elif self.label[known] == label:
                self._problems.add(
                    where,
                    f"names '{path}', which is also in another set ({self._where(known)}): remove "
                    "one of the lines",
                )
            else:
                other = "no label" if self.label[known] is None else f"'{self.label[known]}'"
                self._problems.add(
                    where,
                    f"names '{path}' with the label '{entry.label}', but {self._where(known)} has "
                    f"{other}: remove one of the lines",
                )

    def _name_classes(self, files: str) -> list[str]:
        """Tidy the labels, give them names, and return them in class order."""
        self.warnings += clean_columns(
            {RANK: self.label}, None, self.config.missing, files, self._where
        )
        labels = class_order(self.label.names)
        if not labels:
            reasons = [f"{each.reason} ({each.count:,})" for each in self.left_out.skipped()]
            raise TailproofError(
                f"{files}: no image with a label is left, expected an image and its label in each "
                f"line; left out: {listed(reasons, 8) or 'nothing'}: correct the list, or "
                "data.source"
            )
        if all(map(NUMBER.fullmatch, labels)):
            self._warn_of_gaps(files, [int(label) for label in labels])
        self._check_pools(files)
        if self.config.names is None:
            return labels
        names = read_class_names(self.root / self.config.names, labels)
        self.label.replace(names)
        return [names[label] for label in labels]

    def _warn_of_gaps(self, files: str, numbers: list[int]) -> None:
        first = 1 if numbers[0] == 1 else 0
        known = set(numbers)
        gaps = (str(number) for number in range(first, numbers[-1]) if number not in known)
        count = numbers[-1] - first + 1 - sum(number >= first for number in numbers)
        if count:
            below = f"below {numbers[-1]}"
            self.warnings.append(
                f"{files}: {quantity(count, f'label {below} has', f'labels {below} have')} no "
                f"image, such as {', '.join(islice(gaps, SHOWN))}; there is no class for "
                f"{'it' if count == 1 else 'them'}"
            )

    def _check_pools(self, files: str) -> None:
        """Check that the classes of val and test can be learnt."""
        unknown, untested = compare_pools(self.label, self.pools)
        if unknown:
            raise TailproofError(
                f"{files}: no expert can learn {quantity(len(unknown), 'label')} of val or test "
                f"without an image in train: {listed(list(map(repr, unknown)))}; remove the lines, "
                f"or add {as_yaml(unknown)} to data.source.missing"
            )
        if untested:
            self.warnings.append(
                f"{files}: {quantity(len(untested), 'label')} of train cannot be tested, for lack "
                f"of an image in test: {listed(list(map(repr, untested)))}"
            )

    def _where(self, row: int) -> str:
        file = next(file for start, file in reversed(self._starts) if start <= row)
        return f"{file}, line {self._lines[row]}"
