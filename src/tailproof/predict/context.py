"""Changes probabilities by what columns of a table say of each image, or of each group."""

from collections.abc import Callable, Sequence

import numpy as np

from tailproof.data.context_cells import read_cell
from tailproof.data.sources.folders.class_names import same_names
from tailproof.guarantees.context_prior import NONE, add_context, codes_of_groups
from tailproof.guarantees.expert_guarantees import (
    ExpertGuarantees,
    StoredContext,
    StoredGroupContext,
)
from tailproof.predict.option_rules import OfColumns
from tailproof.predict.promises import no_groups
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

SHOWN = 3


class ImageContext:
    """The context of images, or of groups of images; it changes their probabilities.

    Args:
        guarantees: guarantees.json of the expert.
        cells_of: returns the cells of each image in the columns, of their names.
        grouped: whether groups are answered.
        note: is called with each sentence about the columns.
        dash: what stands before the name of an option in messages.

    Raises:
        TailproofError: the expert has no context, or none for groups, or the cells cannot be read.
    """

    def __init__(
        self,
        guarantees: ExpertGuarantees,
        cells_of: OfColumns,
        note: Callable[[str], None],
        dash: str,
        *,
        grouped: bool,
    ) -> None:
        stored = guarantees.context
        if stored is None:
            raise TailproofError(
                f"{dash}context: the expert was built without columns of context: name them in "
                "data.context of its experiment, and build it again"
            )
        own: StoredContext | StoredGroupContext | None = stored
        if grouped:
            own = guarantees.grouped.context if guarantees.grouped else None
        if own is None:
            raise TailproofError(no_groups([f"{dash}context"]))
        self._exponents = np.array(own.strengths())
        if not self._exponents.any():
            note(f"{dash}context changes nothing: on tune, the columns of context did not help")
        self._columns = [column.column(stored.class_counts) for column in stored.columns]
        cells = cells_of([column.name for column in stored.columns])
        self._codes = []
        for place, column in enumerate(stored.columns):
            texts = [row[place] for row in cells]
            values = [read_cell(text, column.kind) for text in texts]
            spelled = same_names({value for value in values if value}, column.values)
            codes = self._columns[place].codes([value and spelled[value] for value in values])
            pairs = zip(texts, codes, strict=True)
            unknown = [text for text, code in pairs if text and code == NONE]
            if unknown:
                shown = [f"'{printable(text)}'" for text in dict.fromkeys(unknown)]
                note(
                    f"{column.name} says nothing about {quantity(len(unknown), 'image')}, because "
                    f"train does not have {'this value' if len(shown) == 1 else 'these values'}: "
                    f"{listed(shown, SHOWN)}"
                )
            self._codes.append(codes)
        self._note = note

    def of_images(self, rows: Sequence[int], log_p: np.ndarray) -> np.ndarray:
        """Return the target's log-probabilities [N, C] of some of the images in their context."""
        codes = [codes[list(rows)] for codes in self._codes]
        return add_context(log_p, self._columns, codes, self._exponents)

    def of_groups(self, rows: Sequence[int], group: Sequence[int], log_p: np.ndarray) -> np.ndarray:
        """Return the target's log-probabilities of groups in their context, [G, C].

        Args:
            rows: the images that could be read.
            group: the number of the group of each.
            log_p: log-probabilities of the groups without context, [G, C].
        """
        codes = []
        for column, of_images in zip(self._columns, self._codes, strict=True):
            own, number = of_images[list(rows)], np.array(group, int)
            together = codes_of_groups(own, number, len(log_p))
            differ = len(np.unique(number[(own != NONE) & (together[number] == NONE)]))
            if differ:
                self._note(
                    f"{column.name} says nothing about {quantity(differ, 'group')}, because the "
                    "images of a group have different values"
                )
            codes.append(together)
        return add_context(log_p, self._columns, codes, self._exponents)
