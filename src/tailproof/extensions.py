"""A project's own losses, sources, metrics, monitors, detectors and checks: ``extensions/*.py``.

Each file registers what it defines with the decorator of a registry. Every process of the pipeline
imports these files, and the code digest of a stage covers those whose registry the stage can reach:
a new metric makes no training stale. `tailproof predict` and `tailproof diagnose` take folders of
strangers and do not import them.
"""

import importlib
import sys
import traceback
from pathlib import Path

from tailproof.runtime.errors import TailproofError

EXTENSIONS = "extensions"
"""The folder, in the root of a project; also the name of its package."""


def extension_files(root: str | Path = ".") -> list[Path]:
    """Return the extensions of the project in `root`, sorted by name."""
    return sorted(Path(root, EXTENSIONS).glob("[!_]*.py"))


def import_extensions() -> None:
    """Import the extensions of the project in the current folder, sorted by name.

    Raises:
        TailproofError: one of them cannot be imported, or is a package.
    """
    packages = sorted(path.parent for path in Path(EXTENSIONS).glob("[!_]*/__init__.py"))
    if packages:
        first = packages[0]
        raise TailproofError(
            f"{first} is a package, but an extension is one file: move its code to {first}.py, "
            f"or name the folder _{first.name} if extensions import it"
        )
    files = extension_files()
    folder = str(Path.cwd())
    if files and folder not in sys.path:
        sys.path.append(folder)  # last, so that no file of the project hides a package
    for file in files:
        try:
            importlib.import_module(f"{EXTENSIONS}.{file.stem}")
        except Exception as error:  # any kind: this runs the code of a user
            raise TailproofError(_sentence(file, error)) from error


def _sentence(file: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        line, text = error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).name == file.name]
        line, text = (lines or [None])[-1], str(error)
    where = f"{file}, line {line}" if line else str(file)
    return f"{where}: cannot be imported ({type(error).__name__}: {text}): correct or remove it"
