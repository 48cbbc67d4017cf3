"""The order of classes, and with it the index of each class: its label in every shard and logit."""

import re
from collections.abc import Sequence

NUMBER = re.compile(r"-?\d+(\.\d+)?")


def class_order(names: Sequence[str]) -> list[str]:
    """Return class names sorted; sorted by value if all are numbers."""
    if all(NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def class_index(classes: Sequence[str]) -> dict[str, int]:
    """Return {class name: index} for class names in class order."""
    return {name: index for index, name in enumerate(classes)}
