"""Compares raw data with raw.parquet, which pins the checksum of every raw file."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from tailproof.data.tables import read_parquet
from tailproof.digests import sha256_files
from tailproof.project import project_paths
from tailproof.provenance.verdict import Verdict
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger
from tailproof.text import quantity


def check_raw(ledger: Ledger, read_today: Iterable[str] = ()) -> tuple[list[Verdict], list[str]]:
    """Hash the raw files of an experiment again.

    Args:
        ledger: the ledger of the experiment.
        read_today: the files that prepare would read now.

    Returns:
        A verdict per file, and a note if the raw data are not on this machine at all.
    """
    pinned = pinned_files(ledger)
    added = [
        Verdict(path, "orphan", "new since prepare ran: raw.parquet does not list it")
        for path in sorted(set(read_today) - {str(path) for path in pinned})
        if pinned
    ]
    there = [path for path in pinned if path.is_file()]
    if pinned and not there:
        count, folder = quantity(len(pinned), "raw file"), next(iter(pinned)).parent
        one = len(pinned) == 1
        return [], [
            f"{count} {'is' if one else 'are'} not on this machine ({folder}), so "
            f"{'its checksum' if one else 'their checksums'} in raw.parquet "
            f"{'was' if one else 'were'} not verified"
        ]
    digests = dict(zip(there, sha256_files(there), strict=True))
    verdicts = [_verdict(path, sha256, digests.get(path)) for path, sha256 in pinned.items()]
    return added + verdicts, []


def pinned_files(ledger: Ledger) -> dict[Path, str]:
    """Return the pinned SHA-256 of every raw file, by path; empty without raw.parquet."""
    try:
        table = read_parquet(
            project_paths().experiment(ledger.experiment) / "raw.parquet", ["path", "sha256"]
        )
        table = table.cast(pa.schema([("path", pa.string()), ("sha256", pa.string())]))
    except (TailproofError, pa.ArrowException):
        return {}  # missing or damaged: the audit reports the file itself
    root = raw_root(ledger)
    return {root / row["path"]: row["sha256"] for row in table.to_pylist()}


def raw_root(ledger: Ledger) -> Path:
    """Return the folder that raw paths are relative to, from prepare's record."""
    for record in ledger:
        if record.rule == "prepare":
            root = Path(record.parameters["data"]["source"].get("root", ""))
            return root.parent if root.is_file() else root
    return Path()


def _verdict(path: Path, pinned: str, now: str | None) -> Verdict:
    if now is None:
        return Verdict(path.as_posix(), "missing", "listed in raw.parquet, but does not exist")
    if now != pinned:
        why = f"SHA-256 {now[:12]}…, but {pinned[:12]}… in raw.parquet"
        return Verdict(path.as_posix(), "altered", why)
    return Verdict(path.as_posix(), "proven")
