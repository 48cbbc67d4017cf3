"""Writes collections as others publish them, in small: a few random pictures, tables, lists."""

import csv
import zlib
from pathlib import Path

import cv2
import numpy as np

SIDES = (9, 8)


def write_pictures(root: Path, names, sides=SIDES, *, grey=False) -> None:
    """Write a picture of its own for each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = np.random.default_rng(zlib.crc32(name.encode()))
        pixels = seed.integers(0, 256, sides if grey else (*sides, 3), dtype=np.uint8)
        suffix = path.suffix.lower() if path.suffix.lower() in (".png", ".tif") else ".png"
        path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def write_classes(root: Path, classes, count=6, suffix=".jpg", **options) -> None:
    """Write `count` pictures into a folder for each class."""
    names = [f"{name}/{number}{suffix}" for name in classes for number in range(count)]
    write_pictures(root, names, **options)


def write_table(path: Path, header, rows, separator=",") -> None:
    """Write a table; rows may be any values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
