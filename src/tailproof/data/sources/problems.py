"""Collects what is wrong with the entries of a file, for one list instead of one per run."""

from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

SHOWN = 5


class Problems:
    """Sentences about entries that cannot be used.

    Args:
        noun: what an entry is, such as ``row``.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._first: list[str] = []
        self._count = 0

    def add(self, where: str, fault: str) -> None:
        """Count an entry.

        Args:
            where: the file and the entry.
            fault: what is wrong and what to do, as the rest of a sentence.
        """
        self._count += 1
        if self._count <= SHOWN:
            self._first.append(f"{where} {fault}")

    def __len__(self) -> int:
        return self._count

    def check(self) -> None:
        """Raise a TailproofError that lists the first problems; one is a sentence of its own."""
        if not self._count:
            return
        if self._count == 1:
            raise TailproofError(self._first[0])
        more = [f"and {self._count - SHOWN:,} more"] if self._count > SHOWN else []
        count = f"{quantity(self._count, self._noun, _plural(self._noun))} cannot be used:"
        raise TailproofError("\n  ".join([count, *self._first, *more]))


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
