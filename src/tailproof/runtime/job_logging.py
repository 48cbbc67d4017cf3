"""Writes a log for every job and reports a failure in one sentence."""

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from tailproof.resource_limits import lacking
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.untrusted_text import printable_lines

SHOWN_LINES = 8
SHOWN_BYTES = 65536  # a log may be long
ATTEMPT = "=== attempt of"
"""Start of the line with which each attempt begins in a log."""
HEADER = re.compile(rf"{ATTEMPT} (\S+ \S+), process (\d+) on (\S+)")
"""That line: the time with its offset from UTC, the process, and the host."""
LINE = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def job_logging(name: str, log: str | Path) -> Iterator[None]:
    """Run a script's body with the package's logging in `log`.

    A `TailproofError` ends the process with its status and message, and so does an error of a
    machine that lacks memory, disk space or the like. Any other exception ends it with its
    traceback. All show the path and the last lines of the log.

    Snakemake deletes the log before it runs the job again. A second link to it keeps what earlier
    attempts wrote until one of them succeeds.
    """
    path = Path(log)
    _link(kept_log(path), path)
    with logging_to(path) as logger:
        _link(path, kept_log(path))
        try:
            yield
        except TailproofError as error:
            logger.error("%s", error)
            outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
            _print_failure(f"{name} {outcome}", path, str(error))
            sys.exit(error.status)
        except Exception as error:
            if advice := lacking(error):
                _print_failure(f"{name} failed", path, f"{_first_line(error)}: {advice}")
                logger.exception("%s", advice)
                sys.exit(TailproofError.status)
            logger.exception("%s", error)
            _print_failure(f"{name} failed", path, f"{type(error).__name__}: {error}")
            raise
        with suppress(OSError):
            kept_log(path).unlink()


@contextmanager
def logging_to(path: Path) -> Iterator[logging.Logger]:
    """Append the package's log and Python's warnings to a file while the block runs.

    The log of an earlier attempt, which may have been killed, stays. What cannot be written there
    goes to stderr.
    """
    handler = _open_handler(path)
    handler.setFormatter(Printable(LINE))
    logging.captureWarnings(True)
    logger = logging.getLogger("tailproof")
    logger.setLevel(logging.INFO)
    loggers = logger, logging.getLogger("py.warnings")
    for source in loggers:
        source.addHandler(handler)
    try:
        yield logger
    finally:
        for source in loggers:
            source.removeHandler(handler)
        handler.close()


class Printable(logging.Formatter):
    """Writes escapes where a message has what a terminal would act on."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line of a record; further lines of its message are indented."""
        record.message = printable_lines(record.message)
        return super().formatMessage(record)


def kept_log(path: Path) -> Path:
    """Return the second link to the log of attempts that did not succeed."""
    return path.with_name(f".{path.name}")


def _link(path: Path, other: Path) -> None:
    with suppress(OSError):  # one of them exists or does not, or the disk has no such links
        os.link(path, other, follow_symlinks=False)


class _LogHandler(logging.FileHandler):
    """Appends to a log; prints to stderr what it cannot write, after one sentence."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")
        self._failed = False
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        header = f"{ATTEMPT} {now}, process {os.getpid()} on {socket.gethostname()}"
        with suppress(OSError):  # the next record reports it
            assert self.stream is not None  # it is opened above
            self.stream.write(header + "\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the base class
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if not self._failed:
            _print_unwritable(Path(self.baseFilename), error)
        self._failed = True
        with suppress(OSError):
            print(self.format(record), file=sys.stderr, flush=True)

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is tried again here
            super().close()


def _open_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _LogHandler(path)
    except OSError as error:
        _print_unwritable(path, error)
        return logging.StreamHandler(sys.stderr)


def _print_unwritable(path: Path, error: OSError) -> None:
    sentence = f"{path} cannot be written ({error.strerror}): its lines follow here; free space "
    sentence += "or change its permissions before the next job"
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def _print_failure(outcome: str, path: Path, message: str) -> None:
    lines = _end_of(path).rpartition(ATTEMPT)[2].splitlines()[1:][-SHOWN_LINES:]
    message = printable_lines(message)
    parts = [part for part in message.splitlines() if part]
    tail = "".join(f"\n  | {line}" for line in lines if not any(part in line for part in parts))
    with suppress(OSError):
        print(f"\n{outcome}: {message}\n  log: {path}{tail}\n", file=sys.stderr, flush=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _end_of(path: Path) -> str:
    """Return the last part of a log; empty if it cannot be read."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        with path.open("rb") as file:
            file.seek(max(0, size - SHOWN_BYTES))
            return file.read(SHOWN_BYTES if size else 0).decode(errors="replace")
    except OSError:
        return ""
