"""The long tail of `data.long_tail`: how many images of each class to keep, and which."""

from typing import Any

import numpy as np
import pandas as pd

from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


def long_tail_counts(
    available: np.ndarray, kind: str, imbalance: float, n_max: int | None
) -> np.ndarray:
    """Return the number of images to keep of each class; class 0 keeps the most.

    exponential: n_i = floor(n_max · IF^(−i/(C−1))) (Cao et al. 2019); step: n_max in the first
    half of the classes, floor(n_max/IF) in the others (Buda et al. 2018).

    Args:
        available: images of each class in the training pool, shape [C].
        kind: ``exponential`` or ``step``.
        imbalance: n of the first class divided by n of the last.
        n_max: n of the first class; None means the most that `available` allows.
    """
    classes = len(available)
    position = np.arange(classes)
    if kind == "exponential":
        share = imbalance ** (-position / max(classes - 1, 1))
    else:
        share = np.where(position < (classes + 1) // 2, 1.0, 1.0 / imbalance)
    if n_max is None:
        n_max = int(np.min((available + 1 - 1e-9) / share))
        n_max = min(n_max, int(available[0]))
    # 500·100^(-99/99) is 5 on paper and 4.999… in floating point
    return np.floor(n_max * share + 1e-9).astype(int)


def long_tail_mask(
    labels: pd.Series, names: list[str], long_tail: Any, rng: np.random.Generator
) -> np.ndarray:
    """Return a mask of the training-pool samples to keep, drawn without replacement."""
    if long_tail.kind == "natural":
        return np.ones(len(labels), bool)
    codes = pd.Categorical(labels, categories=names).codes
    available = np.bincount(codes, minlength=len(names))
    counts = long_tail_counts(available, long_tail.kind, long_tail.imbalance, long_tail.n_max)
    short = np.flatnonzero(counts > available)
    if short.size:
        worst = short[0]
        raise TailproofError(
            f"data.long_tail asks for {quantity(int(counts[worst]), 'image')} of the class "
            f"'{names[worst]}', but the training pool has {available[worst]}: lower "
            "data.long_tail.n_max or remove it"
        )
    keep = np.zeros(len(codes), bool)
    for code, count in enumerate(counts):
        members = np.flatnonzero(codes == code)
        keep[rng.permutation(members)[:count]] = True
    return keep
