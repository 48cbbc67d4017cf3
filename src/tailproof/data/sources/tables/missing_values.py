"""Decides which cells of a table have no value.

Empty cells and NaN have none. Other signs, such as NA, are names in some tables, so the user
decides: a table with such a value and no decision is refused.
"""

import re
from collections.abc import Mapping, Sequence

import yaml

from tailproof.data.sources.tables.label_column import LabelColumn, Where
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

Missing = list[str] | dict[str, list[str]] | None
"""The field data.source.missing: signs of all columns or by column; None: not decided."""

EMPTY = ("", "NaN", "nan")
SIGNS = {
    "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "(null)", "<null>", "\\n", "?", "??",
    "-", "--", "---", ".", "(blank)", "(leer)", "(vide)", "(en blanco)", "#nv", "#n/d", "#nd",
}  # fmt: skip
"""What programs write for no value, in lower case; NA counts in capitals only."""
ERRORS = re.compile(r"#[¡¿]?[^\W\d_]+(/0)?[!?]")
"""Errors of spreadsheets in any language, such as #REF! and #WERT!."""
WORDS = {
    "na", "n.d.", "nd", "nil", "none", "<none>", "unknown", "<unknown>", "unk", "not known",
    "not available", "missing", "undefined", "unspecified", "unlabeled", "unlabelled", "tbd",
    "no label", "not labeled", "not labelled", "blank", "indet", "indet.", "undetermined",
    "unidentified", "k.a.", "keine angabe", "unbekannt", "n.v.", "inconnu", "inconnue", "s.o.",
    "desconocido", "sin dato", "sconosciuto", "onbekend", "desconhecido",
}  # fmt: skip
"""Words that people write for no value, in lower case; classes have such names too."""
NUMBERS = {"-1", "-9", "-99", "-999", "-9999"}
"""Signs for no value in a column of whole numbers that are not negative."""


def text_or_none(text: str) -> str | None:
    """Return a cell without surrounding white space; None if it is empty or NaN."""
    text = text.strip()
    return None if text in EMPTY else text


def drop_missing(
    ranks: Mapping[str, LabelColumn],
    group: tuple[str, LabelColumn] | None,
    missing: Missing,
    table: str,
    where: Where,
) -> list[str]:
    """Remove the signs for a missing value that the configuration names from the columns.

    A group of samples whose sign says that their group is not known would be one large group,
    so any sign and any word needs a decision there.

    Args:
        ranks: the columns of labels.
        group: the name and the column of groups.
        missing: the signs.
        table: the tables, for messages.
        where: returns the file and the row of a sample.

    Returns:
        Warnings: words among the labels that may mean no label, and signs that no cell has.

    Raises:
        TailproofError: a column without a decision has a value that looks like a sign.
    """
    columns = [*ranks.items(), *([group] if group else [])]
    undecided: dict[str, list[str]] = {}
    unused = {sign: None for signs in _lists(missing) for sign in signs}
    warnings = []
    for name, column in columns:
        counts = column.counts()
        signs = _decided(missing, name)
        if signs is not None:
            unused = {sign: None for sign in unused if sign not in counts or sign not in signs}
            column.replace(dict.fromkeys(signs))
            continue
        is_group = group is not None and column is group[1]
        for value in find_signs(counts, words=is_group):
            if counts[value] > 1 or not is_group:
                undecided.setdefault(value, []).append(
                    f"{counts[value]} of {len(column)} cells of the column '{name}' (first in "
                    f"{where(column.first(value)).removeprefix(f'{table}, ')})"
                )
        warnings += [
            f"{table}: '{value}' is a class of {quantity(counts[value], 'sample')} in the column "
            f"'{name}'; if it means that there is no label, set data.source.missing to "
            f"{as_yaml([value])}"
            for value in counts
            if not is_group and value.lower() in WORDS
        ]
    if undecided:
        found = "; ".join(
            f"'{value}' in {listed(cells, 8)}" for value, cells in list(undecided.items())[:5]
        )
        setting = "set data.source.missing"
        if isinstance(missing, dict):
            setting = "set these columns in data.source.missing"
        raise TailproofError(
            f"{table}: {found}: these cells may mean 'no value'; {setting} to "
            f"{as_yaml(list(undecided))} if they do, or to [] if they are names"
        )
    return warnings + [
        f"{table}: no cell contains '{sign}': correct this entry of data.source.missing, or "
        "remove it"
        for sign in unused
    ]


def as_yaml(values: Sequence[str]) -> str:
    """Return a list as it is written in the configuration."""
    return yaml.safe_dump(list(values), default_flow_style=True, allow_unicode=True).strip()


def _decided(missing: Missing, column: str) -> list[str] | None:
    return missing.get(column) if isinstance(missing, dict) else missing


def _lists(missing: Missing) -> list[list[str]]:
    return list(missing.values()) if isinstance(missing, dict) else [missing or []]


def find_signs(counts: Mapping[str, int], *, words: bool) -> list[str]:
    """Return the values of a column that may mean 'no value'.

    Args:
        counts: the number of cells of each value.
        words: whether words such as unknown count too.
    """
    numbers = {name: name.removesuffix(".0") for name in counts}
    whole = all(number.lstrip("-").isdecimal() for number in numbers.values())
    negative = {number for number in numbers.values() if number.startswith("-")}
    words_alone = all(not name[-1:].isdecimal() for name in counts if numbers[name] not in NUMBERS)
    coded = (whole or words_alone) and len(counts) > 2 and len(negative) == 1
    return [
        name
        for name in counts
        if name == "NA"
        or name.lower() in SIGNS
        or ERRORS.fullmatch(name)
        or (words and name.lower() in WORDS)
        or (coded and numbers[name] in NUMBERS)
    ]
