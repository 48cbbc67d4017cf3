"""Recognises names of splits, such as ``train``, ``Testing`` or ``seg_pred``."""

import re
from collections.abc import Iterable

# Words that say nothing about which split a name is of.
FILLERS = {"set", "data", "dataset", "images", "image", "img", "imgs", "split", "seg", "folder"}

_GLUED = "s?(set|data|daten|images|imgs)?"
KINDS = {
    "train": re.compile(rf"train(ing)?( ?val(id(ation)?)?)?{_GLUED}|trn"),
    "val": re.compile(rf"val(id(ation)?)?{_GLUED}|dev"),
    "test": re.compile(
        rf"test(ing)?{_GLUED}|tst|hold ?out|held ?out|eval(uation)?|pred(iction)?s?"
    ),
}


def split_kind(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for the name of a split; None for any other name."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    text = " ".join(word for word in words if len(word) > 1 and word not in FILLERS)
    return next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(text)), None)


def are_splits(names: Iterable[str]) -> bool:
    """Return whether names are those of a training set and another set, not of classes."""
    kinds = {split_kind(name) for name in names} - {None}
    return "train" in kinds and len(kinds) > 1
