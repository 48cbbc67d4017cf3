"""WebDataset: tars in which the files of a sample have one name and several suffixes.

Format: https://github.com/webdataset/webdataset. A sample is ``KEY.jpg`` with ``KEY.cls``,
``KEY.txt`` or ``KEY.json``; the key ends at the first dot of the file name. Each tar is listed once
by its headers, and images are read by their position in it: nothing is extracted.
"""

import tarfile
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from tailproof.config.data import (
    BelowRoot,
    Column,
    GroupPerPool,
    MissingSigns,
    SourceConfig,
    check_missing_columns,
    check_pools,
    distinct_ranks,
)
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.archives.packed_files import require_unpacked
from tailproof.data.sources.archives.tar_head import head_of
from tailproof.data.sources.archives.tar_members import COMPRESSED, Tar, decompress_command
from tailproof.data.sources.archives.tar_samples import TarSamples, is_json
from tailproof.data.sources.base import Recognition, Sample, Skipped, Source, register_source
from tailproof.data.sources.folders.file_patterns import (
    find_files,
    first_files,
    missing_numbers,
    pools_by_keyword,
    source_line,
)
from tailproof.data.sources.folders.filesystem import LARGEST, walk
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.official_splits import name_group
from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed, quantity

OPEN = 32  # tars that are open at a time
SHOWN = 3


def _label_place(text: str) -> str:
    suffix, colon, key = text.lstrip(".").partition(":")
    if not suffix or bool(key) != is_json(suffix) or bool(key) != bool(colon):
        raise ValueError(
            "expected the suffix of a file of each sample, such as cls or txt, or json:KEY for a "
            f"value in its JSON, such as json:label or json:taxon.genus, found '{text}'"
        )
    return f"{suffix.lower()}{colon}{key}"


def _suffix(text: str) -> str:
    return text.lstrip(".").lower()


def _ranks(ranks: dict[str, str]) -> dict[str, str]:
    distinct_ranks(list(ranks))
    return ranks


LabelPlace = Annotated[str, AfterValidator(_label_place)]
Suffix = Annotated[Column, AfterValidator(_suffix)]
Tars = BelowRoot | Annotated[list[BelowRoot], Field(min_length=1)] | None


class WebDataset(SourceConfig):
    """Tars in the format of WebDataset, in which the files of a sample share a name."""

    name: Literal["webdataset"]
    root: str = Field(
        min_length=1, description="A tar, or a folder that contains tars at any depth."
    )
    train: Tars = Field(
        None,
        description="Tars of the training pool, one or a list: a file, a folder, or a pattern "
        "such as train-{000000..000012}.tar or train-*.tar.",
    )
    val: Tars = Field(
        None, description="Tars of the official validation set, which becomes the split val."
    )
    test: Tars = Field(None, description="Tars of the held-out pool.")
    image: Suffix | Annotated[list[Suffix], Field(min_length=1)] | None = Field(
        None,
        description="Suffix of the image of a sample, such as input.jpg, or a list of "
        "alternatives. Default: any suffix of a picture format.",
    )
    ranks: Annotated[dict[Column, LabelPlace], Field(min_length=1), AfterValidator(_ranks)] = Field(
        {"class": "cls"},
        description="Where the label of each rank is, coarse to fine: the suffix of a file that "
        "contains it (cls, txt), or json:KEY for a value in a JSON file.",
    )
    group: LabelPlace | None = Field(
        None, description="Where the group is, such as json:location; a group stays in one split."
    )
    group_per_pool: GroupPerPool = False
    missing: MissingSigns = None

    @model_validator(mode="after")
    def _pools_and_columns_fit(self) -> "WebDataset":
        check_pools(self.train, self.val, self.test, None)
        check_missing_columns(self.missing, list(self.ranks), self.group)
        return self


class _Listing(NamedTuple):
    """The samples of all tars, with their labels and groups, and what looks like a mistake."""

    samples: TarSamples
    labels: Labels
    group: LabelColumn | None
    warnings: list[str]


