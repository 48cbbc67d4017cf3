"""SHA-256 of files, bytes and plain values."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

CHUNK = 1 << 18  # bytes
BATCH = 256  # files


def sha256_bytes(data: bytes | memoryview) -> str:
    """Return the hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the hex SHA-256 of a file's bytes, read in bounded memory."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()


def known_sha256(path: str | Path, digests: Mapping[str, str]) -> str:
    """Return a file's SHA-256 from `digests`, by path, or hash the file."""
    return digests.get(str(path)) or sha256_file(path)


def sha256_files(paths: Iterable[str | Path]) -> list[str]:
    """Return the hex SHA-256 of each file, hashed in parallel: hashing releases the GIL."""
    return list(iterate_sha256(list(paths)))


def iterate_sha256(paths: Sequence[str | Path]) -> Iterator[str]:
    """Yield the hex SHA-256 of each file, as `sha256_files` does."""
    threads = min(8, os.cpu_count() or 1)
    size = min(BATCH, len(paths) // threads + 1)  # files per task, which costs as much as a file
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ThreadPoolExecutor(threads) as pool:
        yield from chain.from_iterable(pool.map(_hash_all, batches))


def _hash_all(paths: Sequence[str | Path]) -> list[str]:
    return [sha256_file(path) for path in paths]


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a plain value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def digest_of(value: Any) -> str:
    """Return the hex SHA-256 of a plain value (dicts, lists, strings, numbers, None)."""
    return sha256_bytes(canonical_json(value).encode())
