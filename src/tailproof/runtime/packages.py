"""Which package an import comes from, and at which version the project holds it."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tailproof.runtime.errors import TailproofError

LOCK = "constraints.txt"

PACKAGES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages whose import has another name."""


def package(name: str) -> str:
    """Return the package that a top-level import comes from, as constraints.txt spells it."""
    return PACKAGES.get(name, name.lower().replace("_", "-"))


def locked(names: Iterable[str], root: Path) -> dict[str, str]:
    """Return the locked version of the package of each top-level import.

    Raises:
        TailproofError: a package has no version in constraints.txt.
    """
    versions = _versions(root / LOCK)
    found = {package(name) for name in names}
    for name in sorted(found - versions.keys()):
        raise TailproofError(
            f"{root / LOCK} gives no version of '{name}', which the workflow's code imports: add "
            "it, since the versions of packages decide what is stale"
        )
    return {name: versions[name] for name in sorted(found)}


def _versions(path: Path) -> dict[str, str]:
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist: it holds the versions of packages") from None


@cache
def _parsed(text: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)
