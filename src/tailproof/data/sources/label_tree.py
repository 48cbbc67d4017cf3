"""The labels of many samples at several taxonomic ranks, held by column."""

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from tailproof.runtime.errors import TailproofError

MISSING = {"", "NaN", "nan"}
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def clean(text: str) -> str | None:
    """Return a label without the white space around it, None for an empty one and for NaN."""
    text = text.strip()
    return None if text in MISSING else text


def class_order(names: Sequence[str]) -> list[str]:
    """Return class names sorted; by their value where all are numbers."""
    if all(NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


class Labels:
    """The labels of N samples at each rank, four bytes each; -1 is none.

    Attributes:
        names: the names met at each rank, in that order.
        codes: for each rank N positions in its names.
    """

    def __init__(self, ranks: Iterable[str]) -> None:
        self.names: dict[str, list[str]] = {rank: [] for rank in ranks}
        self.codes = {rank: array("i") for rank in self.names}
        self._code: dict[str, dict[str, int]] = {rank: {} for rank in self.names}

    def add(self, rank: str, label: str | None) -> None:
        """Append the next sample's label at a rank."""
        if label is None:
            self.codes[rank].append(-1)
            return
        known = self._code[rank]
        code = known.setdefault(label, len(known))
        if code == len(self.names[rank]):
            self.names[rank].append(label)
        self.codes[rank].append(code)

    def of(self, sample: int) -> dict[str, str | None]:
        """Return one sample's label at each rank."""
        return {
            rank: self.names[rank][code] if (code := codes[sample]) >= 0 else None
            for rank, codes in self.codes.items()
        }

    def check(self, source: str | Path, where: Callable[[int], str]) -> None:
        """Refuse a rank without any label, and a label with two parents.

        Metrics that go up the ranks need a tree. Samples without a label at one of two ranks say
        nothing of these two.

        Args:
            source: what holds all samples.
            where: tells the file and the row of a sample.

        Raises:
            TailproofError: a rank is empty; two samples share a label and differ at a coarser rank.
        """
        for rank, names in self.names.items():
            if not names:
                raise TailproofError(
                    f"{source}: no row has a label in the column '{rank}'; leave it out of "
                    "data.source.ranks"
                )
        ranks = list(self.codes)
        for depth, fine in enumerate(ranks):
            for coarse in ranks[:depth]:
                found = self._contradiction(coarse, fine)
                if found:
                    first, second = found
                    parents = [self.of(sample)[coarse] for sample in found]
                    raise TailproofError(
                        f"{where(second)}: the {fine} '{self.of(second)[fine]}' lies in the "
                        f"{coarse} '{parents[1]}', but in '{parents[0]}' in {where(first)}; "
                        "correct one, give the two different names, or leave a rank out of "
                        "data.source.ranks"
                    )

    def _contradiction(self, coarse: str, fine: str) -> tuple[int, int] | None:
        parents, children = (np.frombuffer(self.codes[rank], np.intc) for rank in (coarse, fine))
        both = np.flatnonzero((parents >= 0) & (children >= 0))
        first = np.zeros(len(self.names[fine]), np.int64)
        first[children[both[::-1]]] = both[::-1]  # the last to be written is the first to be met
        wrong = both[parents[both] != parents[first[children[both]]]]
        return (int(first[children[wrong[0]]]), int(wrong[0])) if wrong.size else None
