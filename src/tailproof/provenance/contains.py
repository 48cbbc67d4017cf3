"""The command `tailproof contains`: which images an expert has seen, and in which split.

The answer comes from the tables of an experiment, after they were compared with the ledger, or
from the fingerprints in the attested folder of an expert.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from tailproof.config.splits import SPLITS
from tailproof.data.copy_search import KnownPictures
from tailproof.data.fingerprint_table import DIGEST_BYTES, Fingerprints, ImageTables
from tailproof.data.grey_thumbnail import SIDE, read_thumbnails, thumbnail
from tailproof.data.heic import without_heic
from tailproof.data.image_files import FoundImages, find_images
from tailproof.data.images import pixel_digest, read_picture
from tailproof.data.picture_hashes import is_usable
from tailproof.data.sources.folders.filesystem import read_file
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.digests import sha256_bytes, sha256_files
from tailproof.output import report
from tailproof.project import project_paths
from tailproof.provenance.ancestors import image_tables, records_behind
from tailproof.provenance.attestation_files import FINGERPRINTS, STATEMENT
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.runtime.ledger import experiment_of, read_ledger
from tailproof.runtime.progress import track
from tailproof.terminal import Console, escape
from tailproof.text import quantity
from tailproof.untrusted_files import read_json
from tailproof.untrusted_text import csv_line, printable

FILE, PIXELS, NEAR, NONE, UNREADABLE = "file", "pixels", "near duplicate", "no", "unreadable"
KINDS = (FILE, PIXELS, NEAR)
"""How an image is known, the surest first."""

NO_SPLIT = "none"
"""An image of the collection that no split holds, such as an exact copy of another one."""

WORDS = {
    FILE: "the same file",
    PIXELS: "the same pixels",
    NEAR: "near duplicates",
    NO_SPLIT: "known, but in no split",
    NONE: "unknown",
    UNREADABLE: "unreadable",
}
"""How the answers are counted for a reader, the surest first."""

BATCH = 65_536  # images whose thumbnails are in memory
COLUMNS = (
    "file", "answer", "experiment", "split", "sample_id", "path", "correlation", "bits",
    "mirrored", "scale",
)  # fmt: skip
FOUND, UNREAD = 3, 1
"""Exit statuses: an image is in a split; none is, but some cannot be read."""


class Match(NamedTuple):
    """An image of the collection that an asked image is, or is a copy of."""

    answer: str
    experiment: str
    split: str
    sample_id: str | None = None
    path: str | None = None
    correlation: float | None = None
    bits: int | None = None
    mirrored: bool | None = None
    scale: float | None = None


@dataclass
class Asked:
    """Images that are asked about.

    Attributes:
        files: their files.
        sha256: of each file.
        digests: of the pixels of each.
        thumbnails: uint8 [Q, SIDE, SIDE].
    """

    files: list[Path]
    sha256: list[str]
    digests: list[str]
    thumbnails: np.ndarray


class Collection(Protocol):
    """Images whose splits are known."""

    mode: str

    def matches(self, asked: Asked) -> Iterator[tuple[int, Match]]:
        """Yield the index of an asked image with an image of the collection that it is."""
        ...


class ExperimentImages:
    """The images of an experiment in the project.

    Raises:
        TailproofError: a table is missing, damaged, or not the one on record.
    """

    def __init__(self, tables: ImageTables) -> None:
        _check_on_record(tables)
        samples = read_parquet(tables.samples, ["sample_id", "digest", "path"])
        splits = read_parquet(tables.splits, ["sample_id", "split"])
        ids, self._thumbnails = read_thumbnails(tables.thumbnails)
        order = pc.index_in(ids, samples["sample_id"].combine_chunks())
        self._samples = samples.take(order).combine_chunks()
        self._names = [self._samples[name].to_pylist() for name in ("sample_id", "path")]
        names = splits["split"].take(pc.index_in(ids, splits["sample_id"].combine_chunks()))
        self._parts = pc.index_in(names, pa.array(SPLITS)).fill_null(len(SPLITS)).to_numpy()
        self._raw = read_parquet(tables.raw, ["path", "sha256"])
        self._experiment = tables.experiment
        self.mode = str(table_metadata(tables.samples)["mode"])

    @cached_property
    def _known(self) -> KnownPictures:
        return KnownPictures(self._thumbnails, self._parts)

    def matches(self, asked: Asked) -> Iterator[tuple[int, Match]]:
        """Yield what each asked image is, the surest answers first."""
        read = self._raw.filter(pc.is_in(self._raw["sha256"], pa.array(asked.sha256, pa.string())))
        paths = dict(zip(*(read[name].to_pylist() for name in ("path", "sha256")), strict=True))
        yield from self._same(FILE, "path", asked.sha256, paths)
        yield from self._same(PIXELS, "digest", asked.digests, {d: d for d in asked.digests})
        copies = self._known.copies(asked.thumbnails)
        for place in range(len(copies)):
            match = self._match(NEAR, int(copies.known[place]))
            yield (
                int(copies.asked[place]),
                match._replace(
                    correlation=round(float(copies.correlation[place]), 4),
                    mirrored=bool(copies.mirrored[place]),
                    scale=round(float(copies.scale[place]), 3),
                ),
            )

    def _same(
        self, answer: str, column: str, asked: list[str], digest_of: dict[str, str]
    ) -> Iterator[tuple[int, Match]]:
        """Yield samples with a value in a column, for the asked images with its digest."""
        indices: dict[str, list[int]] = {}
        for index, digest in enumerate(asked):
            indices.setdefault(digest, []).append(index)
        values = self._samples[column]
        rows = np.flatnonzero(pc.is_in(values, pa.array(list(digest_of), pa.string())).to_numpy())
        for row, value in zip(rows.tolist(), values.take(pa.array(rows)).to_pylist(), strict=True):
            for index in indices.get(digest_of[value], ()):
                yield index, self._match(answer, row)

    def _match(self, answer: str, row: int) -> Match:
        split = (*SPLITS, NO_SPLIT)[self._parts[row]]
        sample_id, path = (names[row] for names in self._names)
        return Match(answer, self._experiment, split, sample_id, path)


class PublishedImages:
    """The images of an expert whose folder has fingerprints."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self.mode = fingerprints.mode

    def matches(self, asked: Asked) -> Iterator[tuple[int, Match]]:
        """Yield what each asked image is, the surest answers first."""
        known = self._fingerprints
        for index, digest in enumerate(asked.digests):
            for row in known.rows.get(bytes.fromhex(digest)[:DIGEST_BYTES], ()):
                yield index, Match(PIXELS, known.experiments[row], known.splits[row])
        for index, row, bits, mirrored in zip(*known.near(asked.thumbnails), strict=True):
            match = Match(NEAR, known.experiments[row], known.splits[row])
            yield int(index), match._replace(bits=int(bits), mirrored=bool(mirrored))


