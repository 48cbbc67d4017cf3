"""Reads the names of numbered classes from the files that datasets publish for them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_json, read_text

FIRST = re.compile(r"(\S+?)\s*[\s,;:]\s*(\S.*)")
LAST = re.compile(r"(.*\S)\s*[\s,;:]\s*(\S+)")
EXPECTED = (
    "expected the name of label 0 in the first line and so on, or a label and its name in each "
    "line, or JSON such as ['tench', 'goldfish'] or {'0': 'tench'}"
)


def read_class_names(file: Path, labels: Sequence[str]) -> dict[str, str]:
    """Return the name of each label.

    Two labels with one name, such as the two cranes of ImageNet, get their label in brackets.

    Args:
        file: one name per line, where the first line is label 0; or a label and a name per line,
            as ``/a/airfield 0`` or ``n01440764 tench``; or a JSON list or object.
        labels: the labels that need a name.

    Raises:
        TailproofError: a label has no name.
    """
    if file.suffix.lower() == ".json":
        names = _from_json(read_json(file))
    else:
        lines = [line.strip() for line in read_text(file).splitlines()]
        names = _from_lines(lines, set(labels))
    without = [label for label in labels if label not in names]
    if without:
        counted = set(labels) == {str(number + 1) for number in range(len(names))}
        advice = "correct the file or data.source.names"
        if counted:
            advice = (
                "the labels of the lists are counted from 1, so begin each line of a text with its "
                "label, or a list in JSON with an empty name for label 0"
            )
        raise TailproofError(
            f"{file} has {quantity(len(names), 'name')}, but none for "
            f"{listed(list(map(repr, without)))}, {EXPECTED}: {advice}"
        )
    counts = Counter(names[label] for label in labels)
    return {
        label: f"{names[label]} ({label})" if counts[names[label]] > 1 else names[label]
        for label in labels
    }


def _from_lines(lines: list[str], labels: set[str]) -> dict[str, str]:
    """Return the names by label; a file that names every label as its first or last field."""
    filled = [line for line in lines if line and not line.startswith("#")]
    for pattern, label, name in ((FIRST, 1, 2), (LAST, 2, 1)):
        matches = [pattern.fullmatch(line) for line in filled]
        pairs = {match[label]: match[name] for match in matches if match}
        if len(pairs) == len(filled) and labels <= pairs.keys():
            return pairs
    while lines and not lines[-1]:
        lines.pop()
    return {str(number): name for number, name in enumerate(lines) if name}


def _from_json(content: Any) -> dict[str, str]:
    if isinstance(content, list):
        return {str(number): str(name) for number, name in enumerate(content)}
    if not isinstance(content, dict):
        return {}
    if all(isinstance(value, int) for value in content.values()):
        return {str(label): name for name, label in content.items()}
    last = (value[-1] if isinstance(value, list) and value else value for value in content.values())
    return {label: str(name) for label, name in zip(content, last, strict=True)}
