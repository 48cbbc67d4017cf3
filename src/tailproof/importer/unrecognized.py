"""Says what is in a path that no source reads, and what would make it readable."""

import re
import shlex
from collections import Counter
from itertools import islice
from pathlib import Path

from tailproof.data.image_formats import kind_of
from tailproof.data.sources.archives.packed_files import (
    is_archive,
    unpack_command,
    unpacked_folder,
)
from tailproof.data.sources.folders.class_folders import is_picture
from tailproof.data.sources.folders.filesystem import Folder
from tailproof.data.sources.folders.folder_layout import quoted
from tailproof.data.sources.folders.foreign_files import (
    FOREIGN,
    UNREAD,
    describe_foreign,
    describe_unread,
)
from tailproof.data.sources.idx import NAMES
from tailproof.data.sources.tables.table_recognition import WIDEST
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_files import open_regular

LOOKED_AT = 20_000  # files that are counted
HEADER = 2**20  # bytes of the first line of a table
PICKLE = rb"\x80[\x02-\x05]"
OF_PIXELS = (
    "has the pixels of pictures in its cells: write each row as a PNG into the folder of its class"
)
EXPECTED = (
    "expected one folder of pictures per class, or a table (CSV) with the names of the pictures "
    "and their labels next to them"
)


def describe_unrecognized(path: Path, wanted: str | None = None) -> str:
    """Return what is there, and what would be needed.

    Args:
        path: a file or folder that exists.
        wanted: the source that the user chose; None if all were asked.
    """
    reader = f"the source {wanted} does not read it" if wanted else "no source reads it"
    return _describe_file(path, reader) if path.is_file() else _describe_folder(path, reader)


def describe_archives(path: Path) -> str | None:
    """Return how to unpack the archives in a folder; None if it has pictures, or no archives."""
    files = list(islice(Folder(path).files(on_error=lambda _: None), LOOKED_AT))
    archives = [
        path / file
        for file in filter(is_archive, files)
        if not unpacked_folder(path / file).is_dir()
    ]
    if not archives or any(map(is_picture, files)):
        return None
    commands = [f"`{unpack_command(file, unpacked_folder(file))}`" for file in archives]
    return f"unpack the archives with {listed(commands, 4)}, and import again"


def _describe_file(path: Path, reader: str) -> str:
    folder = unpacked_folder(path)
    if command := unpack_command(path, folder):
        command += f" && tailproof import {shlex.quote(str(folder))}"
        return f"{path} is an archive, which must be unpacked first: run `{command}`"
    if _is_table_of_pixels(path):
        return f"{path} {OF_PIXELS}"
    if kind := FOREIGN.get(path.suffix.lower()) or UNREAD.get(path.suffix.lower()):
        return f"{path} is {kind}"
    if is_picture(path.name):
        return f"{path} is one picture, but a collection is needed: name its folder; {EXPECTED}"
    return f"{path}: {reader}; {EXPECTED}"


def _describe_folder(path: Path, reader: str) -> str:
    files = list(islice(Folder(path).files(on_error=lambda _: None), LOOKED_AT))
    if not files:
        return f"{path} contains no file: {EXPECTED}"
    endings = Counter(Path(file).suffix.lower() or "no suffix" for file in files)
    more = "more than " if len(files) == LOOKED_AT else ""
    counted = listed([f"{count:,} {ending}" for ending, count in endings.most_common()], 6)
    text = f"{path} contains {more}{quantity(len(files), 'file')} ({counted}), such as "
    text += f"{quoted(files, 3)}: {reader}"
    if idx := next((file for file in files if "-idx3-ubyte" in file), None):
        return (
            f"{text}; '{idx}' has the format of MNIST (IDX): move the four files to a folder of "
            f"their own, and name them {listed(list(NAMES), 4)} (.gz)"
        )
    if packed := describe_archives(path):
        return f"{text}; {packed}"
    pixels = next((file for file in files if _is_table_of_pixels(path / file)), None)
    if pixels is not None:
        return f"{text}; '{pixels}' {OF_PIXELS}"
    what = describe_unread(files) or _describe_bare(path, files) or describe_foreign(files)
    return f"{text}; {what or EXPECTED}"


def _describe_bare(folder: Path, files: list[str]) -> str | None:
    """Return what files without a suffix are, by their name or their first bytes."""
    bare = [file for file in files if not Path(file).suffix]
    if 2 * len(bare) <= len(files):
        return None
    if re.search(r"-of-\d+$", bare[0]):
        return f"'{bare[0]}' is {FOREIGN['.tfrecord']}"
    try:
        with open_regular(folder / bare[0]) as content:
            start = content.read(HEADER)
    except TailproofError:
        return None
    if re.match(PICKLE, start):
        return f"'{bare[0]}' is {FOREIGN['.pkl']}"
    return f"'{bare[0]}' is {kind_of(start)}"


def _is_table_of_pixels(file: Path) -> bool:
    """Return whether a table has pixels in its cells, as FER-2013 and MNIST as CSV have."""
    if file.suffix.lower() not in (".csv", ".tsv"):
        return False
    try:
        with open_regular(file) as content:
            header = content.readline(HEADER).decode("utf-8", "replace").lower()
    except TailproofError:
        return False
    names = re.split(r"[,;\t]", header)
    return len(names) > WIDEST or any(name.strip(' "\n\r') == "pixels" for name in names)
