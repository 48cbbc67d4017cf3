"""The stage manifest: what all shards hold, gathered without reading an image again."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS, UNKNOWN
from tailproof.data.normalization import normalization
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.data.taxonomy import ancestors
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import quantity


def write_manifest(
    samples_path: str | Path, facts: dict[str, list[Path]], config: Data, output: str | Path
) -> None:
    """Write manifest.json from the facts of all parts.

    Args:
        samples_path: samples.parquet.
        facts: for each split the facts files, in the order of the parts.
        config: the data section.
        output: path of the manifest; shard paths in it are relative to its folder.

    Raises:
        TailproofError: normalization cannot be measured because `train` has one flat colour, or
            `config.positive_class` is not one of two classes.
    """
    metadata = table_metadata(samples_path)
    samples = read_parquet(samples_path, ["height", "width", "pool", *metadata["ranks"]])
    samples = samples.filter(pc.fill_null(pc.not_equal(samples["pool"], UNKNOWN), True))
    height, width = (_only(samples[name]) for name in ("height", "width"))
    parts = {split: [read_json(path) for path in paths] for split, paths in facts.items()}
    folder = Path(output).parent
    target = config.target or metadata["ranks"][-1]
    counts = _add_counts([part["class_counts"] for part in parts["train"]])[target]
    write_json(
        output,
        {
            "target": target,
            "positive": _positive(config.positive_class, counts),
            "ranks": metadata["ranks"],
            "classes": metadata["classes"],
            "ancestors": ancestors(samples.to_pandas(), metadata["ranks"], metadata["classes"]),
            "mode": metadata["mode"],
            "bands": metadata["bands"],
            "height": height if width is not None else None,
            "width": width if height is not None else None,
            "normalization": normalization([part["pixels"] for part in parts["train"]]),
            "splits": {split: _split_facts(facts[split], parts[split], folder) for split in SPLITS},
        },
    )


def write_unknown_manifest(
    manifest_path: str | Path, samples_path: str | Path, facts: dict[str, list[Path]], output: Path
) -> None:
    """Write the manifest of the splits of unknown pictures, in the form of that of the six.

    Args:
        manifest_path: the manifest of the six splits.
        samples_path: samples.parquet.
        facts: for each split of unknown pictures the facts files, in the order of the parts.
        output: path of the manifest, in the folder of the other one.

    Raises:
        TailproofError: the known pictures have one size that is no square, and an unknown one
            another size.
    """
    manifest = read_json(manifest_path)
    height, width = manifest["height"], manifest["width"]
    if height != width:
        _refuse_other_sizes(samples_path, height, width)
    parts = {split: [read_json(path) for path in paths] for split, paths in facts.items()}
    splits = {split: _split_facts(facts[split], parts[split], output.parent) for split in facts}
    write_json(output, {**manifest, "splits": splits})


def _refuse_other_sizes(samples_path: str | Path, height: int, width: int) -> None:
    samples = read_parquet(samples_path, ["sample_id", "height", "width", "pool"])
    samples = samples.filter(pc.equal(samples["pool"], UNKNOWN))
    same = pc.and_(pc.equal(samples["height"], height), pc.equal(samples["width"], width))
    others = samples.filter(pc.invert(same)).to_pylist()
    if others:
        verb = "differs" if len(others) == 1 else "differ"
        raise TailproofError(
            f"data.unknown: {len(others)} of {quantity(len(samples), 'picture')} {verb} in size "
            f"from the known ones, which all have {height}×{width} pixels; the first is "
            f"{others[0]['sample_id']} ({others[0]['height']}×{others[0]['width']}): crop or "
            "resize them"
        )


def _split_facts(paths: list[Path], parts: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Return what a manifest says of a split."""
    return {
        "rows": sum(part["rows"] for part in parts),
        "class_counts": _add_counts([part["class_counts"] for part in parts]),
        "shards": [
            {
                "path": str(path.with_suffix(".parquet").relative_to(folder)),
                **{key: part[key] for key in ("rows", "sha256", "bytes")},
            }
            for path, part in zip(paths, parts, strict=True)
        ],
    }


def _add_counts(parts: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    return {
        rank: {name: sum(part[rank][name] for part in parts) for name in names}
        for rank, names in parts[0].items()
    }


def _positive(named: str | None, counts: dict[str, int]) -> str | None:
    """Return the positive class of two classes; None if there are more."""
    if named is not None and len(counts) != 2:
        raise TailproofError(
            f"data.positive_class is '{named}', but data.target has {len(counts)} classes, "
            "expected 2: remove data.positive_class"
        )
    if named is not None and named not in counts:
        raise unknown_name("class in data.positive_class", named, counts)
    if len(counts) != 2:
        return None
    first, second = counts
    return named or (first if counts[first] < counts[second] else second)


def _only(column: pa.ChunkedArray) -> int | None:
    values = column.unique().to_pylist()
    return values[0] if len(values) == 1 else None
