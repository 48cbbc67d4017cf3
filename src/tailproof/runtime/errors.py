"""Exceptions whose message is written for the user."""

import difflib
from collections.abc import Iterable


class TailproofError(Exception):
    """An error in data, configuration or environment.

    Its message is one sentence per problem: the file, field or row, what was expected, what was
    found, and what to do. It is shown without a traceback.

    Attributes:
        status: exit status of the process.
    """

    status = 1


class Interrupted(TailproofError):  # noqa: N818 - not an error, the response to a signal
    """A signal stopped a job; its state is saved, and the next run resumes from it.

    The status is EX_TEMPFAIL of sysexits: "the user is invited to retry".

    Attributes:
        START: how its message begins, by which it is recognized in a log.
    """

    status = 75
    START = "interrupted by"


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest name, or an empty string."""
    near = difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown_name(kind: str, name: str, names: Iterable[str]) -> TailproofError:
    """Build the error for a name that is not in a registry."""
    known = sorted(names)
    shown = ", ".join(known if len(known) <= 20 else known[:5])
    more = f" and {len(known) - 5} more" if len(known) > 20 else ""
    return TailproofError(f"unknown {kind} '{name}'{suggestion(name, known)}; known: {shown}{more}")
