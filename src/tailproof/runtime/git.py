"""Runs git commands, if git is installed."""

import hashlib
import os
import subprocess
from pathlib import Path

from tailproof.digests import sha256_file
from tailproof.project import STORES, project_paths

QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
"""No lock that a commit of the user would meet, and no question, because nobody may be there."""

LARGE = 256 * 2**10
"""Bytes of a new file whose content is not read: code is smaller, and pictures are many."""


def ask_git(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return the output of a git command in a folder; None without git, repository or commit."""
    done = _run(root, *arguments, given=given)
    return done.stdout if done and done.returncode == 0 else None


def why_unreadable(root: Path) -> str | None:
    """Return why git does not read the repository of a folder; None if it does, or without one."""
    here = root.resolve()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)):
        return None
    done = _run(root, "rev-parse", "--git-dir")
    if done is None:
        return "git is not installed"
    lines = done.stderr.decode(errors="replace").splitlines() or ["it gives no reason"]
    return f"{lines[0]}; `git status` says more" if done.returncode else None


def missing_history(root: Path) -> str | None:
    """Return a sentence about commits that git cannot show; None if there are none."""
    why = why_unreadable(root)
    if why:
        return f"git's history cannot be read ({why}): runs that it alone has are left out"
    if ask_git(root, "rev-parse", "--is-shallow-repository") == b"true\n":
        return (
            "the clone is shallow: runs before its first commit are left out; get them with "
            "`git fetch --unshallow`"
        )
    return None


def working_tree_difference(root: Path) -> str | None:
    """Return a digest of what makes the working tree dirty; None if it is as committed.

    Changes of tracked files count, and new files; results and dvc.lock do not. Of a new file of
    more than `LARGE` bytes, only the size counts.
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
        digest.update(f"\0{name}\0{_content(root / name)}".encode(errors="replace"))
    return digest.hexdigest()


def _run(
    root: Path, *arguments: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a git command; return None if git is not installed."""
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(
            command, input=given, capture_output=True, check=False, env=os.environ | QUIET
        )
    except OSError:
        return None


def _content(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        size = path.stat().st_size
        return sha256_file(path) if size <= LARGE else f"{size} bytes"
    except OSError:  # of another user
        return ""
