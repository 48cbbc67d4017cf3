"""Lists and reads the files of folders that others filled, with one sentence for each failure.

What operating systems, network storage and photo software leave in folders is no data. It is passed
over and counted.
"""

import os
import re
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tailproof.data.sources.archives.packed_files import describe_packed
from tailproof.data.sources.base import Skipped
from tailproof.data.sources.folders.class_names import twin_of
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.untrusted_files import read_bytes
from tailproof.untrusted_text import is_encodable, printable

EXAMPLES = 3  # paths that are kept per reason
LARGEST = 2**30  # bytes of one file

DEAD_LINKS = "links without a target"
REASONS = {"dead link": DEAD_LINKS, "special": "pipes, sockets and devices"}
LEFTOVERS = {
    "folder": "files in folders of caches, thumbnails and trash",
    "file": "files of operating systems and photo software",
}
HIDDEN = {
    "folder": "files in hidden folders",
    "file": "hidden files",
    "iCloud": "pictures that iCloud has not downloaded",
}

# Lower-case names of what software leaves in folders of pictures.
LEFTOVER_FOLDERS = re.compile(
    r"@eadir|@tmp|@sharebin|@recycle|@recently-snapshot|#recycle|#snapshot|\.@__thumb"  # NAS
    r"|__macosx|\.appledouble|\.spotlight-v100|\.trashes|\.fseventsd|\.temporaryitems"  # macOS
    r"|\.documentrevisions-v100|network trash folder|temporary items"
    r"|\$recycle\.bin|recycler|system volume information|found\.\d+"  # Windows
    r"|lost\+found|\.trash(-\d+)?|\.cache|\.thumbnails|\.snapshots?|\.zfs"  # Linux
    r"|\.git|\.svn|\.hg|\.dvc|\.datalad|\.ipynb_checkpoints|__pycache__|\.snakemake"  # tools
    r"|\.picasaoriginals|.*\.lrdata|.*\.cocatalog"  # photo software
    r"|\.dropbox\.cache|\.stversions|\.stfolder"  # synchronisation
)
LEFTOVER_FILES = re.compile(
    r"syno(photo|file|video|index)_.*|zbthumbnail\.info"  # NAS
    r"|\._.*|\.ds_store|\.localized|\.apdisk|icon\r"  # macOS
    r"|(eh)?thumbs(_vista)?\.db(:.*)?|desktop\.ini|\.directory"  # Windows, Linux
    r"|\.git(keep|ignore|attributes|modules)|\.dvcignore"  # tools
    r"|\.?picasa\.ini|pspbrwse\.jbf|\.nomedia"  # photos
)


