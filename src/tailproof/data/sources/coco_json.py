"""JSON files in the format of COCO: iNaturalist, COCO Camera Traps (LILA), and boxes as crops.

500,000 images with as many annotations, 190 MB of JSON, take 10 s and 230 MB, and 290 MB while they
are read.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from posixpath import normpath
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tailproof.config.base import Strict
from tailproof.config.data import (
    BelowRoot,
    Column,
    GroupPerPool,
    MissingSigns,
    PictureSourceConfig,
    RankColumns,
    check_missing_columns,
    check_pools,
)
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.base import Box, Recognition, Sample, Skipped, register_source
from tailproof.data.sources.folders.filesystem import LeftOut
from tailproof.data.sources.json_files.coco import CocoFile, read_categories
from tailproof.data.sources.json_files.place_splits import read_place_splits
from tailproof.data.sources.json_files.recognition import recognize_coco
from tailproof.data.sources.json_files.taxa import Taxa
from tailproof.data.sources.picture_source import PictureSource
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.listed_files import FileFinder
from tailproof.data.sources.tables.official_splits import compare_pools, name_group
from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed, quantity
from tailproof.untrusted_text import is_encodable

PLACE, SEQUENCE = "location", "seq_id"
"""Fields of images in COCO Camera Traps."""


class AnnotationFile(Strict):
    """A JSON file, and the folder of the images that it lists."""

    file: BelowRoot = Field(description="The JSON file.")
    images: BelowRoot = Field(".", description="Folder of the images. Default: root.")


class CocoJson(PictureSourceConfig):
    """JSON files with images, annotations and categories, as of iNaturalist and of LILA."""

    name: Literal["coco_json"]
    root: str = Field(description="Folder that contains the JSON files and the images.")
    file: BelowRoot | None = Field(None, description="JSON file that lists all images.")
    images: BelowRoot | None = Field(
        None, description="Folder of the images that `file` lists. Default: root."
    )
    train: AnnotationFile | None = Field(
        None, description="The training pool, if there is a separate test set."
    )
    val: AnnotationFile | None = Field(
        None, description="The official validation set, which becomes the split val."
    )
    test: AnnotationFile | None = Field(
        None, description="The held-out pool, if there is a separate test set."
    )
    splits: BelowRoot | None = Field(
        None,
        description="JSON file with the values of `location` in each split, as LILA publishes it. "
        "Without a split test, val is held out.",
    )
    categories: BelowRoot | None = Field(
        None,
        description="JSON file whose categories replace those in the other files, such as the "
        "names that iNaturalist 2018 published later.",
    )
    ranks: RankColumns | None = Field(
        None,
        description="Fields of categories, coarse to fine. Default: those of kingdom, phylum, "
        "class, order, family and genus (or else supercategory) that have several values, and "
        "name.",
    )
    group: Column | None = Field(
        SEQUENCE,
        description="Field of images that names their group, such as location; a group stays in "
        "one split. seq_id is used if images have it. null: no groups.",
    )
    group_per_pool: GroupPerPool = False
    missing: MissingSigns = None
    on_several_categories: Literal["skip", "first"] = Field(
        "skip",
        description="What to do with an image that has annotations of several categories: leave "
        "it out, or take the first one. Crops have one category each.",
    )
    on_missing_image: Literal["stop", "skip"] = Field(
        "stop", description="What to do with listed images that do not exist: stop, or leave out."
    )

    @property
    def has_boxes(self) -> bool:
        """Annotations may have boxes."""
        return True

    @property
    def cuts_annotations(self) -> bool:
        """Whether the boxes of the annotations are the samples."""
        return self.crops is not None and self.crops.detections is None

    @property
    def pools(self) -> dict[str | None, AnnotationFile]:
        """The file of each pool."""
        if self.file is not None:
            return {None: AnnotationFile(file=self.file, images=self.images or ".")}
        pools = {TRAIN: self.train, VAL: self.val, HELD_OUT: self.test}
        return {pool: file for pool, file in pools.items() if file is not None}

    @model_validator(mode="after")
    def _one_file_or_pools(self) -> "CocoJson":
        check_pools(self.train, self.val, self.test, None)
        if self.ranks is not None:
            check_missing_columns(self.missing, self.ranks, self.group)
        if (self.file is None) == (self.train is None):
            raise ValueError(
                "give 'file' (and 'images') for a collection in one file, or both 'train' and "
                "'test' (and 'val'), each with 'file' and 'images'"
            )
        if self.file is None and (self.test is None or self.images is not None):
            raise ValueError(
                "give both 'train' and 'test', each with its own 'images'; a single set is 'file'"
            )
        if self.splits is not None and self.file is None:
            raise ValueError("'splits' and 'test' both name the test set: remove one")
        return self


@register_source(CocoJson)
class CocoJsonSource(PictureSource[CocoJson]):
    """Images that JSON files list. The id and the path of a sample are its path below root.

    Only the JSON files are `files`. Columns of context are fields of the images.
    """

    has_columns = True

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return the JSON files with images, annotations and categories, and their pictures."""
        return recognize_coco(path)

    @property
    def ranks(self) -> tuple[str, ...]:  # type: ignore[override]  # read late; nothing sets it
        """The fields of the categories that are labels."""
        return tuple(self._listing.labels.columns)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted labels of each rank; sorted by value if all are numbers."""
        columns = self._listing.labels.columns
        return {rank: class_order(column.names) for rank, column in columns.items()}

    def files(self) -> list[Path]:
        """Return the JSON files."""
        config = self.config
        names = [file.file for file in config.pools.values()]
        names += [name for name in (config.splits, config.categories) if name]
        return [self.root / name for name in names]

    def __len__(self) -> int:
        return len(self._listing)

    def samples(self) -> Iterator[Sample]:
        """Yield the labelled images in the order of the files, or the boxes of each.

        Raises:
            TailproofError: a file is damaged, or an image does not exist.
        """
        listing = self._listing
        for row, path in enumerate(listing.paths):
            pool, group = listing.pools[row], listing.group[row]
            group = name_group(group, pool, per_pool=self.config.group_per_pool)
            number = box = None
            name = path
            if self.config.cuts_annotations:
                number, box = listing.numbers[row], listing.box(row)
                name = f"{path}:{number}"
            context = tuple(column[row] for column in listing.context.values())
            yield Sample(name, listing.labels.of(row), path, number, pool, group, box, context)

    def skipped(self) -> list[Skipped]:
        """Return the images, annotations and categories that are no samples."""
        return self._listing.left_out.skipped()

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in labels, groups and identifiers."""
        return self._listing.warnings

    @cached_property
    def _listing(self) -> "_Listing":
        return _Listing(self.config, self.context)


