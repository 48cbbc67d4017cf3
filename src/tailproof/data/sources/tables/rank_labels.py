"""The labels of many samples at several taxonomic ranks, stored by column."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tailproof.data.sources.tables.label_column import LabelColumn, Where
from tailproof.runtime.errors import TailproofError


class Labels:
    """The labels of N samples at each rank.

    Attributes:
        columns: the labels at each rank, coarse to fine.
    """

    def __init__(self, ranks: Iterable[str]) -> None:
        self.columns = {rank: LabelColumn() for rank in ranks}

    def add(self, rank: str, label: str | None) -> None:
        """Append the label of the next sample at a rank."""
        self.columns[rank].add(label)

    def of(self, sample: int) -> dict[str, str | None]:
        """Return the label of one sample at each rank."""
        return {rank: column[sample] for rank, column in self.columns.items()}

    def check(self, source: str | Path, where: Where) -> None:
        """Check that every rank has a label and that no label has two parents.

        Metrics over several ranks need a tree. Two ranks are compared on the samples that have a
        label at both.

        Args:
            source: the file or folder of all samples.
            where: returns the file and the row of a sample.

        Raises:
            TailproofError: a rank has no label, or a label has two parents.
        """
        for rank, column in self.columns.items():
            if not column.names:
                advice = "remove it from data.source.ranks"
                if len(self.columns) == 1:
                    advice = "add labels, or correct data.source.ranks"
                raise TailproofError(
                    f"{source}: no sample has a label at the rank '{rank}': {advice}"
                )
        ranks = list(self.columns)
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
        parents, children = (
            np.frombuffer(self.columns[rank].codes, np.intc) for rank in (coarse, fine)
        )
        both = np.flatnonzero((parents >= 0) & (children >= 0))
        first = np.zeros(len(self.columns[fine].names), np.int64)
        first[children[both[::-1]]] = both[
            ::-1
        ]  # the last value written is that of the first sample
        wrong = both[parents[both] != parents[first[children[both]]]]
        return (int(first[children[wrong[0]]]), int(wrong[0])) if wrong.size else None
