"""Finds the archive that missing files are still packed in, and says how to unpack it."""

import shlex
from pathlib import Path

from tailproof.runtime.errors import TailproofError

DECOMPRESSED_BY = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz"}
PACKED = (".tar", ".tgz", ".tbz2", ".txz", *DECOMPRESSED_BY)
COMMANDS = {
    ".zip": "unzip -q {file} -d {folder}",
    ".7z": "7z x {file} -o{folder}",
    ".rar": "unrar x {file} {folder}/",
}
ARCHIVES = frozenset({*PACKED, *COMMANDS})
"""Lower-case suffixes of archives and compressed files."""


def is_archive(name: str) -> bool:
    """Return whether a file is an archive or compressed, by its suffix."""
    return Path(name).suffix.lower() in ARCHIVES


def unpack_command(file: Path, folder: Path) -> str | None:
    """Return the command that unpacks an archive into a folder; None for any other file."""
    suffix, packed, target = file.suffix.lower(), shlex.quote(str(file)), shlex.quote(str(folder))
    if suffix in COMMANDS:
        return COMMANDS[suffix].format(file=packed, folder=target)
    if suffix in (".tar", ".tgz", ".tbz2", ".txz") or (suffix in PACKED and ".tar." in file.name):
        return f"mkdir -p {target} && tar -xf {packed} -C {target}"
    if suffix in DECOMPRESSED_BY:
        return f"{DECOMPRESSED_BY[suffix]} -k {packed}"
    return None


def unpacked_folder(file: Path) -> Path:
    """Return the folder with the name of an archive, next to it."""
    folder = file.with_suffix("")
    while folder.suffix.lower() in PACKED:  # .tar.gz
        folder = folder.with_suffix("")
    return folder


def require_unpacked(root: Path) -> None:
    """Check that the root of a source is not an archive, in one, or packed in one next to it.

    Raises:
        TailproofError: it is; the sentence says how to unpack it.
    """
    packed = None if root.is_dir() else describe_packed(root)
    if packed:
        raise TailproofError(f"{packed}, and name its folder in data.source.root")


def describe_packed(path: Path) -> str | None:
    """Return which archive a path that cannot be read is packed in, and how to unpack it.

    Args:
        path: a folder or file. It is packed if it is an archive, would be inside one, or if an
            archive with the name of its first missing folder is next to that.
    """
    try:
        archive = _archive_of(path)
    except OSError:  # a folder that cannot be read
        return None
    if archive is None:
        return None
    command = unpack_command(archive, unpacked_folder(archive))
    return f"{archive} is an archive, which must be unpacked first: run `{command}`"


def _archive_of(path: Path) -> Path | None:
    place = next((place for place in (path, *path.parents) if place.parent.is_dir()), path)
    if place.is_file():
        return place if is_archive(place.name) else None
    if place.exists() or not place.parent.is_dir():
        return None
    others = sorted(file for file in place.parent.iterdir() if is_archive(file.name))
    return next((file for file in others if unpacked_folder(file) == place), None)