@register_source(WebDataset)
class WebDatasetSource(Source):
    """Samples of tars. The id of a sample is its tar and its key.

    Its row is the position of the image's header in the tar, in bytes, so that every job reads the
    image without listing the tar again.
    """

    root: Path

    def __init__(self, config: WebDataset) -> None:
        self.config = config
        root = Path(config.root)
        self.root = root.parent if root.is_file() else root
        self.ranks = tuple(config.ranks)
        self._open: dict[str, Tar] = {}

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return what tars contain, judged by the first samples of the first tar."""
        try:
            tars = [path.name] if path.suffix == ".tar" else _tars_of_folder(path)
            folder = path.parent if path.is_file() else path
            head = head_of(folder, tars[0]) if tars else None
        except TailproofError:
            return None
        if head is None or not head.label:
            return None
        source: dict[str, Any] = {"name": "webdataset", "root": str(path), **pools_by_keyword(tars)}
        if head.images:
            source["image"] = head.images[0]
        source["ranks"] = {"class": head.label}
        return Recognition(source, f"{tars[0]} contains samples of {head.files}", sure=head.sure)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted labels of each rank; sorted by value if all are numbers."""
        columns = self._listing.labels.columns
        return {rank: class_order(column.names) for rank, column in columns.items()}

    def files(self) -> list[Path]:
        """Return the tars, without opening any."""
        return [self.root / path for path in self._tars]

    def __len__(self) -> int:
        return len(self._listing.samples.keys)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples tar by tar, those of the training pool first."""
        samples, labels, groups, _ = self._listing
        for number, (path, pool) in enumerate(self._tars.items()):
            for row in range(samples.starts[number], samples.starts[number + 1]):
                group = groups[row] if groups else None
                group = name_group(group, pool, per_pool=self.config.group_per_pool)
                sample_id, offset = f"{path}:{samples.keys[row]}", samples.offsets[row]
                yield Sample(sample_id, labels.of(row), path, offset, pool, group)

    def skipped(self) -> list[Skipped]:
        """Return what is in the tars and is no sample, and the other tars below root."""
        skipped = self._listing.samples.left_out.skipped()
        others = sorted(set(_tars_below(self.root)) - self._tars.keys())
        if Path(self.config.root).is_dir() and others:
            skipped.append(Skipped("tars that are not read", len(others), tuple(others[:SHOWN])))
        return skipped

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in the names of the tars, the keys and the labels."""
        sentences = list(self._listing.warnings)
        if missing := list(missing_numbers(list(self._tars))):
            sentences.append(
                f"{self.root}: the numbers of the tars have gaps, so a download may not be "
                f"complete ({quantity(len(missing), 'tar')} may be missing: "
                f"{listed(missing, SHOWN)})"
            )
        return sentences

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the image whose header is at byte `row` of a tar."""
        assert row is not None  # every sample has one
        if path not in self._open:
            while len(self._open) >= OPEN:
                self._open.popitem()[1].close()
            self._open[path] = Tar(self.root / path)
        return self._open[path].read(row, LARGEST)

    @cached_property
    def _tars(self) -> dict[str, str | None]:
        """The pool of each tar, by its path below root."""
        root, config = Path(self.config.root), self.config
        if not root.exists():
            require_unpacked(root)
            raise TailproofError(f"{root} does not exist: correct data.source.root")
        if config.train is None:
            return dict.fromkeys([root.name] if root.is_file() else self._all_tars())
        if root.is_file():
            raise TailproofError(
                f"{root} is a file: remove data.source.train, or set root to its folder"
            )
        pools = {TRAIN: config.train, VAL: config.val, HELD_OUT: config.test}
        tars: dict[str, str | None] = {}
        for pool, patterns in pools.items():
            for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
                for path in find_files(root, pattern, ".tar"):
                    if tars.setdefault(path, pool) != pool:
                        raise TailproofError(
                            f"{root / path} is in two pools: data.source.train, data.source.val "
                            "and data.source.test must not overlap"
                        )
        return tars if config.test else dict.fromkeys(tars)

    def _all_tars(self) -> list[str]:
        """Return all tars below root, which must be of one split."""
        paths = _tars_below(self.root)
        tars = [path for path in paths if not COMPRESSED.fullmatch(path)]
        if not tars:
            advice = "correct data.source.root"
            if paths:
                advice = (
                    f"decompress {listed(paths, SHOWN)} to tars, such as the first one with "
                    f"`{decompress_command(self.root / paths[0])}`"
                )
            raise TailproofError(f"{self.root} contains no .tar file: {advice}")
        if pools := pools_by_keyword(tars):
            raise TailproofError(
                f"{self.root} contains tars of several splits: write "
                f"{source_line('webdataset', self.config.root, pools)}"
            )
        return tars

    @cached_property
    def _listing(self) -> _Listing:
        config = self.config
        images = [config.image] if isinstance(config.image, str) else config.image
        places = [*config.ranks.values(), *filter(None, [config.group])]
        samples = TarSamples(self.root, images, places)
        for tar, member in track(self._members(samples), f"list the tars of {self.root}"):
            samples.add(tar, member)
        samples.finish()
        labels = Labels(config.ranks)
        labels.columns = dict(zip(config.ranks, samples.columns, strict=False))
        samples.require(labels.columns, config.ranks)
        group = samples.columns[-1] if config.group else None
        return _Listing(samples, labels, group, self._check(samples, labels, group))

    def _members(self, samples: TarSamples) -> Iterator[tuple[Tar, tarfile.TarInfo]]:
        for path in self._tars:
            with closing(Tar(self.root / path)) as tar:
                samples.start(path)
                for member in tar.members():
                    yield tar, member

    def _check(self, samples: TarSamples, labels: Labels, group: LabelColumn | None) -> list[str]:
        """Drop the signs for a missing value, join spellings, and return warnings."""
        config, root = self.config, self.config.root
        groups = None if config.group is None or group is None else (config.group, group)
        warnings = clean_columns(labels.columns, groups, config.missing, root, samples.place)
        labels.check(root, samples.place)
        repeated = len(samples.keys) - len(set(samples.keys))
        if repeated:
            warnings.append(
                f"{root}: {quantity(repeated, 'key is', 'keys are')} in more than one tar; samples "
                "with the same key are read as different ones"
            )
        return warnings


def _tars_of_folder(folder: Path) -> list[str]:
    """Return the tars below a folder, if one of its first files is a tar."""
    if not folder.is_dir() or not any(file.suffix == ".tar" for file in first_files(folder)):
        return []
    return [path for path in _tars_below(folder) if not COMPRESSED.fullmatch(path)]


def _tars_below(root: Path) -> list[str]:
    """Return the sorted paths of all tars below a folder, compressed or not."""
    try:
        paths = [file.relative_to(root).as_posix() for file in walk(root)]
    except OSError as error:
        raise unreadable(error.filename, error) from None
    return sorted(path for path in paths if path.endswith(".tar") or COMPRESSED.fullmatch(path))
