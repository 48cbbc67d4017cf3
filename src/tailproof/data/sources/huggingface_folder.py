"""Folders of images with metadata.csv, .jsonl or .parquet, as Hugging Face datasets has them.

Layout: https://huggingface.co/docs/datasets/image_dataset#imagefolder. Each metadata file lists
images in its folder and below; class names and splits may be in the dataset card, README.md.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from tailproof.config.data import (
    BelowRoot,
    Column,
    Encoding,
    GroupPerPool,
    MissingSigns,
    RankColumns,
    SourceConfig,
    check_missing_columns,
    check_pools,
)
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.archives.packed_files import is_archive
from tailproof.data.sources.base import Recognition, Sample, Skipped, register_source
from tailproof.data.sources.folders.class_folders import is_picture
from tailproof.data.sources.folders.file_patterns import (
    first_folders,
    path_pattern,
    pools_by_keyword,
    source_line,
)
from tailproof.data.sources.folders.filesystem import Folder
from tailproof.data.sources.folders.split_keywords import SPLITS, folder_split, name_split
from tailproof.data.sources.picture_source import PictureSource
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.column_roles import guess_ranks
from tailproof.data.sources.tables.dataset_card import DatasetCard, read_card
from tailproof.data.sources.tables.listed_files import FileFinder, Found
from tailproof.data.sources.tables.metadata_file import NAMES, MetadataFile, first_columns
from tailproof.data.sources.tables.metadata_rows import MetadataRows
from tailproof.data.sources.tables.official_splits import name_group
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed, quantity

CARD = "README.md"
FIELDS = {"train": "train", "val": "validation", "test": "test"}
"""The split that each field of the configuration names."""
POOLS = {"train": TRAIN, "validation": VAL, "test": HELD_OUT}
SHOWN = 3
LEVELS, MOST_FOLDERS = 3, 200  # in which metadata files are looked for


class HuggingfaceFolder(SourceConfig):
    """Images with metadata.csv, .jsonl or .parquet next to them, as Hugging Face datasets has."""

    name: Literal["huggingface_folder"]
    root: str = Field(min_length=1, description="Folder of the dataset.")
    train: BelowRoot | None = Field(
        None,
        description="Folder or pattern of the training pool. Default: the splits that README.md "
        "or the names of folders and files name, such as train, validation and test.",
    )
    val: BelowRoot | None = Field(
        None,
        description="Folder or pattern of the official validation set, which becomes the split "
        "val.",
    )
    test: BelowRoot | None = Field(None, description="Folder or pattern of the held-out pool.")
    image: Column | None = Field(
        None,
        description="Column of the images' file names. Default: file_name, or the only one that "
        "ends in _file_name.",
    )
    ranks: RankColumns = Field(
        ["label"],
        description="Label columns, coarse to fine: text, or numbers of the classes in README.md.",
    )
    group: Column | None = Field(None, description="Column of groups; a group stays in one split.")
    group_per_pool: GroupPerPool = False
    missing: MissingSigns = None
    encoding: Encoding = None

    @model_validator(mode="after")
    def _pools_and_columns_fit(self) -> "HuggingfaceFolder":
        check_pools(self.train, self.val, self.test, None)
        check_missing_columns(self.missing, self.ranks, self.group)
        return self


class _Listing(NamedTuple):
    """The rows of the samples, what was left out, and what looks like a mistake."""

    rows: MetadataRows
    skipped: list[Skipped]
    warnings: list[str]


@register_source(HuggingfaceFolder)
class HuggingfaceFolderSource(PictureSource[HuggingfaceFolder]):
    """Images that metadata files list. The id and the path of a sample are its path below root."""

    has_columns = True

    def __init__(self, config: HuggingfaceFolder) -> None:
        super().__init__(config)
        self.ranks = tuple(config.ranks)
        self._tree = Folder(self.root)

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return a folder with metadata files that list images in it."""
        metadata = _metadata_near(path)
        if not metadata:
            return None
        columns, card = first_columns(path / metadata[0]), read_card(path / CARD)
        images = [name for name in columns if name == "file_name" or name.endswith("_file_name")]
        folder = PurePosixPath(metadata[0]).parent
        listed_images = [name for image in images for name in columns[image][:SHOWN] if name]
        if not any((path / folder / name).is_file() for name in listed_images):
            return None
        others = {name: cells for name, cells in columns.items() if name not in images}
        ranks, sure = guess_ranks(others, [name for name in card.names if name in others])
        if not ranks:
            line = source_line("huggingface_folder", str(path), {"ranks": ["COLUMN"]})
            advice = f"write an experiment with {line}, where COLUMN is one of {listed([*others])}"
            raise TailproofError(
                f"{path / metadata[0]} lists images, but none of its columns looks like a label: "
                f"{advice if others else 'add a column of labels'}"
            )
        source = {"name": "huggingface_folder", "root": str(path), "ranks": ranks}
        if "file_name" not in images and len(images) > 1:
            source["image"], sure = images[0], False
        return Recognition(source, f"{metadata[0]} lists images as {images[0]}", sure)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The labels of each rank, in the order of the card if it names them, else sorted."""
        classes = {}
        for rank, column in self._listing.rows.labels.columns.items():
            present = set(column.names)
            order = self._card.names.get(rank) or class_order(column.names)
            classes[rank] = [name for name in order if name in present]
        return classes

    def files(self) -> list[Path]:
        """Return the metadata files and the card. The folders are walked once."""
        card = [CARD] if (self.root / CARD).is_file() else []
        return [self.root / path for path in [*self._metadata, *card]]

    def __len__(self) -> int:
        return len(self._listing.rows.paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows, metadata file by metadata file."""
        rows = self._listing.rows
        for row, path in enumerate(rows.paths):
            pool = rows.pools[row]
            group = rows.group[row] if self.config.group else None
            group = name_group(group, pool, per_pool=self.config.group_per_pool)
            context = tuple(column[row] for column in rows.context)
            yield Sample(path, rows.labels.of(row), path, pool=pool, group=group, context=context)

    def skipped(self) -> list[Skipped]:
        """Return the rows and images that are no samples."""
        rows = self._listing.skipped
        return self._tree.left_out.skipped() + rows

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in the columns, the names and the splits."""
        return self._listing.warnings

    @cached_property
    def _card(self) -> DatasetCard:
        return read_card(self.root / CARD)

    @cached_property
    def _files(self) -> tuple[list[str], list[str], list[str]]:
        """The metadata files, the pictures and the archives below root."""
        if not self.root.is_dir():
            raise TailproofError(
                f"{self.root} {'is not a folder' if self.root.exists() else 'does not exist'}: "
                "correct data.source.root"
            )
        metadata, pictures, archives = [], [], []
        try:
            for path in track(self._tree.files(), f"list {self.root}"):
                if path.rpartition("/")[2] in NAMES:
                    metadata.append(path)
                elif is_picture(path):
                    pictures.append(path)
                elif is_archive(path):
                    archives.append(path)
        except OSError as error:
            raise unreadable(error.filename, error) from None
        return sorted(metadata), pictures, archives

    @cached_property
    def _metadata(self) -> list[str]:
        """The metadata files, at most one per folder."""
        metadata, pictures, _ = self._files
        if not metadata:
            line = source_line("image_folder", self.config.root, pools_by_keyword(pictures))
            raise TailproofError(
                f"{self.root} contains none of {', '.join(NAMES)}: if its folders are the classes, "
                f"write {line}; if it contains parquet files of images, use the source parquet"
            )
        folders: dict[str, str] = {}
        for path in metadata:
            first = folders.setdefault(path.rpartition("/")[0], path)
            if first != path:
                raise TailproofError(
                    f"{self.root / first} and {PurePosixPath(path).name} are in one folder: keep "
                    "only the right one"
                )
        return metadata

    @cached_property
    def _listing(self) -> _Listing:
        config = self.config
        has_group, context = config.group is not None, self.context
        rows = MetadataRows(self.ranks, has_group=has_group, context=len(context))
        columns = [*self.ranks, *filter(None, [config.group]), *context]
        for path in self._metadata:
            file, names = self.root / path, self._card.names
            rows.read(path, MetadataFile(file, config.image, columns, names, config.encoding))
        rows.check()
        if not rows.paths:
            raise TailproofError(
                f"no row is in {', '.join(str(self.root / path) for path in rows.files)}, expected "
                "one per image: add the rows"
            )
        found = self._find_images(rows)
        rows.replace_paths(found.existing)
        comments = sum(file.comments for file in rows.files.values())
        unlisted = sorted(set(self._files[1]) - set(rows.paths))
        skipped, warnings = self._assign_pools(rows, unlisted)
        skipped += _skipped("lines with a comment in metadata files", comments)
        skipped += _skipped("images that no metadata file lists", len(unlisted), unlisted)
        return _Listing(rows, skipped, [*found.warnings, *warnings, *self._tidy(rows)])

    def _find_images(self, rows: MetadataRows) -> Found:
        pictures = set(self._files[1])
        if pictures.issuperset(rows.paths):
            return Found([*rows.paths], [], [])
        finder = FileFinder(self.root)
        found = finder.find_all(rows.paths)
        if found.missing:
            error, archives = finder.missing_error(rows.paths, found, rows.place), self._files[2]
            which = "it" if len(archives) == 1 else "them"
            note = f"; the images may be in {listed(archives)}: unpack {which}" if archives else ""
            raise TailproofError(f"{error}{note}")
        return found

    def _assign_pools(
        self, rows: MetadataRows, unlisted: list[str]
    ) -> tuple[list[Skipped], list[str]]:
        """Set the pool of each row, and drop the rows that are in no split.

        Returns:
            What was dropped, and warnings.
        """
        splits, place = self._splits(rows)
        present = {split for split in splits if split in POOLS}
        if place and "train" not in present:
            raise TailproofError(
                f"{self.root}: no listed image is in the training set of {place}, only in "
                f"{listed(sorted(present)) or 'no split'}: correct it, or name the folder of the "
                "training set as data.source.train"
            )
        pools: dict[str | None, str | None] = {split: pool for split, pool in POOLS.items()}  # noqa: C416 - of a wider type
        warnings = list(self._warn_of_unlisted(rows.paths, unlisted))
        if present == {"train", "validation"}:
            pools["validation"] = HELD_OUT
            warnings.append(
                f"{self.root}: there is a validation set and no test set in {place}, so the "
                "validation set is held out for testing"
            )
        if present <= {"train"}:
            pools = dict.fromkeys(pools)
        if not place:
            rows.pools = [None] * len(rows.paths)
            return [], warnings
        dropped = [
            path for path, split in zip(rows.paths, splits, strict=True) if split not in pools
        ]
        kept = [row for row, split in enumerate(splits) if split in pools]
        rows.keep(kept)
        rows.pools = [pools[splits[row]] for row in kept]
        reason = f"listed images in no split of {place}"
        return _skipped(reason, len(dropped), dropped), warnings

    def _splits(self, rows: MetadataRows) -> tuple[list[str | None], str]:
        """Return the split of each row, and what names the splits; empty if nothing does."""
        if self.config.train is not None:
            fields = {split: getattr(self.config, name) for name, split in FIELDS.items()}
            patterns = {split: [pattern] for split, pattern in fields.items() if pattern}
            return self._named_splits(rows, patterns, "data.source"), "data.source"
        if self._card.splits:
            patterns = {SPLITS.get(name, name): texts for name, texts in self._card.splits.items()}
            return self._named_splits(rows, patterns, CARD), CARD
        for split_of, place in ((folder_split, "the folders"), (name_split, "the file names")):
            splits = list(map(split_of, rows.paths))
            complete = split_of is folder_split or None not in splits
            if complete and "train" in splits and len(set(splits) - {None}) > 1:
                return splits, place
        return [None] * len(rows.paths), ""

    def _named_splits(
        self, rows: MetadataRows, patterns: Mapping[str, list[str]], place: str
    ) -> list[str | None]:
        """Return the split of each row whose image or metadata file fits a pattern."""
        try:
            named = [
                (split, path_pattern(text)) for split, texts in patterns.items() for text in texts
            ]
        except (ValueError, re.error) as error:
            raise TailproofError(f"{self.root}: {place} has an invalid pattern: {error}") from None
        of_file = {path: _fitting(path, named) for path in rows.files}
        splits: list[str | None] = []
        for row, path in enumerate(rows.paths):
            fitting = _fitting(path, named) or of_file[rows.file_of(row)]
            if len(fitting) > 1:
                raise TailproofError(
                    f"{self.root / path} is in the splits {listed(sorted(fitting))} of {place}: "
                    "make the patterns disjoint"
                )
            splits.append(next(iter(fitting), None))
        return splits

    def _warn_of_unlisted(self, paths: list[str], unlisted: list[str]) -> Iterator[str]:
        """Yield a sentence about each split of which no image is listed."""
        used = set(map(folder_split, paths))
        for split, pictures in Counter(map(folder_split, unlisted)).items():
            if split and split not in used:
                yield (
                    f"{self.root}: no metadata file lists the {quantity(pictures, 'image')} of the "
                    f"split {split}, which {'is' if pictures == 1 else 'are'} left out"
                )

    def _tidy(self, rows: MetadataRows) -> list[str]:
        """Check the labels, drop the signs for a missing value and join spellings.

        Class labels are left alone, because the card names the classes.
        """
        config, root = self.config, self.config.root
        labels = rows.labels
        ranks = {
            rank: column for rank, column in labels.columns.items() if rank not in self._card.names
        }
        group = (config.group, rows.group) if config.group else None
        warnings = clean_columns(ranks, group, config.missing, root, rows.place)
        labels.check(root, rows.place)
        self._refuse_withheld_labels(rows)
        return warnings

    def _refuse_withheld_labels(self, rows: MetadataRows) -> None:
        labelled = {
            pool
            for column in rows.labels.columns.values()
            for pool, code in zip(rows.pools, column.codes, strict=True)
            if code >= 0
        }
        for split, pool in POOLS.items():
            if pool in rows.pools and pool not in labelled:
                raise TailproofError(
                    f"{self.root}: no image of the {split} set has a label, as in test sets whose "
                    "labels are withheld: set data.source.train and data.source.test to folders "
                    "with labels"
                )


def _metadata_near(root: Path) -> list[str]:
    """Return the metadata files in a folder and in the folders of the next two levels."""
    metadata, folders = [], [Path()] if root.is_dir() else []
    for _ in range(LEVELS):
        metadata += [
            (folder / name).as_posix()
            for folder in folders
            for name in NAMES
            if (root / folder / name).is_file()
        ]
        folders = [folder / name for folder in folders for name in first_folders(root / folder)][
            :MOST_FOLDERS
        ]
    return metadata


def _fitting(path: str, patterns: list[tuple[str, re.Pattern[str]]]) -> set[str]:
    return {split for split, pattern in patterns if pattern.fullmatch(path)}


def _skipped(reason: str, count: int, examples: list[str] | None = None) -> list[Skipped]:
    """Return what was left out for a reason; nothing if there is none."""
    return [Skipped(reason, count, tuple((examples or [])[:SHOWN]))] if count else []