class LeftOut:
    """Counts what a listing passes over, by reason, with the first examples by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self._folders: list[tuple[str, Path, str]] = []

    def add(self, reason: str, path: str) -> None:
        """Count one file or folder."""
        self._counts[reason] += 1
        insort(self._examples[reason], path)
        del self._examples[reason][EXAMPLES:]

    def add_folder(self, reason: str, folder: Path, path: str) -> None:
        """Count the files below a folder, which are not looked at before `skipped` is called."""
        self._folders.append((reason, folder, path))

    def count(self, reason: str) -> int:
        """Return how many were counted for a reason."""
        return self._counts[reason]

    def skipped(self) -> list[Skipped]:
        """Return the counts."""
        for reason, folder, path in self._folders:
            for parent, _, names in os.walk(folder):
                for name in names:
                    self.add(reason, f"{path}/{os.path.relpath(f'{parent}/{name}', folder)}")
        self._folders.clear()
        return [
            Skipped(reason, count, tuple(map(_writable, self._examples[reason])))
            for reason, count in sorted(self._counts.items())
        ]


def _writable(path: str) -> str:
    """Return a path with escapes for bytes that are not UTF-8."""
    return path if is_encodable(path) else printable(path)


class Folder:
    """A folder whose files are listed.

    Args:
        root: the folder.
        readable: whether to pass over links without a target, pipes, sockets and devices. If not,
            they are listed as files, so that reading them reports an error.

    Attributes:
        left_out: counts what the listing passes over; paths in it are relative to `root`.
    """

    def __init__(self, root: Path, *, readable: bool = True) -> None:
        self.root = root
        self._readable = readable
        self.left_out = LeftOut()
        self._real = os.path.realpath(root)

    def entries(self, below: str = "") -> tuple[dict[str, bool], list[str]]:
        """Return the folders in one folder, and whether each is a link, and the names of its files.

        Both are sorted. Links are followed. Hidden names and the leftovers of other software are
        passed over.

        Raises:
            OSError: the folder cannot be read.
        """
        folders, files = {}, []
        with os.scandir(self.root / below) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                kind = _kind(entry)
                if kind in REASONS and not self._readable:
                    kind = "file"
                reason = _reason(entry.name.lower(), kind)
                if reason and kind == "folder":
                    self.left_out.add_folder(reason, Path(entry.path), path)
                elif reason:
                    self.left_out.add(reason, path)
                elif kind == "folder":
                    folders[entry.name] = entry.is_symlink()
                else:
                    files.append(entry.name)
        return dict(sorted(folders.items())), sorted(files)

    def files(
        self, below: str = "", on_error: Callable[[OSError], None] | None = None
    ) -> Iterator[str]:
        """Yield the paths, relative to `root`, of the files below one folder, at any depth.

        Each folder is visited once, however many links lead to it. No link leads out of a folder
        into those that contain it.

        Args:
            below: the folder, relative to `root`.
            on_error: called for each folder that cannot be read, which is then passed over.

        Raises:
            OSError: a folder cannot be read, and `on_error` is None.
        """
        real = os.path.realpath(self.root / below)
        above = Path(self._real) if below else Path(self._real).parent
        seen = {str(above), *map(str, above.parents)}
        pending = [(below, real)]
        while pending:
            folder, real = pending.pop()
            if real in seen:
                self.left_out.add("links to a folder that is listed already", folder)
                continue
            seen.add(real)
            try:
                folders, names = self.entries(folder)
            except OSError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            prefix = f"{folder}/" if folder else ""
            yield from (prefix + name for name in names)
            for name, is_link in reversed(folders.items()):
                path = f"{real.rstrip('/')}/{name}"
                pending.append((prefix + name, os.path.realpath(path) if is_link else path))


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` as `Folder.files` lists them, readable or not.

    Raises:
        OSError: a folder cannot be read.
    """
    return (folder / path for path in Folder(folder, readable=False).files())


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        TailproofError: it is missing, not a regular file, too large, or not readable.
    """
    return read_bytes(path, limit=LARGEST)


def no_folder(
    path: Path, field: str, expected: str = "a folder with one sub-folder per class"
) -> TailproofError:
    """Build the error for a path that is not a folder.

    Args:
        path: the path.
        field: the field of the configuration that names it.
        expected: what should be there.
    """
    return TailproofError(
        f"{path} is not a folder: expected {expected}; {_why(path)}correct {field}"
    )


def _why(path: Path) -> str:
    if packed := describe_packed(path):
        return f"{packed}, and "
    if path.exists() or path.is_symlink():
        return f"it is {'a file' if path.exists() else 'a link to itself or to nothing'}; "
    if str(path).startswith("~"):
        return "'~' is not replaced by the home folder, so write the whole path; "
    if "\\" in str(path):
        return "folders are separated by '/', not by '\\'; "
    return _near(path)


def _near(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"{path.parent} is not a folder either; "
    if twin := twin_of(path.name, names):
        return f"{twin!a} exists, which differs only in case, spaces or Unicode form; "
    return f"it does not exist{suggestion(path.name, names)}; "


def _kind(entry: os.DirEntry) -> str:
    """Return whether an entry is a folder, a file, a link without a target, or something else."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link to itself
        return "dead link"
    return "special" if not entry.is_symlink() or Path(entry.path).exists() else "dead link"


def _reason(name: str, kind: str) -> str | None:
    """Return why an entry of this lower-case name is passed over; None if it is not."""
    leftover = LEFTOVER_FOLDERS if kind == "folder" else LEFTOVER_FILES
    if kind in REASONS:
        return REASONS[kind]
    if leftover.fullmatch(name):
        return LEFTOVERS[kind]
    if name.startswith("."):
        return HIDDEN["iCloud" if name.endswith(".icloud") else kind]
    return None
