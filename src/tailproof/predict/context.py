"""Changes probabilities by what columns of a table say of each image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tailproof.data.context_cells import read_cell
from tailproof.guarantees.context import NONE, add_context
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.output import report
from tailproof.predict.groups import cells_of
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

SHOWN = 3


class ContextTable:
    """The context of images; called to change their probabilities."""

    def __init__(self, guarantees: ExpertGuarantees, files: Sequence[Path], table: str) -> None:
        """Read the table, and report values that the expert does not know.

        Args:
            guarantees: guarantees.json.
            files: the image files.
            table: path of a table with the column file and those of the expert's context.

        Raises:
            TailproofError: the expert has no context, or the table is missing or damaged or does
                not list every image.
        """
        stored = guarantees.context
        if stored is None:
            raise TailproofError(
                "--context: the expert was built without columns of context: name them in "
                "data.context of its experiment, and build it again"
            )
        if not stored.in_use():
            report("--context changes nothing: on tune, the columns of context did not help")
        self._columns = [own.column(stored.class_counts) for own in stored.columns]
        self._exponents = np.array([own.exponent for own in stored.columns])
        cells = cells_of(files, table, [own.name for own in stored.columns])
        self._codes = dict.fromkeys(files, ())
        for place, own in enumerate(stored.columns):
            texts = [cells[file][place] for file in files]
            values = [read_cell(text, own.kind) for text in texts]
            codes = self._columns[place].codes(values)
            for file, code in zip(files, codes.tolist(), strict=True):
                self._codes[file] += (code,)
            pairs = zip(texts, codes, strict=True)
            unknown = [text for text, code in pairs if text and code == NONE]
            if unknown:
                shown = listed([f"'{printable(text)}'" for text in dict.fromkeys(unknown)], SHOWN)
                report(
                    f"{quantity(len(unknown), 'image')} with a {own.name} that train does not "
                    f"have, which therefore says nothing of them: {shown}"
                )

    def __call__(self, files: Sequence[Path], log_p: np.ndarray) -> np.ndarray:
        """Return the target's log-probabilities [N, C] of images in their context."""
        codes = np.array([self._codes[file] for file in files]).T
        return add_context(log_p, self._columns, list(codes), self._exponents)
