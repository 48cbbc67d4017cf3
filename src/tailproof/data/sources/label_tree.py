"""The labels of many samples at several taxonomic ranks, stored by column."""

from array import array
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tailproof.runtime.errors import TailproofError

MISSING = {"", "NaN", "nan"}


def clean(text: str) -> str | None:
    """Return a label without surrounding white space; None if it is empty or NaN."""
    text = text.strip()
    return None if text in MISSING else text


class Labels:
    """The labels of N samples at each rank, in four bytes per label.

    Attributes:
        names: the names at each rank, in the order of their first sample.
        codes: for each rank, N positions in its names; -1 means no label.
    """

    def __init__(self, ranks: Iterable[str]) -> None:
        self.names: dict[str, list[str]] = {rank: [] for rank in ranks}
        self.codes = {rank: array("i") for rank in self.names}
        self._code: dict[str, dict[str, int]] = {rank: {} for rank in self.names}

    def add(self, rank: str, label: str | None) -> None:
        """Append the label of the next sample at a rank."""
        if label is None:
            self.codes[rank].append(-1)
            return
        codes = self._code[rank]
        code = codes.setdefault(label, len(codes))
        if code == len(self.names[rank]):
            self.names[rank].append(label)
        self.codes[rank].append(code)

    def of(self, sample: int) -> dict[str, str | None]:
        """Return the label of one sample at each rank."""
        return {
            rank: self.names[rank][code] if (code := codes[sample]) >= 0 else None
            for rank, codes in self.codes.items()
        }

    def check(self, source: str | Path, where: Callable[[int], str]) -> None:
        """Check that every rank has a label and that no label has two parents.

        Metrics over several ranks need a tree. Two ranks are compared on the samples that have a
        label at both.

        Args:
            source: the file or folder of all samples.
            where: returns the file and the row of a sample.

        Raises:
            TailproofError: a rank has no label, or a label has two parents.
        """
        for rank, names in self.names.items():
            if not names:
                raise TailproofError(
                    f"{source}: no row has a label in the column '{rank}': remove it from "
                    "data.source.ranks"
                )
        ranks = list(self.codes)
        for depth, fine in enumerate(ranks):
            for coarse in ranks[:depth]:
                pair = self._contradiction(coarse, fine)
                if pair:
                    first, second = pair
                    parents = [self.of(sample)[coarse] for sample in pair]
                    raise TailproofError(
                        f"{where(second)}: the {fine} '{self.of(second)[fine]}' is in the "
                        f"{coarse} '{parents[1]}', but in '{parents[0]}' at {where(first)}: "
                        "correct one, give them different names, or remove a rank from "
                        "data.source.ranks"
                    )

    def _contradiction(self, coarse: str, fine: str) -> tuple[int, int] | None:
        parents, children = (np.frombuffer(self.codes[rank], np.intc) for rank in (coarse, fine))
        both = np.flatnonzero((parents >= 0) & (children >= 0))
        first = np.zeros(len(self.names[fine]), np.int64)
        first[children[both[::-1]]] = both[
            ::-1
        ]  # the last value written is that of the first sample
        wrong = both[parents[both] != parents[first[children[both]]]]
        return (int(first[children[wrong[0]]]), int(wrong[0])) if wrong.size else None
