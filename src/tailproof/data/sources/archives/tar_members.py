"""Lists the members of a tar by its headers alone, and reads a member by its position.

Nothing is extracted, so no name and no link of a member leads anywhere. `tarfile` decodes the
headers, with those of POSIX (PAX) and GNU for long names.
"""

import re
import shlex
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular

LONGEST_HEADER = 1 << 20
"""Bytes of the longest extended header that is read."""
STEP = 1 << 16  # bytes of the padding that are read at a time

COMPRESSED = re.compile(r".*\.(tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst|lz4))", re.IGNORECASE | re.DOTALL)
"""Names of compressed tars."""

OTHER_FILES = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"PAR1": "a parquet file: use the source parquet",
    b"<": "a web page or XML: fetch the archive itself",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
}
"""What a file is that begins with these bytes, and what to do."""


class Compression(NamedTuple):
    """How a tar is compressed.

    Attributes:
        name: the name of the format.
        tool: the program that decompresses it.
        suffixes: the suffixes of names that the program accepts.
    """

    name: str
    tool: str
    suffixes: tuple[str, ...]


COMPRESSIONS = {
    b"\x1f\x8b": Compression("gzip", "gunzip", (".gz", ".tgz")),
    b"BZh": Compression("bzip2", "bunzip2", (".bz2", ".tbz2", ".tbz")),
    b"\xfd7zXZ": Compression("xz", "unxz", (".xz", ".txz")),
    b"\x28\xb5\x2f\xfd": Compression("zstd", "unzstd", (".zst",)),
    b"\x04\x22\x4d\x18": Compression("lz4", "unlz4 -m", (".lz4",)),
}
"""The compression of a file that begins with these bytes."""


def decompress_command(path: Path, compression: Compression | None = None) -> str:
    """Return the command that decompresses a tar, and makes one with the suffix ``.tar`` of it.

    Args:
        path: the tar.
        compression: its compression; None: the one that its suffix says.
    """
    if compression is None:
        suffix = path.suffix.lower()
        compression = next(each for each in COMPRESSIONS.values() if suffix in each.suffixes)
    file, suffix = shlex.quote(str(path)), compression.suffixes[0]
    if path.suffix in compression.suffixes:
        return f"{compression.tool} {file}"
    lower = path.suffix.lower()
    renamed = path.with_suffix(lower) if lower in compression.suffixes else f"{path}{suffix}"
    renamed = shlex.quote(str(renamed))
    return f"mv {file} {renamed} && {compression.tool} {renamed}"


class Tar:
    """An uncompressed tar.

    Args:
        path: the file.

    Raises:
        TailproofError: it is missing, empty, compressed, or not a tar.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as stack:
            self._file = stack.enter_context(open_regular(path))
            start = self._file.read(tarfile.BLOCKSIZE)
            kind = next((kind for mark, kind in OTHER_FILES.items() if start.startswith(mark)), "")
            if kind or not start:
                raise TailproofError(f"{path} is {kind or 'empty: fetch it again'}")
            self._refuse_compressed(start)
            self._file.seek(0)
            with self._readable():
                # A reader needs only the methods that _Headers has, and has a list of members.
                headers: Any = _Headers(self._file)
                self._archive: Any = tarfile.TarFile(fileobj=headers, errors="backslashreplace")
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def _refuse_compressed(self, start: bytes) -> None:
        for mark, compression in COMPRESSIONS.items():
            if start.startswith(mark):
                raise TailproofError(
                    f"{self.path} is compressed with {compression.name}, so that single images "
                    "cannot be read: decompress it to a tar with "
                    f"`{decompress_command(self.path, compression)}`"
                )

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield every member, without its content.

        Raises:
            TailproofError: the archive is truncated or damaged, or has data after its end.
        """
        position = -1
        while (member := self._next()) is not None:
            if member.offset <= position or member.size < 0:
                raise self._damaged("a member has a negative size")
            position = member.offset
            yield member
        self._check_end(self._archive.offset)

    def content(self, member: tarfile.TarInfo, limit: int) -> bytes:
        """Return the bytes of a regular member.

        Raises:
            TailproofError: it is larger than `limit`, or truncated.
        """
        if member.size < 0:
            raise self._damaged("a member has a negative size")
        if member.size > limit:
            raise TailproofError(
                f"{self.path}: its member '{member.name}' has {member.size} bytes, expected at "
                f"most {limit}: write a smaller file into the tar"
            )
        with self._readable():
            self._file.seek(member.offset_data)
            content = self._file.read(member.size)
        if len(content) < member.size:
            raise self._damaged("unexpected end of data")
        return content

    def read(self, offset: int, limit: int) -> bytes:
        """Return the bytes of the regular member whose header is at an offset.

        Raises:
            TailproofError: there is no such member, or it is larger than `limit`.
        """
        return self.content(self._member(offset), limit)

    def name_at(self, offset: int) -> str:
        """Return the name of the member whose header is at an offset."""
        return self._member(offset).name

    def _member(self, offset: int) -> tarfile.TarInfo:
        with self._readable():
            self._file.seek(offset)
            following = self._archive.offset
            member = tarfile.TarInfo.fromtarfile(self._archive)
            self._archive.offset = following
        return member

    def _next(self) -> tarfile.TarInfo | None:
        with self._readable():
            member = self._archive.next()
        self._archive.members.clear()  # else it keeps all of them
        return member

    def _check_end(self, offset: int) -> None:
        with self._readable():
            self._file.seek(offset)
            block = self._file.read(tarfile.BLOCKSIZE)
            if not block:
                raise TailproofError(
                    f"{self.path} lacks the empty blocks that end a tar, so it is probably "
                    "incomplete: fetch it again, or, if it is complete, append the blocks with "
                    f"`truncate -s +1024 {shlex.quote(str(self.path))}`"
                )
            if block.count(0) < tarfile.BLOCKSIZE:
                raise self._damaged(f"no header at byte {offset}")
            while padding := self._file.read(STEP):
                if padding.count(0) < len(padding):
                    raise TailproofError(
                        f"{self.path} contains more data after its end at byte {offset}, like "
                        "archives that were joined with cat: keep the archives as separate "
                        "files, or join them with `tar --concatenate`"
                    )

    def _damaged(self, reason: str) -> TailproofError:
        return TailproofError(
            f"{self.path} is a truncated or damaged tar ({reason}): fetch it again"
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except TailproofError:
            raise
        except OSError as error:
            raise unreadable(self.path, error) from None
        except Exception as error:  # hostile headers raise nearly anything
            raise self._damaged(str(error) or type(error).__name__) from None


class _Headers:
    """What tarfile reads a file through: never more than a header at a time.

    The header of a hostile archive may announce an extended header of any length, also a negative
    one, which means all of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._read = file.read
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"its extended header of {size} bytes is too long")
        return self._read(size)
