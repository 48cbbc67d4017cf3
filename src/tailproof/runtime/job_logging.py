"""Writes a log for every job and reports a failure in one sentence."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.untrusted_text import printable_lines

SHOWN_LINES = 8


@contextmanager
def job_logging(name: str, log: str | Path) -> Iterator[None]:
    """Run a script's body with the package's logging in `log`.

    A `TailproofError` ends the process with its status and message, any other exception with its
    traceback. Both show the path and the last lines of the log.
    """
    path = Path(log)
    with logging_to(path) as logger:
        try:
            yield
        except TailproofError as error:
            logger.error("%s", error)
            outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
            _print_failure(f"{name} {outcome}", path, str(error))
            sys.exit(error.status)
        except Exception as error:
            logger.exception("%s", error)
            _print_failure(f"{name} failed", path, f"{type(error).__name__}: {error}")
            raise


@contextmanager
def logging_to(path: Path, mode: str = "w") -> Iterator[logging.Logger]:
    """Write the package's log and Python's warnings to a file while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode=mode, encoding="utf-8")
    handler.setFormatter(Printable("%(asctime)s %(levelname)s %(message)s"))
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


def _print_failure(outcome: str, path: Path, message: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:]
    message = printable_lines(message)
    parts = [part for part in message.splitlines() if part]
    tail = "".join(f"\n  | {line}" for line in lines if not any(part in line for part in parts))
    print(f"\n{outcome}: {message}\n  log: {path}{tail}\n", file=sys.stderr, flush=True)
