"""Rewrites records as somebody would who changes results and hides it."""

import json
from pathlib import Path

from tailproof.digests import digest_of, sha256_file
from tailproof.files import json_text


def rewrite_records(folder: Path) -> None:
    """Let every record of an experiment say what its files are now, with a right seal.

    Args:
        folder: of the project.
    """
    records = sorted((folder / "results" / "tiny" / "provenance").glob("*/*.json"))
    for _ in range(3):  # the records of report and audit list other records
        for path in records:
            value = json.loads(path.read_text())
            del value["seal"]
            for file in [*value["inputs"], *value["outputs"]]:
                there = folder / file["path"]
                file |= {"sha256": sha256_file(there), "bytes": there.stat().st_size}
            path.write_text(json_text(value | {"seal": digest_of(value)}))


def rewrite_manifest(folder: Path) -> None:
    """Let the facts of the shards and the manifest list the shards as they are now."""
    shards = folder / "results" / "tiny" / "shards"
    manifest = json.loads((shards / "manifest.json").read_text())
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            path = shards / shard["path"]
            now = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
            shard.update(now)
            facts = path.with_suffix(".json")
            facts.write_text(json_text(json.loads(facts.read_text()) | now))
    (shards / "manifest.json").write_text(json_text(manifest))
