"""The labels of categories by taxonomic rank, as iNaturalist and others write them."""

from collections.abc import Iterable, Sequence
from typing import Any

from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed

TAXONOMY = ("kingdom", "phylum", "class", "order", "family", "genus")
"""The fields of iNaturalist's categories from coarse to fine, above the name."""
COARSER = "supercategory"
NAME = "name"

Labels = tuple[str | None, ...]
"""The label at each rank."""


class Taxa:
    """The distinct labels of categories.

    Attributes:
        ranks: the fields that are read.
        labels: the labels of each taxon at these ranks.
    """

    def __init__(self, ranks: Sequence[str] | None) -> None:
        self.ranks = tuple(ranks or (COARSER, *TAXONOMY, NAME))
        self.labels: list[Labels] = []
        self._fixed = ranks is not None
        self._codes: dict[Labels, int] = {}
        self._fields: dict[str, None] = {}

    def add(self, category: dict[str, Any]) -> int:
        """Return the number of a category's taxon; -1 if the category has no label."""
        self._fields |= dict.fromkeys(category)
        labels = tuple(_label(category.get(rank)) for rank in self.ranks)
        if labels[-1] is None and not any(labels):
            return -1
        code = self._codes.setdefault(labels, len(self.labels))
        if code == len(self.labels):
            self.labels.append(labels)
        return code

    def choose_ranks(self, used: Iterable[int], source: str) -> None:
        """Drop the ranks that say nothing about the taxa in use, unless the user named them.

        Without a taxonomy, the supercategory is a rank if it has several values, but fewer than
        there are names.

        Raises:
            TailproofError: a rank is not among the fields of the categories.
        """
        for rank in self.ranks if self._fixed else (NAME,):
            if rank not in self._fields:
                raise TailproofError(
                    f"{source}: the categories have no field '{rank}'"
                    f"{suggestion(rank, self._fields)}; their fields are: "
                    f"{listed(list(self._fields), 20)} (correct data.source.ranks)"
                )
        if self._fixed:
            return
        values = {
            rank: {self.labels[taxon][place] for taxon in used} - {None}
            for place, rank in enumerate(self.ranks)
        }
        chosen = [rank for rank in TAXONOMY if len(values[rank]) > 1]
        if not chosen and 1 < len(values[COARSER]) < len(values[NAME]):
            chosen = [COARSER]
        places = [self.ranks.index(rank) for rank in (*chosen, NAME)]
        self.ranks = (*chosen, NAME)
        self.labels = [tuple(labels[place] for place in places) for labels in self.labels]

    def separate_homonyms(self) -> list[str]:
        """Add the parent to labels that are in several places of the tree, such as Morus.

        Morus is a genus of gannets and one of mulberries, and iNaturalist has both.

        Returns:
            The labels that were changed.
        """
        changed = []
        for depth in range(1, len(self.ranks)):
            above: dict[str, list[set[str]]] = {}
            for labels in self.labels:
                if (label := labels[depth]) is not None:
                    sets = above.setdefault(label, [set() for _ in range(depth)])
                    for place in range(depth):
                        sets[place] |= {name for name in (labels[place],) if name is not None}
            homonyms = {
                label for label, sets in above.items() if any(len(values) > 1 for values in sets)
            }
            self.labels = [
                _with_parent(labels, depth) if labels[depth] in homonyms else labels
                for labels in self.labels
            ]
            changed += sorted(homonyms)
        return changed


def _with_parent(labels: Labels, depth: int) -> Labels:
    parents = [label for label in labels[:depth] if label is not None]
    name = f"{labels[depth]} ({parents[-1]})" if parents else labels[depth]
    return (*labels[:depth], name, *labels[depth + 1 :])


def _label(value: Any) -> str | None:
    return None if value is None else text_or_none(str(value))
