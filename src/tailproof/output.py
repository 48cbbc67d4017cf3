"""What commands print as plain text, and one sentence if it cannot be written."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tailproof.untrusted_text import printable_lines

UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What stdout raises; files are written by `tailproof.files`, whose errors say which file."""


LONGEST_LINE = 4000
"""Characters of a line of a message."""


def say(text: object) -> None:
    """Print a text to stdout; names in it are printed as escapes where they are not printable."""
    print(printable_lines(text))


def report(text: object) -> None:
    """Print a message to stderr, or drop it if nobody can read it.

    Of a very long line, such as one with a hostile name in it, the middle is left out.
    """
    message = "\n".join(map(_shortened, printable_lines(text).split("\n")))
    with suppress(OSError):
        print(f"tailproof: {message}", file=sys.stderr, flush=True)


def _shortened(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2
    return f"{line[:half]} … ({len(line) - 2 * half:,} characters left out) … {line[-half:]}"


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run a command; it ends with one sentence if its output cannot be written.

    Text that the encoding of the terminal lacks is printed as escapes.

    Raises:
        SystemExit: stdout is full or closed, or its reader has gone, such as `head`.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    if sys.stdout is None:
        report("cannot write to stdout: it is closed")
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        if error.errno != errno.EPIPE:
            report(f"cannot write to stdout: {error.strerror}")
        sys.exit(1)


def _discard_output() -> None:
    """Let Python flush at exit what could not be written."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