class _Listing:
    """The samples of all files, stored by column.

    Attributes:
        paths: the path of the image of each sample.
        pools: the pool of each sample.
        labels: the labels of each sample.
        group: the group of each sample.
        context: the columns of context.
        numbers: the number of the box of each sample among those of its image, if there are boxes.
        left_out: what is no sample.
        warnings: what looks like a mistake.
    """

    def __init__(self, config: CocoJson, context: Sequence[str]) -> None:
        self.config = config
        self.root = Path(config.root)
        self.context = {field: LabelColumn() for field in context}
        self.paths: list[str] = []
        self.pools: list[str | None] = []
        self.labels = Labels([])
        self.group, self._places = LabelColumn(), LabelColumn()
        self.numbers = array("i")
        self.left_out = LeftOut()
        self.warnings: list[str] = []
        self._taxa, self._taxon_codes = Taxa(config.ranks), array("i")
        self._finder, self._problems = FileFinder(self.root), Problems("image")
        self._starts: list[tuple[int, Path]] = []
        self._boxes: list[CocoFile] = []
        self._known_fields: dict[str, None] = {}
        self._file_of_path: dict[str, Path] = {}
        self._others: set[str] = set()
        self._annotations = array("i")
        self._read()

    def __len__(self) -> int:
        return len(self.paths)

    def box(self, row: int) -> Box:
        """Return the box of a sample."""
        return self._boxes[self._file_of(row)].box(self._annotations[row])

    def _read(self) -> None:
        config, categories, pools = self.config, None, None
        if config.categories is not None:
            categories = read_categories(self.root / config.categories)
        if config.splits is not None:
            pools, self.warnings = read_place_splits(self.root / config.splits)
        fields = {PLACE, *filter(None, [config.group]), *self.context}
        for pool, entry in config.pools.items():
            file = self.root / entry.file
            coco = CocoFile(file, fields, categories, boxes=config.cuts_annotations)
            self._warn_of_file(coco)
            self._add(coco, entry.images, pool if pools is None else pools)
        self._problems.check()
        files = listed([str(file) for _, file in self._starts])
        if not self.paths:
            reasons = [f"{each.reason} ({each.count:,})" for each in self.left_out.skipped()]
            raise TailproofError(
                f"{files}: no image is left, expected images with an annotation; left out: "
                f"{listed(reasons, 8) or 'nothing, because no image is listed'}"
            )
        for path in self._finder.unlisted(self._others.union(self._file_of_path)):
            self.left_out.add("images that no file lists", path)
        del self._file_of_path, self._others, self._finder
        self._label(files)
        self._check_groups(files)
        self._check_context(files)
        self._drop_unlearnable(files)
        if config.splits is not None and not {TRAIN, HELD_OUT} <= set(self.pools):
            raise TailproofError(
                f"{self.root / config.splits}: all images are in one split, expected some in "
                "train and some in another: correct the values, which must be those of the field "
                f"'{PLACE}' of the images"
            )

    def _add(self, coco: CocoFile, folder: str, pool: str | dict[str, str] | None) -> None:
        """Append the samples of a file; their pool may depend on their place."""
        self._starts.append((len(self.paths), coco.file))
        self._known_fields |= coco.known_fields
        if self.config.cuts_annotations:
            self._boxes.append(coco)
        taxa = [self._taxa.add(each) if each else -1 for each in coco.categories.values()]
        taxon = np.array(taxa, np.intc)[coco.category_of]
        select = self._select_boxes if self.config.cuts_annotations else self._select_images
        images, annotations, numbers = select(coco, taxon)
        used, place_in_used = np.unique(images, return_inverse=True)
        paths = self._find(coco, used.tolist(), folder)
        group = coco.fields.get(self.config.group) if self.config.group else None
        for position, path_place in enumerate(place_in_used.tolist()):
            image, path = int(images[position]), paths[path_place]
            place = coco.fields[PLACE][image]
            image_pool = pool.get(place or "") if isinstance(pool, dict) else pool
            if path is None:
                continue
            if isinstance(pool, dict) and image_pool is None:
                self.left_out.add("images at places that no split lists", path)
                continue
            self.paths.append(path)
            self.pools.append(image_pool)
            self._places.add(place)
            self.group.add(group[image] if group is not None else None)
            for field, column in self.context.items():
                column.add(coco.fields[field][image])
            self._taxon_codes.append(taxon[annotations[position]])
            if self.config.cuts_annotations:
                self._annotations.append(annotations[position])
                self.numbers.append(numbers[position])

    def _select_images(self, coco: CocoFile, taxon: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the images with one label, and the first annotation of each."""
        count = len(coco.names)
        order = np.flatnonzero(coco.image_of >= 0)
        image = coco.image_of[order].astype(np.int64)
        several = len(self._taxa.labels) + 1
        pairs = np.unique(image * several + taxon[order] + 1)
        taxa_of = np.bincount(pairs // several, minlength=count)
        unknown = np.bincount(image[taxon[order] < 0], minlength=count) > 0
        corrupt = np.zeros(count, bool)
        corrupt[coco.corrupt] = True
        reasons = {
            "images that the file calls corrupt": corrupt,
            "images without an annotation": taxa_of == 0,
            "images with an annotation of a category that is not listed": unknown,
        }
        if self.config.on_several_categories == "skip":
            reasons["images with annotations of several categories"] = taxa_of > 1
        elif chosen := int((taxa_of > 1).sum()):
            self.warnings.append(
                f"{coco.file}: in {quantity(chosen, 'image')} with annotations of several "
                "categories, the first category is the label"
            )
        left = np.zeros(count, bool)
        for reason, mask in reasons.items():
            for row in np.flatnonzero(mask & ~left).tolist():
                self.left_out.add(reason, coco.names[row])
            left |= mask
        images, first = np.unique(image, return_index=True)
        kept = ~left[images]
        return images[kept], order[first[kept]], np.empty(0)

    def _select_boxes(self, coco: CocoFile, taxon: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the image, the annotation and the number in its image for each box."""
        order = np.argsort(coco.image_of, kind="stable")
        order = order[coco.image_of[order] >= 0]
        image = coco.image_of[order]
        first = np.searchsorted(image, image)
        numbers = np.arange(len(order)) - first
        reasons = {
            "boxes in images that the file calls corrupt": np.isin(image, coco.corrupt),
            "annotations of a category that is not listed": taxon[order] < 0,
            "annotations without a box of one object": ~coco.has_box[order],
        }
        left = np.zeros(len(order), bool)
        for reason, mask in reasons.items():
            for place in np.flatnonzero(mask & ~left).tolist():
                self.left_out.add(reason, f"{coco.names[image[place]]}:{numbers[place]}")
            left |= mask
        bare = np.setdiff1d(np.arange(len(coco.names)), image)
        for row in bare.tolist():
            self.left_out.add("images without an annotation", coco.names[row])
        return image[~left], order[~left], numbers[~left]

    def _find(self, coco: CocoFile, images: list[int], folder: str) -> list[str | None]:
        """Return the paths of images; None for those that are left out."""
        found = self._finder.find_listed(
            [coco.names[image] for image in images],
            folder,
            coco.file,
            lambda row: coco.where(images[row]),
            self._problems,
            skipped=self.left_out if self.config.on_missing_image == "skip" else None,
        )
        others = np.setdiff1d(np.arange(len(coco.names)), images).tolist()
        self._others |= {normpath(f"{folder}/{coco.names[row]}") for row in others}
        for row, path in enumerate(found.paths):
            if path in self._file_of_path:
                other = self._file_of_path[path]
                place = "under another id" if other == coco.file else f"in {other}"
                self._problems.add(
                    coco.where(images[row]), f"is listed {place} as well: remove one of the two"
                )
            elif path is not None:
                self._file_of_path[path] = coco.file
        self.warnings += found.warnings
        return found.paths

    def _label(self, files: str) -> None:
        """Make the labels of the samples, and check them."""
        codes = np.frombuffer(self._taxon_codes, np.intc)
        used = np.unique(codes).tolist()
        self._taxa.choose_ranks(used, files)
        for taxon in sorted(set(range(len(self._taxa.labels))).difference(used)):
            name = self._taxa.labels[taxon][-1]
            self.left_out.add("categories without a sample", str(name))
        homonyms = self._taxa.separate_homonyms()
        if homonyms:
            shown = listed([f"'{name}'" for name in homonyms])
            self.warnings.append(
                f"{files}: {quantity(len(homonyms), 'name is', 'names are')} in several places of "
                f"the taxonomy; the name of the parent is added in brackets: {shown}"
            )
        self.labels = Labels(self._taxa.ranks)
        for place, rank in enumerate(self._taxa.ranks):
            values = [labels[place] for labels in self._taxa.labels]
            self.labels.columns[rank] = LabelColumn.of(values, codes)
        columns = list(self.labels.columns.items())
        field = self.config.group
        group = (field, self.group) if field is not None and self.group.names else None
        for name, column in [*columns, *([group] if group else [])]:
            halves = [ascii(value) for value in column.names if not is_encodable(value)]
            if halves:
                raise TailproofError(
                    f"{files}: the field '{name}' contains incomplete characters (lone "
                    f"surrogates): {listed(halves)}; correct these values"
                )
        self.warnings += clean_columns(
            dict(columns), group, self.config.missing, files, self._where
        )
        self.labels.check(files, self._where)

    def _check_groups(self, files: str) -> None:
        config = self.config
        if config.group not in (None, SEQUENCE) and not self.group.names:
            raise self._no_value(files, config.group, "data.source.group")
        without = self.group.codes.count(-1)
        if self.group.names and without:
            self.warnings.append(
                f"{files}: {quantity(without, 'image has', 'images have')} no value of "
                f"'{config.group}'; each is a group of its own"
            )
        places = len(self._places.names)
        if places > 1 and config.group != PLACE and config.splits is None:
            self.warnings.append(
                f"{files}: the images are from {quantity(places, 'place')} (field '{PLACE}'); "
                "images from one place share a background, which a network may learn instead of "
                f"the animals: set data.source.group to {PLACE} to test on other places"
            )

    def _check_context(self, files: str) -> None:
        for field, column in self.context.items():
            if not column.names:
                raise self._no_value(files, field, "data.context")

    def _no_value(self, files: str, field: str, named_by: str) -> TailproofError:
        """Build the error for a field that no image has a value of."""
        if field in self._known_fields:
            return TailproofError(
                f"{files}: no image has a value in the field '{field}': correct {named_by}"
            )
        return TailproofError(
            f"{files}: the images have no field '{field}'"
            f"{suggestion(field, self._known_fields)}; their fields are: "
            f"{listed(list(self._known_fields), 20)} (correct {named_by})"
        )

    def _drop_unlearnable(self, files: str) -> None:
        """Remove labels of val and test that no image of train has, as rare species often are.

        The stage split counts such images of the test set, because they are not tested.
        """
        for rank, column in self.labels.columns.items():
            unknown, untested = compare_pools(column, self.pools)
            counts = column.counts()
            if unknown:
                samples = quantity(
                    sum(counts[name] for name in unknown), "sample has", "samples have"
                )
                self.warnings.append(
                    f"{files}: no expert can learn {quantity(len(unknown), 'class', 'classes')} "
                    f"of the rank '{rank}' without a sample in train: {listed(unknown)}; "
                    f"{samples} therefore no label at this rank"
                )
                column.replace(dict.fromkeys(unknown))
            if untested:
                self.warnings.append(
                    f"{files}: {quantity(len(untested), 'class', 'classes')} of the rank '{rank}' "
                    f"cannot be tested, for lack of a sample in test: {listed(untested)}"
                )

    def _warn_of_file(self, coco: CocoFile) -> None:
        file, total = coco.file, len(coco.image_of)
        for place in np.flatnonzero(coco.image_of < 0).tolist():
            self.left_out.add("annotations of images that are not listed", f"annotations[{place}]")
        counted = {"image": "the first of each id is used", "annotation": "all of them are used"}
        for count, (noun, used) in zip(coco.repeated, counted.items(), strict=True):
            if count:
                self.warnings.append(
                    f"{file}: {quantity(count, f'{noun} has', f'{noun}s have')} the same id as "
                    f"another {noun}; {used}"
                )
        if coco.sequence_labels:
            self.warnings.append(
                f"{file}: {coco.sequence_labels:,} of {quantity(total, 'annotation')} "
                f"{'describes' if coco.sequence_labels == 1 else 'describe'} a whole sequence "
                "(sequence_level_annotation), so single images may not show what their label says"
            )

    def _file_of(self, row: int) -> int:
        """Return the position of the file of a sample."""
        return bisect_right(self._starts, row, key=itemgetter(0)) - 1

    def _where(self, row: int) -> str:
        return f"{self._starts[self._file_of(row)][1]}, image '{self.paths[row]}'"
