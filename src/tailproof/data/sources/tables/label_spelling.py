"""Values of a column that are spelled in several ways: joined if they are one, else reported."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal

from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.text import listed, quantity

NUMBER = re.compile(r"[-+]?\d{1,25}(\.\d{0,25})?")
WHOLE = re.compile(r"[-+]?\d+")
WHOLE_AS_FLOAT = re.compile(r"([-+]?\d+)(\.0*|,0{1,2})")
ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d\d+")
"""How a spreadsheet writes a number of more than 11 digits, of which it keeps the first few."""
SHOWN = 5


def join_spellings(name: str, column: LabelColumn, table: str) -> list[str]:
    """Make one value of 7 and 7.0, and of two Unicode forms of one name.

    pandas writes the whole numbers of a column as 7.0 if a cell is empty, and else as 7. A column
    with one spelling stays as it is.

    Args:
        name: the name of the column.
        column: the column, which is changed.
        table: the tables, for messages.

    Returns:
        A warning for each kind of spelling that was joined.
    """
    warnings = []
    for kind, values in (
        ("whole numbers in two spellings", _whole_numbers(column.names)),
        ("names in two Unicode forms", _composed(column.names)),
    ):
        if values:
            counts = column.counts()
            pairs = [
                f"{_shown(old)} ({quantity(counts[old], 'sample')}) as '{new}' "
                f"({counts.get(new, 0)})"
                for old, new in values.items()
            ]
            column.replace(values)
            warnings.append(
                f"{table}: the column '{name}' has {kind}, which are read as one: "
                f"{listed(pairs, SHOWN)}"
            )
    return warnings


def report_lookalikes(name: str, column: LabelColumn, table: str) -> list[str]:
    """Return warnings about values that look like one, or like a mistake of a program."""
    counts = column.counts()
    alike: dict[str, list[str]] = {}
    for value in counts:
        alike.setdefault(_skeleton(value), []).append(value)
    groups = [
        " and ".join(f"{_shown(value)} ({quantity(counts[value], 'sample')})" for value in values)
        for values in alike.values()
        if len(values) > 1
    ]
    warnings = []
    if groups:
        warnings.append(
            f"{table}: the column '{name}' has values that differ only in capitals, white space, "
            f"hyphens, underscores or zeros: {listed(groups, SHOWN)}; they are read as different "
            "values: correct the table if they mean the same"
        )
    for what, values, advice in _damaged(counts):
        if values:
            shown = listed(list(map(_shown, values)), SHOWN)
            warnings.append(f"{table}: the column '{name}' has {what}: {shown}; {advice}")
    return warnings


def _whole_numbers(names: list[str]) -> dict[str, str]:
    """Return {7.0: 7} if all names are whole numbers and both spellings occur."""
    floats = {name: match[1] for name in names if (match := WHOLE_AS_FLOAT.fullmatch(name))}
    others = [name for name in names if name not in floats]
    both = bool(floats) and bool(others)
    if both and all(WHOLE.fullmatch(name) for name in others):
        return floats
    present = set(others)
    return {name: whole for name, whole in floats.items() if whole in present}


def _composed(names: list[str]) -> dict[str, str]:
    """Return {name: its composed form} for names that occur in several Unicode forms."""
    forms: dict[str, list[str]] = {}
    for name in names:
        if not name.isascii():
            forms.setdefault(unicodedata.normalize("NFC", name), []).append(name)
    return {
        name: composed
        for composed, several in forms.items()
        if len(several) > 1
        for name in several
        if name != composed
    }


def _skeleton(value: str) -> str:
    """Return a value without what people vary when they type a name again."""
    if NUMBER.fullmatch(value):
        return str(Decimal(value).normalize())
    text = unicodedata.normalize("NFKC", value).casefold()
    if not text.isprintable():
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    words = " ".join(re.sub(r"[\s_-]+", " ", text).split())
    return re.sub(r"(?<![\d.])0+(?=\d)", "", words)


def _shown(value: str) -> str:
    """Return a value in quotes, with escapes for what does not show."""
    return f"'{value}'" if value.isprintable() else ascii(value)


def _damaged(counts: Mapping[str, int]) -> Iterator[tuple[str, list[str], str]]:
    """Yield what looks like a mistake of a program, the values, and what to do."""
    yield (
        "text that was once decoded with the wrong encoding",
        [value for value in counts if "\ufffd" in value or _was_decoded_twice(value)],
        "correct the table, and save it as UTF-8",
    )
    yield (
        "words that mix Latin letters with Cyrillic or Greek ones",
        [value for value in counts if not value.isascii() and _mixes_scripts(value)],
        "correct the table if this is a mistake",
    )
    yield (
        "long numbers that a spreadsheet shortened, so that different ones may look the same",
        [value for value in counts if ROUNDED.fullmatch(value)],
        "save the table again with this column as text",
    )


def _mixes_scripts(value: str) -> bool:
    """Return whether a word has Latin letters next to Cyrillic or Greek ones."""
    for word in re.findall(r"[^\W\d_]+", value):
        scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in word}
        if "LATIN" in scripts and scripts & {"CYRILLIC", "GREEK"}:
            return True
    return False


def _was_decoded_twice(value: str) -> bool:
    """Return whether a value is UTF-8 that was read as cp1252, such as Ã© for é."""
    if value.isascii():
        return False
    for encoding in ("cp1252", "latin-1"):
        try:
            value.encode(encoding).decode()
        except UnicodeError:
            continue
        return True
    return False
