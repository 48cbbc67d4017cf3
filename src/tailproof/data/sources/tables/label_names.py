"""Guesses which columns of an unknown dataset hold the labels, by their names and their values."""

from collections.abc import Mapping, Sequence

NAMES = (
    "label", "class", "class_name", "label_name", "category", "species", "target", "labels",
    "fine_label", "diagnosis", "breed", "taxon", "scientific_name", "common_name", "variety", "cls",
)  # fmt: skip
"""Usual names of columns of labels, the likeliest first."""


def guess_ranks(
    columns: Mapping[str, Sequence[str | None]], named: Sequence[str] = ()
) -> tuple[list[str], bool]:
    """Return the columns of labels, coarse to fine, and whether there is no doubt.

    Args:
        columns: the first cells of each column; None is no value.
        named: the columns of which the dataset itself says that they are class labels.
    """
    if len(named) > 1:
        ranks = sorted(named, key=lambda name: (len(set(columns[name]) - {None}), name))
        nested = [rank for rank in ranks if _decides(columns[ranks[-1]], columns[rank])]
        return nested, len(nested) == len(named)
    if named:
        return list(named), True
    usual = [name for name in NAMES if name in columns and _repeats(columns[name])]
    if usual:
        return usual[:1], usual[0] == "label" or len(usual) == 1
    words = [name for name, cells in columns.items() if _repeats(cells) and not _are_numbers(cells)]
    return (words, False) if len(words) == 1 else ([], False)


def _repeats(cells: Sequence[str | None]) -> bool:
    """Return whether there are several values, and most of them several times."""
    values = [cell for cell in cells if cell is not None]
    return 1 < len(set(values)) <= max(2, len(values) // 2)


def _are_numbers(cells: Sequence[str | None]) -> bool:
    return all(cell.lstrip("-").replace(".", "", 1).isdecimal() for cell in cells if cell)


def _decides(fine: Sequence[str | None], coarse: Sequence[str | None]) -> bool:
    """Return whether each value of one column goes with one value of the other."""
    pairs = {pair for pair in zip(fine, coarse, strict=True) if None not in pair}
    return len(pairs) == len({value for value, _ in pairs})
