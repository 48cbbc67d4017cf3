"""Runs git commands, if git is installed."""

import hashlib
import subprocess
from pathlib import Path

from tailproof.digests import sha256_file
from tailproof.project import STORES, project_paths


def ask_git(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return the output of a git command in a folder; None without git, repository or commit."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def working_tree_difference(root: Path) -> str | None:
    """Return a digest of what makes the working tree dirty; None if it is as committed.

    Changes of tracked files count, and new files; results and dvc.lock do not.
    """
    paths = project_paths()
    written = [paths.results, *map(str, map(paths.experiment, STORES)), "dvc.lock"]
    without_results = ("--", ".", *(f":!{path}" for path in written))
    changed = ask_git(root, "diff", "HEAD", "--binary", "--no-ext-diff", *without_results) or b""
    listed = (
        ask_git(root, "ls-files", "-z", "--others", "--exclude-standard", *without_results) or b""
    )
    new = sorted(name for name in listed.decode(errors="surrogateescape").split("\0") if name)
    if not changed and not new:
        return None
    digest = hashlib.sha256(changed)
    for name in new:
        path = root / name
        content = sha256_file(path) if path.is_file() else ""
        digest.update(f"\0{name}\0{content}".encode(errors="replace"))
    return digest.hexdigest()
