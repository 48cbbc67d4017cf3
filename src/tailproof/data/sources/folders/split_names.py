"""Recognizes names of splits, such as ``train``, ``Testing`` or ``seg_pred``."""

import re
from collections.abc import Collection, Iterable

# Words that say nothing about which split a name is of.
FILLERS = {"set", "data", "dataset", "images", "image", "img", "imgs", "split", "seg", "folder"}

_GLUED = "s?(set|data|daten|images|imgs)?"
KINDS = {
    "train": re.compile(rf"train(ing)?( ?val(id(ation)?)?)?{_GLUED}( mini)?|trn"),
    "val": re.compile(rf"val(id(ation|ierung)?)?{_GLUED}|dev"),
    "test": re.compile(
        rf"test(ing)?{_GLUED}|tst|hold ?out|held ?out|eval(uation)?|pred(iction)?s?"
    ),
}

YES = {"true", "yes", "1", "1.0", "wahr", "ja", "vrai", "oui", "verdadero", "vero"}
NO = {"false", "no", "0", "0.0", "falsch", "nein", "faux", "non", "falso"}
"""Answers in a column such as is_test, in lower case, also of spreadsheets in other languages."""
FLAG = re.compile(r"is[\W_]*((?:train|val|test|tst|trn|dev|hold).*)", re.IGNORECASE)


def split_kind(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for the name of a split; None for any other name."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    text = " ".join(word for word in words if len(word) > 1 and word not in FILLERS)
    return next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(text)), None)


def kinds_of_values(name: str, values: Collection[str]) -> dict[str, str | None]:
    """Return the split of each value of a column; None for a value that names no split.

    Args:
        name: the column; ``is_test`` says which split the answers yes and no are of.
        values: its values.
    """
    kinds = {value: split_kind(value) for value in values}
    match = FLAG.fullmatch(name)
    asked = split_kind(match[1]) if match else None
    if asked is None or not {value.lower() for value in values} <= YES | NO:
        return kinds
    other = "test" if asked == "train" else "train"
    return {value: asked if value.lower() in YES else other for value in values}


def are_splits(names: Iterable[str]) -> bool:
    """Return whether names are those of a training set and another set, not of classes."""
    kinds = {split_kind(name) for name in names} - {None}
    return "train" in kinds and len(kinds) > 1
