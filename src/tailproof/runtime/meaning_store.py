"""What modules mean, kept in the user's cache folder between processes, by digest of their content.

Each job and each plan needs the meaning of some 200 modules, and parsing them takes longer than
most jobs. An entry follows from a module's content and this package's way to digest it. The name of
the file has a digest of both Python's version and that way. A file that is missing, damaged or not
writable costs time only.
"""

import atexit
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tailproof.digests import digest_of, sha256_bytes, sha256_file
from tailproof.files import write_text
from tailproof.runtime.errors import TailproofError

MOST = 4096
"""Entries in the file; of more, only those are kept that this process used."""


class MeaningStore:
    """Plain values by the content of a module.

    Args:
        algorithm: the file with the function that `get` calls.
    """

    def __init__(self, algorithm: str | Path) -> None:
        key = [list(sys.version_info[:2]), sha256_file(algorithm)]
        self._path = _folder() / f"{digest_of(key)[:16]}.json"
        self._kept = _read(self._path)
        self._used: dict[str, Any] = {}
        self._complete = True
        atexit.register(self.save)

    def get(self, content: bytes, digest: Callable[[bytes], Any]) -> Any:
        """Return what `digest` returns for a content, computed once per content."""
        key = sha256_bytes(content)
        if key not in self._used:
            if key not in self._kept:
                self._kept[key], self._complete = digest(content), False
            self._used[key] = self._kept[key]
        return self._used[key]

    def save(self) -> None:
        """Write the file if it lacks something."""
        if self._complete:
            return
        entries = _read(self._path) | self._used
        entries = entries if len(entries) <= MOST else self._used
        with suppress(TailproofError, OSError):
            write_text(self._path, json.dumps({"seal": digest_of(entries), "meanings": entries}))
        self._complete = True


def _folder() -> Path:
    """Return where the files are."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(cache, "tailproof", "meanings")


def _read(path: Path) -> dict[str, Any]:
    """Return the entries of a file; none if it is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text("utf-8"))
        if digest_of(content["meanings"]) == content["seal"]:
            return dict(content["meanings"])
    return {}