def contains(expert: str, places: Sequence[str], *, as_csv: bool, console: Console) -> int:
    """Print which images are in a split of an expert's experiment; return the exit status.

    Args:
        expert: the name of an experiment, the folder of an expert, or a copy of it.
        places: image files and folders.
        as_csv: whether to print a row for every image as CSV, not a table of those that are in.
        console: where the table goes.

    Raises:
        TailproofError: the expert or a place does not exist, or a table does not hold.
    """
    collections, notes = open_collections(expert)
    found = find_images(places, collections[0].mode)
    search = _Search(collections, list(found.files))
    counts = dict.fromkeys(WORDS, 0)
    counts[UNREADABLE] = len(found.unreadable)
    answers = _counted(search.answers(), counts)
    if as_csv:
        sys.stdout.write(csv_line(COLUMNS))
        for file, match in answers:
            sys.stdout.write(csv_line([printable(file), *_cells(match)]))
        sys.stdout.flush()
    else:
        _print_table(answers, console)
    for error in (*found.unreadable, *search.errors):
        report(printable(error))
    _report(found, search, counts, [*notes, *search.notes()])
    if any(counts[kind] for kind in KINDS):
        return FOUND
    return UNREAD if counts[UNREADABLE] else 0


def open_collections(expert: str) -> tuple[list[Collection], list[str]]:
    """Return the images that an expert may have learnt, and what is not known of them.

    Raises:
        TailproofError: there is no such expert, or it does not say.
    """
    path = Path(expert)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    name = experiment_of(path) if path.is_dir() else expert
    ledger = read_ledger(name) if name and project_paths().experiment(name).is_dir() else None
    if ledger and ledger.records:
        files = [file for file in ledger.files if name == expert or Path(file).is_relative_to(path)]
        lineage = records_behind(files)
        if tables := image_tables(lineage):
            notes = [
                f"the pretrained weights {record.name} were trained on images that no ledger lists"
                for record in lineage
                if record.rule == "fetch"
            ]
            return [ExperimentImages(table) for table in tables], notes
    if (path / FINGERPRINTS).is_file():
        _check_fingerprints(path)
        note = (
            "fingerprints do not show most crops: ask in the project where the expert was trained"
        )
        return [PublishedImages(Fingerprints.read(path / FINGERPRINTS))], [note]
    if path.is_dir():
        raise TailproofError(
            f"{path} does not say which images it was trained on: it is not in the results of this "
            f"project, and has no {FINGERPRINTS}, which `tailproof attest NAME --fingerprints` "
            "writes"
        )
    names = sorted(
        folder.parent.name for folder in Path(project_paths().results).glob("*/provenance")
    )
    raise unknown_name("experiment or folder of an expert", expert, names)


