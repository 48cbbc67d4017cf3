"""One column of labels, groups or splits: its distinct values, and the value of each sample."""

from array import array
from collections.abc import Callable, Mapping, Sequence

import numpy as np


class LabelColumn:
    """The values of N samples, in four bytes per sample.

    Attributes:
        names: the distinct values, in the order of their first sample.
        codes: for each sample the position of its value in `names`; -1 means no value.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.codes = array("i")
        self._code: dict[str, int] = {}

    @classmethod
    def of(cls, values: Sequence[str | None], positions: np.ndarray) -> "LabelColumn":
        """Return the column of N samples from few values.

        Args:
            values: values, of which some may be equal.
            positions: for each sample the position of its value among them, integers [N].
        """
        column = cls()
        _, first, inverse = np.unique(positions, return_index=True, return_inverse=True)
        codes = np.full(len(first), -1, np.intc)
        for place in np.argsort(first):
            value = values[positions[first[place]]]
            if value is not None:
                codes[place] = column._code.setdefault(value, len(column._code))
        column.names = list(column._code)
        column.codes = array("i", codes[inverse].tobytes())
        return column

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, sample: int) -> str | None:
        code = self.codes[sample]
        return self.names[code] if code >= 0 else None

    def add(self, value: str | None) -> None:
        """Append the value of the next sample."""
        if value is None:
            self.codes.append(-1)
            return
        code = self._code.setdefault(value, len(self.names))
        if code == len(self.names):
            self.names.append(value)
        self.codes.append(code)

    def counts(self) -> dict[str, int]:
        """Return the number of samples of each value."""
        codes = np.frombuffer(self.codes, np.intc)
        counted = np.bincount(codes[codes >= 0], minlength=len(self.names))
        return dict(zip(self.names, counted.tolist(), strict=True))

    def first(self, value: str) -> int:
        """Return the first sample with a value."""
        return self.codes.index(self._code[value])

    def replace(self, values: Mapping[str, str | None]) -> None:
        """Replace some values by others, or by no value (None)."""
        if not values:
            return
        kept: dict[str, int] = {}
        new = np.full(len(self.names) + 1, -1, np.intc)  # the last one stands for no value
        for code, name in enumerate(self.names):
            value = values.get(name, name)
            if value is not None:
                new[code] = kept.setdefault(value, len(kept))
        self.codes = array("i", new[np.frombuffer(self.codes, np.intc)].tobytes())
        self.names, self._code = list(kept), kept


Where = Callable[[int], str]
"""Returns the file and the row of a sample, for messages."""
