"""Which package an import comes from, and which version of it counts."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
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


def versions_of(names: Iterable[str], root: Path) -> dict[str, str]:
    """Return the version of the package of each top-level import, by which results are stale.

    It is that of constraints.txt in `root`, or where there is no such file the installed one.

    Raises:
        TailproofError: a package has no version in constraints.txt.
    """
    packages = sorted({package(name) for name in names})
    if not (root / LOCK).is_file():
        return {name: installed(name) for name in packages}
    locked = _parsed((root / LOCK).read_text(encoding="utf-8"))
    for name in packages:
        if name not in locked:
            raise TailproofError(
                f"{root / LOCK} has no version of '{name}', which the workflow's code imports: add "
                "it, since the versions of packages decide what is stale"
            )
    return {name: locked[name] for name in packages}


def installed(package: str) -> str:
    """Return the installed version of a package, without what it was built for (torch's +cpu)."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


@cache
def _parsed(text: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)
