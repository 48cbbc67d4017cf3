"""The validators of other people, in the environment that `make test` sets up for them."""

import subprocess
from pathlib import Path

from tests.project import ROOT

BIN = ROOT / ".venv" / "validators" / "bin"


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run a program of .venv/validators."""
    path = BIN / program
    assert path.exists(), f"{path} is missing: `make .venv/validators/.done` sets it up"
    command = [str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
