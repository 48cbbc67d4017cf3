"""Reads the cells of a history: numbers in the spellings of people and tools, and epochs."""

import math
import re
from typing import Any

_LONGEST = 400
"""No number needs more characters."""
_MISSING = {"", "none", "null", "na", "n/a", "#n/a", "<na>", "-", "--", "–", "—", ".", "missing",
            "no log", "#div/0!", "#value!", "#ref!", "#name?", "#null!"}  # fmt: skip
_NAN = re.compile(r"[+-]?(nan(\(\w*\))?|1\.#(qnan|snan|ind)\w*|#num!)", re.IGNORECASE)
_INFINITE = re.compile(r"([+-]?)(inf(inity)?|1\.#inf\w*|∞)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_COMMA = re.compile(r"[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_WRAPPED = re.compile(
    r"(?:(?:torch\.|np\.|jnp\.|numpy\.)?(?:tensor|array|float16|float32|float64|int32|int64))?"
    r"[(\[]+\s*(?P<inner>[^,()\[\]]+?)\s*[)\]]*(?:,\s*\w+=.*)?[)\]]+",
    re.IGNORECASE,
)
_TF_TENSOR = re.compile(r"<tf\.(?:Tensor|Variable).*numpy=(?P<inner>[^,>]+).*>")
_EPOCH = re.compile(
    r"\W*(?:epochs?|ep|e)?\W*(?P<number>\d{1,18}(?:\.\d*)?)\s*(?:(?:/|of|out of)\s*\d+)?\W*",
    re.IGNORECASE,
)
_SUMMARY = {"mean", "avg", "average", "std", "best", "final", "total", "overall", "test", "last"}


class NoNumberError(ValueError):
    """A cell that holds no number."""


def is_missing(cell: Any) -> bool:
    """Return whether a cell is empty or says that its value is missing."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def is_percent(cell: Any) -> bool:
    """Return whether a cell ends in a percent sign."""
    return isinstance(cell, str) and cell.strip().endswith("%")


def read_number(cell: Any) -> float:
    """Return the number in a cell that is not missing, without its percent sign.

    Raises:
        NoNumberError: the cell holds something else.
    """
    if isinstance(cell, bool):
        raise NoNumberError
    if isinstance(cell, int | float):
        try:
            return float(cell)
        except OverflowError:
            raise NoNumberError from None
    if isinstance(cell, list) and len(cell) == 1 and not isinstance(cell[0], list):
        return read_number(cell[0])
    if not isinstance(cell, str) or len(cell) > _LONGEST:
        raise NoNumberError
    text = cell.strip().removesuffix("%").strip().replace("−", "-")
    if _NUMBER.fullmatch(text):
        return float(text)
    for wrapped in (_TF_TENSOR, _WRAPPED):
        if match := wrapped.fullmatch(text):
            text = match["inner"].strip()
    if _NAN.fullmatch(text):
        return math.nan
    if match := _INFINITE.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not _NUMBER.fullmatch(text):
        raise NoNumberError
    return float(text)


def is_number(cell: Any) -> bool:
    """Return whether `read_number` reads a cell."""
    try:
        read_number(cell)
    except NoNumberError:
        return False
    return True


def read_epoch(cell: Any) -> float | None:
    """Return the epoch in a cell such as ``3``, ``Epoch 3`` or ``3/100``; None for a summary row.

    Raises:
        NoNumberError: the cell holds something else.
    """
    try:
        return read_number(cell)
    except NoNumberError:
        if not isinstance(cell, str) or len(cell) > _LONGEST:
            raise
    if cell.strip().lower().strip(":.") in _SUMMARY:
        return None
    match = _EPOCH.fullmatch(cell.strip().replace("_", " "))
    if not match:
        raise NoNumberError
    return float(match["number"])


def with_decimal_points(rows: list[list[str]]) -> tuple[list[list[str]], bool]:
    """Return the cells of a table with decimal points, and whether it had decimal commas.

    ``2,1535`` is certain. ``2,153`` is a decimal too, unless other cells have a decimal point.
    """
    cells = [cell.strip().removesuffix("%").strip() for row in rows for cell in row]
    with_comma = [cell for cell in cells if len(cell) <= _LONGEST and _COMMA.fullmatch(cell)]
    points = any("." in cell and "," not in cell and _is_plain_number(cell) for cell in cells)
    certain = any(not _GROUPED.fullmatch(cell) for cell in with_comma)
    if not with_comma or (not certain and (points or _have_thousands(rows))):
        return rows, False
    return [[_with_point(cell) for cell in row] for row in rows], True


def _have_thousands(rows: list[list[str]]) -> bool:
    """Return whether a column has both 1,234 and 567, so that the comma separates thousands."""
    return any(
        any(_GROUPED.fullmatch(cell[:_LONGEST].strip()) for cell in column)
        and any(re.fullmatch(r"[1-9]\d\d", cell.strip()) for cell in column)
        for column in zip(*rows, strict=True)
    )


def _is_plain_number(cell: str) -> bool:
    return len(cell) <= _LONGEST and bool(_NUMBER.fullmatch(cell))


def _with_point(cell: str) -> str:
    number = cell.strip().removesuffix("%").strip()
    if len(number) > _LONGEST or not _COMMA.fullmatch(number):
        return cell
    return cell.replace(".", "").replace(",", ".")
