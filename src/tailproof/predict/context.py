"""Changes probabilities by what columns of a table say of each image."""

from collections.abc import Callable, Sequence

import numpy as np

from tailproof.data.context_cells import read_cell
from tailproof.guarantees.context import NONE, add_context
from tailproof.guarantees.expert_guarantees import StoredContext
from tailproof.predict.options import OfColumns
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

SHOWN = 3


class ImageContext:
    """The context of images; called to change their probabilities.

    Args:
        stored: the columns of the expert; None if it has none.
        cells_of: returns the cells of each image in the columns, of their names.
        note: is called with each sentence about the columns.
        dash: what stands before the name of an option in messages.

    Raises:
        TailproofError: the expert has no context, or the cells cannot be read.
    """

    def __init__(
        self,
        stored: StoredContext | None,
        cells_of: OfColumns,
        note: Callable[[str], None],
        dash: str,
    ) -> None:
        if stored is None:
            raise TailproofError(
                f"{dash}context: the expert was built without columns of context: name them in "
                "data.context of its experiment, and build it again"
            )
        if not stored.in_use():
            note(f"{dash}context changes nothing: on tune, the columns of context did not help")
        self._columns = [own.column(stored.class_counts) for own in stored.columns]
        self._exponents = np.array([own.exponent for own in stored.columns])
        cells = cells_of([own.name for own in stored.columns])
        self._codes = []
        for place, own in enumerate(stored.columns):
            texts = [row[place] for row in cells]
            codes = self._columns[place].codes([read_cell(text, own.kind) for text in texts])
            pairs = zip(texts, codes, strict=True)
            unknown = [text for text, code in pairs if text and code == NONE]
            if unknown:
                shown = listed([f"'{printable(text)}'" for text in dict.fromkeys(unknown)], SHOWN)
                note(
                    f"{quantity(len(unknown), 'image')} with a {own.name} that train does not "
                    f"have, which therefore says nothing of them: {shown}"
                )
            self._codes.append(codes)

    def __call__(self, rows: Sequence[int], log_p: np.ndarray) -> np.ndarray:
        """Return the target's log-probabilities [N, C] of some of the images in their context."""
        codes = [codes[list(rows)] for codes in self._codes]
        return add_context(log_p, self._columns, codes, self._exponents)