def _check_on_record(tables: ImageTables) -> None:
    """Refuse tables that are not those on record."""
    paths = [tables.samples, tables.splits, tables.thumbnails, tables.raw]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise TailproofError(f"{missing[0]} does not exist: run snakemake, or `dvc pull`")
    names = {name for path in paths if (name := experiment_of(path)) is not None}
    ledgers = {name: read_ledger(name) for name in names}
    for path, digest in zip(paths, sha256_files(paths), strict=True):
        name = experiment_of(path)
        recorded = ledgers[name].files.get(path.as_posix()) if name else None
        if recorded is None or recorded.sha256 != digest:
            raise TailproofError(
                f"{path} is not the file that its record lists: see `tailproof audit "
                f"{tables.experiment}`"
            )


def _check_fingerprints(folder: Path) -> None:
    """Refuse fingerprints that are not those of the statement; `tailproof verify` checks more."""
    statement = read_json(folder / STATEMENT)
    (digest,) = sha256_files([folder / FINGERPRINTS])
    try:
        byproducts = statement["predicate"]["runDetails"]["byproducts"]
        named = {file["name"]: file["digest"]["sha256"] for file in byproducts}
    except (KeyError, TypeError):
        named = {}
    if named.get("fingerprints") != digest:
        raise TailproofError(
            f"{folder / FINGERPRINTS} is not the table that {STATEMENT} names: copy the whole "
            "folder again"
        )


class _Search:
    """Reads images and looks for them in collections.

    Attributes:
        errors: of the images that cannot be read.
        seconds: how long reading and decoding, and searching took.
        flat: number of images with nothing to compare but their pixels.
    """

    def __init__(self, collections: list[Collection], files: list[Path]) -> None:
        self._collections, self._files = collections, files
        self.errors: list[TailproofError] = []
        self.seconds = {"reading and decoding": 0.0, "searching": 0.0}
        self.flat = 0

    def answers(self) -> Iterator[tuple[Path, Match]]:
        """Yield a row for each image and split that it is in, or one that says it is in none."""
        for start in range(0, len(self._files), BATCH):
            files = self._files[start : start + BATCH]
            began = time.perf_counter()
            with ThreadPoolExecutor() as pool:
                read = list(track(pool.map(read_one, files), "contains", len(files)))
            self.seconds["reading and decoding"] += time.perf_counter() - began
            began = time.perf_counter()
            asked = _asked(files, read)
            best: list[dict[tuple[str, str], Match]] = [{} for _ in asked.files]
            for collection in self._collections:
                for index, match in collection.matches(asked):
                    best[index].setdefault((match.experiment, match.split), match)
            self.seconds["searching"] += time.perf_counter() - began
            self.flat += int((~is_usable(asked.thumbnails)).sum())
            known = iter(best)
            for file, facts in zip(files, read, strict=True):
                if isinstance(facts, TailproofError):
                    self.errors.append(facts)
                    yield file, Match(UNREADABLE, "", "")
                else:
                    yield from ((file, match) for match in _in_order(next(known)))

    def notes(self) -> list[str]:
        """Return what the search cannot see."""
        flat = quantity(self.flat, "image")
        note = f"{flat} of a single colour can be recognized only if the pixels are identical"
        return [note] * bool(self.flat)


