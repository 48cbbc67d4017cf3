"""Checks the invariants of the splits in the files: disjoint, complete, test not read.

That a job reads no result that it does not declare is checked while it runs, in
`tailproof.runtime.undeclared_reads`.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tailproof.config.splits import SPLITS, UNKNOWN
from tailproof.data.duplicate_pairs import clusters_of, read_pairs
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.project import project_paths
from tailproof.provenance.raw_files import pinned_files
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.stages import STAGES
from tailproof.text import quantity


def broken_invariants(folder: Path, ledger: Ledger) -> list[str]:
    """Return a sentence for each violated invariant and for a file that cannot be read."""
    readers = [*_readers_of_test(ledger), *_readers_of_raw(ledger)]
    if not ((folder / "samples.parquet").exists() and (folder / "splits.parquet").exists()):
        return readers
    try:
        samples = read_parquet(folder / "samples.parquet", ["sample_id", "digest", "group", "pool"])
        splits = read_parquet(folder / "splits.parquet", ["sample_id", "split"])
        joined = splits.join(samples, "sample_id")
        problems = [
            *_unknown_in_six(folder, joined, ledger),
            *_shared(joined, "digest", "content"),
            *_shared(joined, "group", "group"),
            *_shared_copies(folder, samples, splits, ledger),
            *_wrong_rows(folder / "shards", splits, ("*",)),
            *_wrong_rows(folder / "experts", splits, ("*", "*", "logits")),
            *_wrong_rows(folder / "experts", splits, ("*", "*", "raw_logits")),
        ]
    except (TailproofError, pa.ArrowException) as error:
        problems = [str(error)]
    return [*problems, *readers]


def _unknown_in_six(folder: Path, joined: pa.Table, ledger: Ledger) -> Iterator[str]:
    """Report samples of unknown classes in the six splits, known ones in the others, and labels."""
    is_six = pc.is_in(joined["split"], pa.array(SPLITS))
    is_unknown = pc.fill_null(pc.equal(joined["pool"], UNKNOWN), False)
    misplaced = joined.filter(pc.equal(is_six, is_unknown)).sort_by("sample_id")
    if len(misplaced):
        first = misplaced.slice(0, 1).to_pylist()[0]
        yield (
            f"splits.parquet: {quantity(len(misplaced), 'sample')} of unknown classes "
            f"{'is' if len(misplaced) == 1 else 'are'} in the six splits, or of known classes in "
            f"those of unknown images, for instance {first['sample_id']} in {first['split']}"
        )
    metadata = table_metadata(folder / "samples.parquet")
    for record in ledger:
        data = record.parameters.get("data", {}) if record.rule == "prepare" else {}
        unknown = (data.get("unknown") or {}).get("classes", [])
        if not unknown:
            continue
        rank = data["target"] or metadata["ranks"][-1]
        labels = read_parquet(folder / "samples.parquet", ["sample_id", rank])
        labelled = pc.sum(pc.is_in(labels[rank], pa.array(unknown))).as_py() or 0
        listed = sorted({*unknown} & {*metadata["classes"][rank]})
        if labelled or listed:
            yield (
                f"samples.parquet: {quantity(labelled, 'sample')} "
                f"{'has' if labelled == 1 else 'have'} the label of a class that "
                "data.unknown.classes holds out; of these classes, its list has "
                f"{', '.join(listed) or 'none'}"
            )


def _shared(joined: pa.Table, column: str, word: str) -> Iterator[str]:
    """Report contents or groups that are in more than one split."""
    counted = joined.group_by(column).aggregate([("split", "count_distinct")])
    shared = counted.filter(pc.greater(counted["split_count_distinct"], 1))[column]
    if len(shared):
        rows = joined.filter(pc.is_in(joined[column], shared)).sort_by(column)
        first = rows.filter(pc.equal(rows[column], rows[column][0])).to_pylist()
        yield (
            f"splits.parquet: samples of the same {word} are in more than one split "
            f"({quantity(len(shared), 'case')}), for instance "
            + ", ".join(f"{row['sample_id']} in {row['split']}" for row in first[:3])
        )


def _shared_copies(
    folder: Path, samples: pa.Table, splits: pa.Table, ledger: Ledger
) -> Iterator[str]:
    """Report near duplicates in more than one split, if split was asked to group them."""
    path = folder / "near_duplicates" / "pairs.parquet"
    read = {file.path for record in ledger if record.rule == "split" for file in record.inputs}
    if path.as_posix() not in read or not path.exists():
        return
    pairs, _ = read_pairs(path, samples["sample_id"].combine_chunks())
    clusters = pa.array(clusters_of(pairs, len(samples)))
    joined = splits.join(samples.append_column("cluster", clusters), "sample_id")
    yield from _shared(joined, "cluster", "cluster of near duplicates")


def _wrong_rows(folder: Path, splits: pa.Table, pattern: tuple[str, ...]) -> Iterator[str]:
    """Compare the samples in each split's files with splits.parquet."""
    tables = "/".join(pattern)
    by_place: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(folder.glob(f"{tables}/*.parquet")):
        shard = path.stem.startswith("part-")
        split = path.parent.name if shard else path.stem
        by_place.setdefault((path.parent, split), []).append(path)
    for (place, split), paths in by_place.items():
        stored = pa.concat_tables([read_parquet(path, ["sample_id"]) for path in paths])[
            "sample_id"
        ]
        expected = splits.filter(pc.equal(splits["split"], split))["sample_id"]
        repeated = len(stored) - len(pc.unique(stored))
        foreign = pc.sum(pc.invert(pc.is_in(stored, expected))).as_py() or 0
        missing = pc.sum(pc.invert(pc.is_in(expected, stored))).as_py() or 0
        if repeated or foreign or missing:
            yield (
                f"{place}: the rows of split {split} differ from splits.parquet (of another split: "
                f"{foreign}, repeated: {repeated}, missing: {missing})"
            )


def _readers_of_test(ledger: Ledger) -> Iterator[str]:
    """Report every job that read a file of the split test without permission."""
    for record in ledger:
        for file in record.inputs:
            if not _of_test(project_paths().inside(file.path) or ()):
                continue
            # The manifests may read the facts about the shards, but no images.
            facts = record.rule in ("manifest", "manifest_unknown")
            images = facts and not file.path.endswith(".json")
            if record.rule not in STAGES or not STAGES[record.rule].reads_test or images:
                yield f"{record.path}: {record.rule} must not read test, but read {file.path}"


def _readers_of_raw(ledger: Ledger) -> Iterator[str]:
    """Report every job that opened a pinned raw file although its stage must not read any."""
    pinned = {Path.cwd() / path for path in pinned_files(ledger)}
    for record in ledger:
        opened = [path for path in record.undeclared if Path.cwd() / path in pinned]
        if opened:
            yield (
                f"{record.path}: {record.rule} must not read raw files, but opened "
                f"{quantity(len(opened), 'raw file')}; the first is {opened[0]}"
            )


def _of_test(parts: tuple[str, ...]) -> bool:
    """Return whether a path has images, features or logits of test, or of unknown_test."""
    match parts:
        case (_, "shards", "test" | "unknown_test", _):
            return True
        case (_, "shards", "unknown_features", _, "unknown_test.parquet", _):
            return True
        case ("features", _, "test.parquet", _):
            return True
        case (_, "experts", _, _, "logits" | "raw_logits", "test.parquet"):
            return True
    return False
