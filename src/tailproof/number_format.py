"""Formats numbers for human readers."""

import re
from collections.abc import Mapping

MISSING = "–"
MINUS = "−"
MIDDLES = ("value", "mean", "difference")
"""Fields of metrics.json that have an interval: for one seed, for all seeds, for a pair."""

_FORM = re.compile(r"(\+?)(%?)\.(\d)")


def format_number(value: float | None, form: str) -> str:
    """Format a number.

    Args:
        value: the number; None if it is undefined.
        form: decimal places, as in ``.3``. ``%.1`` formats a percentage, without the percent
            sign. A leading ``+`` adds a plus sign to positive numbers.

    Raises:
        ValueError: the form is not valid.
    """
    parts = _FORM.fullmatch(form)
    if not parts:
        raise ValueError(f"'{form}' is not a number format")
    sign, percent, digits = parts.groups()
    if value is None:
        return MISSING
    value = (100 if percent else 1) * value
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    elif sign and value > 0:
        text = f"+{text}"
    return text.replace("-", MINUS)


def format_interval(low: float | None, high: float | None, form: str) -> str:
    """Format an interval as ``[52.3, 56.1]``; empty if undefined or if all resamples agree."""
    if low is None or low == high:
        return ""
    return f"[{format_number(low, form)}, {format_number(high, form)}]"


def format_estimate(estimate: Mapping[str, float | int | None], form: str) -> str:
    """Format a value of metrics.json and its interval as ``54.3 % [52.3, 56.1]``.

    Args:
        estimate: value, mean or difference, with low and high.
        form: see `format_number`.
    """
    middle = next(estimate[field] for field in MIDDLES if field in estimate)
    unit = " %" if "%" in form and middle is not None else ""
    interval = format_interval(estimate["low"], estimate["high"], form)
    return f"{format_number(middle, form)}{unit} {interval}".rstrip()
