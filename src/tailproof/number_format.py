"""How numbers are written for reading."""

import re
from collections.abc import Mapping

MISSING = "–"
MINUS = "−"
MIDDLES = ("value", "mean", "difference")
"""The fields of metrics.json that an interval is around: of a seed, of all seeds, of a pair."""

_FORM = re.compile(r"(\+?)(%?)\.(\d)")


def written(value: float | None, form: str) -> str:
    """Write a number.

    Args:
        value: None where it is undefined.
        form: digits after the point, as in ``.3``; ``%.1`` is a percentage, without its sign;
            before these ``+`` gives positive numbers theirs.

    Raises:
        ValueError: there is no such form.
    """
    parts = _FORM.fullmatch(form)
    if not parts:
        raise ValueError(f"'{form}' is no form of a number")
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


def written_interval(low: float | None, high: float | None, form: str) -> str:
    """Write an interval as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    if low is None or low == high:
        return ""
    return f"[{written(low, form)}, {written(high, form)}]"


def written_estimate(estimate: Mapping[str, float | int | None], form: str) -> str:
    """Write a value of metrics.json with its interval as ``54.3 % [52.3, 56.1]``.

    Args:
        estimate: value, mean or difference, with low and high.
        form: as `written` takes it.
    """
    middle = next(estimate[field] for field in MIDDLES if field in estimate)
    unit = " %" if "%" in form and middle is not None else ""
    interval = written_interval(estimate["low"], estimate["high"], form)
    return f"{written(middle, form)}{unit} {interval}".rstrip()
