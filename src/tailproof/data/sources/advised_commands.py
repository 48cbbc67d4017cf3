"""The commands that messages advise: one writes a table of labels, another imports it."""

import json
import shlex
from pathlib import Path


def python_command(code: str) -> str:
    """Return the command that runs code of Python, as messages show commands."""
    return f"`python -c {shlex.quote(code)}`"


def import_command(path: Path) -> str:
    """Return the command that imports a file or folder, as messages show commands."""
    return f"`tailproof import {shlex.quote(str(path))}`"


def python_text(text: str | Path) -> str:
    """Return a text as it is written in Python, in double quotes."""
    return json.dumps(str(text), ensure_ascii=False)
