"""How numbers are written for reading."""

import re

MISSING = "–"
MINUS = "−"

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
