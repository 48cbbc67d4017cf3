"""Identical images: one of several copies is kept, and none if their labels differ."""

import logging

import numpy as np
import pandas as pd

from tailproof.config.splits import HELD_OUT, VAL
from tailproof.text import quantity

log = logging.getLogger(__name__)

PRECEDENCE = {HELD_OUT: 0, VAL: 1}
"""Which pool keeps what several pools share; the smallest number wins."""


def drop_duplicates(samples: pd.DataFrame, target: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Keep one of several identical images; keep none if their labels differ.

    If there are copies in several pools, the one of the test set is kept, then that of the
    validation set, so that published sets stay complete.
    """
    by_content = samples.groupby("digest", sort=False)
    conflicting = by_content[target].transform("nunique") > 1
    order = np.argsort(samples["pool"].map(PRECEDENCE).fillna(len(PRECEDENCE)), kind="stable")
    first = samples["digest"].iloc[order]
    keep = first.index[~first.duplicated()]
    kept = samples[samples.index.isin(keep) & ~conflicting]
    dropped = {
        "duplicates_dropped": int((~samples.index.isin(keep) & ~conflicting).sum()),
        "conflicting_dropped": int(conflicting.sum()),
    }
    if any(dropped.values()):
        log.warning(
            "dropped %s, and %s of images with conflicting labels",
            quantity(dropped["duplicates_dropped"], "duplicate image"),
            quantity(dropped["conflicting_dropped"], "copy", "copies"),
        )
    return kept, dropped
