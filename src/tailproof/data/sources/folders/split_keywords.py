"""Finds the split that a path names, by the rules of Hugging Face datasets.

Rules: https://huggingface.co/docs/datasets/repository_structure. A keyword is a whole word of the
name of a folder or file, between digits or any of ``-._`` and a blank.
"""

import re

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


def splits_in_folders(path: str) -> list[str]:
    """Return the splits that the folders of a path name; usually one or none."""
    folders = path.split("/")[:-1]
    return [split for split, word in _IN_FOLDER.items() if any(map(word.fullmatch, folders))]


def splits_in_name(path: str) -> list[str]:
    """Return the splits that the file name of a path names; usually one or none."""
    name = path.rpartition("/")[2]
    return [split for split, word in _IN_FILE.items() if word.fullmatch(name)]


def split_of(path: str) -> str | None:
    """Return the split that a path names in its folders, or else in its file name."""
    return next(iter(splits_in_folders(path) or splits_in_name(path)), None)
