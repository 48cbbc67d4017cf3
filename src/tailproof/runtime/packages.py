"""Maps an import to its package and to the version that the code digest uses."""

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
"""Packages that are imported by another name."""

OPTIONAL = {"pillow-heif"}
"""Packages without which the code refuses some files; the others are read as they are with them."""

MISSING = "not installed"


def package(name: str) -> str:
    """Return the package of a top-level import, as constraints.txt spells it."""
    return PACKAGES.get(name, name.lower().replace("_", "-"))


def versions_of(names: Iterable[str], root: Path) -> dict[str, str]:
    """Return the version of the package of each top-level import, for the code digest.

    The version is that of constraints.txt in `root`, or the installed one without that file.

    Raises:
        TailproofError: a package has no version in constraints.txt.
    """
    packages = sorted({package(name) for name in names})
    if not (root / LOCK).is_file():
        return {name: without_build_tag(installed(name)) for name in packages}
    locked = _parsed((root / LOCK).read_text(encoding="utf-8"))
    for name in packages:
        if name not in locked:
            raise TailproofError(
                f"{root / LOCK} has no version of '{name}', which the workflow's code imports: add "
                "it, because package versions decide which results are stale"
            )
    return {name: locked[name] for name in packages}


def installed(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def without_build_tag(version: str) -> str:
    """Return a version without what a package was built for (torch's +cpu)."""
    return version.partition("+")[0]


@cache
def _parsed(text: str) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)