def _in_order(best: dict[tuple[str, str], Match]) -> list[Match]:
    places = (*SPLITS, NO_SPLIT)
    order = sorted(best.values(), key=lambda m: (m.experiment, places.index(m.split)))
    return order or [Match(NONE, "", "")]


def read_one(file: Path) -> tuple[str, str, np.ndarray] | TailproofError:
    """Return the digests of a file and of its pixels, and its thumbnail; or why it has none."""
    try:
        data = read_file(file)
        pixels = read_picture(without_heic(data)).pixels
        return sha256_bytes(data), pixel_digest(pixels), thumbnail(pixels)
    except TailproofError as error:
        text = str(error)
        return TailproofError(text if text.startswith(str(file)) else f"{file}: {text}")


def _asked(files: list[Path], read: list[tuple[str, str, np.ndarray] | TailproofError]) -> Asked:
    good = [
        (file, *facts)
        for file, facts in zip(files, read, strict=True)
        if not isinstance(facts, TailproofError)
    ]
    thumbnails = np.array([facts[3] for facts in good], np.uint8).reshape(-1, SIDE, SIDE)
    return Asked(
        [file for file, *_ in good],
        [sha256 for _, sha256, *_ in good],
        [digest for _, _, digest, _ in good],
        thumbnails,
    )


def _counted(
    answers: Iterable[tuple[Path, Match]], counts: dict[str, int]
) -> Iterator[tuple[Path, Match]]:
    """Count each image once, by its surest answer in a split."""
    before, surest = None, ""
    order = list(WORDS)
    for file, match in answers:
        answer = NO_SPLIT if match.split == NO_SPLIT else match.answer
        if file != before:
            counts[answer] += 1
            before, surest = file, answer
        elif order.index(answer) < order.index(surest):
            counts[surest] -= 1
            counts[answer] += 1
            surest = answer
        yield file, match


def _cells(match: Match) -> list[str | float | int | None]:
    mirrored = {True: "yes", False: "no", None: None}[match.mirrored]
    texts = [printable(text) if text else None for text in match[:5]]
    return [*texts, match.correlation, match.bits, mirrored, match.scale]


def _print_table(answers: Iterable[tuple[Path, Match]], console: Console) -> None:
    table = Table(*("image", "is in", "by its", "sample", "how"), box=None, pad_edge=False)
    for file, match in answers:
        if match.answer in KINDS:
            how = [f"correlation {match.correlation}"] * (match.correlation is not None)
            how += [f"{match.bits} {'bit differs' if match.bits == 1 else 'bits differ'}"] * (
                match.bits is not None
            )
            how += ["mirrored"] * bool(match.mirrored)
            how += [f"crop to {match.scale}"] * (match.scale not in (None, 1.0))
            place = f"{match.experiment}: {match.split}"
            cells = [file, place, match.answer, match.sample_id or "", ", ".join(how)]
            table.add_row(*map(escape, cells))
    if table.row_count:
        console.print(table)


def _report(found: FoundImages, search: _Search, counts: dict[str, int], notes: list[str]) -> None:
    """Print the counts and the duration to stderr."""
    if found.skipped:
        report(found.passed_over)
    for note in notes:
        report(note)
    shown = [f"{count:,} {WORDS[kind]}" for kind, count in counts.items() if count]
    seconds = ", ".join(f"{name} {time_s:.2f} s" for name, time_s in search.seconds.items())
    total = quantity(sum(counts.values()), "image")
    print(f"{total}: {', '.join(shown)}; {seconds}", file=sys.stderr)
