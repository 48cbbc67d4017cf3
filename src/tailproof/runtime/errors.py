"""The one exception that a user is meant to read."""

import difflib
from collections.abc import Iterable


class TailproofError(Exception):
    """A mistake in data, configuration or environment.

    Its message is one sentence (or one a problem): which file, field or row, what was expected,
    what was found, and what to do. It is shown without a traceback.

    Attributes:
        status: what the process exits with.
    """

    status = 1


class Interrupted(TailproofError):  # noqa: N818 - no error, an answer to a signal
    """A signal asked a job to leave; its state is saved and the next one goes on from there.

    Its status is sysexits' EX_TEMPFAIL: "the user is invited to retry".
    """

    status = 75


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> TailproofError:
    """Build the error for a name that is not in a registry."""
    known = sorted(known)
    shown = ", ".join(known) if len(known) <= 20 else f"{len(known)} names"
    return TailproofError(f"unknown {kind} '{name}'{suggestion(name, known)}; known: {shown}")
