"""Finds the split that a path names, by the rules of Hugging Face datasets.

Rules: https://huggingface.co/docs/datasets/repository_structure. A keyword is a whole word of the
name of a folder or file, between digits or any of ``-._`` and a blank.
"""

import re
from collections.abc import Mapping

KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_BORDER = r"[-._ 0-9]"
_IN_FOLDER = {
    split: re.compile(rf"(?:.*{_BORDER})?(?:{'|'.join(words)})(?:{_BORDER}.*)?", re.DOTALL)
    for split, words in KEYWORDS.items()
}
_IN_FILE = {
    split: re.compile(rf"(?:.*{_BORDER})?(?:{'|'.join(words)}){_BORDER}.*", re.DOTALL)
    for split, words in KEYWORDS.items()
}


SPLITS = {word: split for split, words in KEYWORDS.items() for word in words}
"""The split that each keyword means."""


def split_of(path: str) -> str | None:
    """Return the split that the folders of a path name, the outermost first, or its file name.

    A name with keywords of several splits, such as ``train_test_split``, names none.
    """
    return folder_split(path) or name_split(path)


def folder_split(path: str) -> str | None:
    """Return the split that the folders of a path name."""
    named = (_only(_IN_FOLDER, folder) for folder in path.split("/")[:-1])
    return next(filter(None, named), None)


def name_split(path: str) -> str | None:
    """Return the split that the file name of a path names."""
    return _only(_IN_FILE, path.rpartition("/")[2])


def _only(patterns: Mapping[str, re.Pattern[str]], name: str) -> str | None:
    splits = [split for split, pattern in patterns.items() if pattern.fullmatch(name)]
    return splits[0] if len(splits) == 1 else None
