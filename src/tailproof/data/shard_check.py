"""Checks shards on disk against their manifest."""

from collections.abc import Mapping
from pathlib import Path

from tailproof.digests import known_sha256
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track


def verify(
    manifest_path: str | Path, *splits: str, digests: Mapping[str, str] | None = None
) -> None:
    """Check that size and SHA-256 of the shards of these splits match the manifest.

    Args:
        manifest_path: shards/manifest.json.
        splits: the splits whose shards to check.
        digests: {path: SHA-256} of shards that are already hashed; others are hashed here.

    Raises:
        TailproofError: a shard is missing or differs from the manifest.
    """
    manifest, folder = read_json(manifest_path), Path(manifest_path).parent
    shards = [shard for split in splits for shard in manifest["splits"][split]["shards"]]
    for shard in track(shards, "verify the shards"):
        path = folder / shard["path"]
        if not path.exists():
            raise TailproofError(
                f"{path} does not exist: run snakemake again with --forcerun shard"
            )
        size = path.stat().st_size
        if size != shard["bytes"]:
            raise TailproofError(
                f"{path} has {size} bytes, expected {shard['bytes']} as in the manifest: delete "
                "it and run snakemake again"
            )
        if known_sha256(path, digests or {}) != shard["sha256"]:
            raise TailproofError(
                f"{path} is not the file that the manifest lists (its SHA-256 differs): delete it "
                "and run snakemake again"
            )
