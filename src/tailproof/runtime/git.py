"""Runs git commands, if git is installed."""

import subprocess
from pathlib import Path


def ask_git(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return the output of a git command in a folder; None without git, repository or commit."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
