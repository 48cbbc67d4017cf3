"""SHA-256 of files, bytes and plain values."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the hex SHA-256 of a file's bytes, read in bounded memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: str | Path, digests: Mapping[str, str]) -> str:
    """Return a file's SHA-256 from `digests`, by path, or hash the file."""
    return digests.get(str(path)) or sha256_file(path)


def sha256_files(paths: Iterable[str | Path]) -> list[str]:
    """Return the hex SHA-256 of each file, hashed in parallel: hashing releases the GIL."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(sha256_file, paths))


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a plain value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def digest_of(value: Any) -> str:
    """Return the hex SHA-256 of a plain value (dicts, lists, strings, numbers, None)."""
    return sha256_bytes(canonical_json(value).encode())
