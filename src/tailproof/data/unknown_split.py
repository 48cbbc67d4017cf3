"""Assigns pictures of no known class to the splits unknown_tune and unknown_test.

Nothing is learnt from them, so no group may be on two sides. A group that also has known samples
follows these: with some in tune it is in unknown_tune, with some in test in unknown_test, and with
others it is left out. The other groups are halved, class by class.
"""

import numpy as np
import pandas as pd

from tailproof.config.data import Data
from tailproof.config.splits import UNKNOWN_SPLITS
from tailproof.data.split_assignment import assign_all
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

NEXT_TO = {"tune": "unknown_tune", "test": "unknown_test"}
"""The split of an unknown sample whose group has known samples, by the split of these."""
TUNE, TEST = UNKNOWN_SPLITS
SEED = 1  # of the halves, next to data.seed, so that they do not change the six splits


def assign_unknown(
    unknown: pd.DataFrame, samples: pd.DataFrame, known: pd.DataFrame, config: Data
) -> tuple[pd.Series, dict[str, int]]:
    """Return the split of each unknown sample that is used, and how many are not, by reason.

    Args:
        unknown: the unknown samples.
        samples: all samples of known classes, also those that no split uses.
        known: group and split of the known samples that a split uses.
        config: the configuration of the data.

    Raises:
        TailproofError: pictures of another source are known ones too, or fewer than two groups are
            left.
    """
    unique = unknown[~unknown["digest"].duplicated()]
    copies = unique["digest"].isin(samples["digest"])
    if config.unknown and config.unknown.source is not None and copies.any():
        raise _known_pictures(unique[copies], len(unknown), samples)
    unique = unique[~copies]
    follows, apart = _splits_of_groups(unique["group"], known)
    halved = unique[follows.isna() & ~apart]
    if halved["group"].nunique() + follows.notna().sum() < len(UNKNOWN_SPLITS):
        raise TailproofError(
            f"data.unknown has {quantity(len(unknown), 'picture')}, with "
            f"{quantity(halved['group'].nunique(), 'group')} that can be used, expected at least "
            f"{len(UNKNOWN_SPLITS)}, one for each of {' and '.join(UNKNOWN_SPLITS)}: add pictures"
        )
    rng = np.random.default_rng([config.seed, SEED])
    named = halved.assign(unknown_class=halved["unknown_class"].fillna(""))
    halves = assign_all(named, "unknown_class", {TUNE: 0.5}, TEST, rng)
    return pd.concat([follows.dropna(), halves]), {
        "duplicates_dropped": len(unknown) - len(unique) - int(copies.sum()),
        "known_pictures_dropped": int(copies.sum()),
        "shared_groups_dropped": int(apart.sum()),
    }


def _splits_of_groups(groups: pd.Series, known: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the split that each group follows, and whether it is left out."""
    shared = known[known["group"].isin(groups)].drop_duplicates("group")
    split = groups.map(shared.set_index("group")["split"])
    follows = split.map(NEXT_TO)
    return follows, split.notna() & follows.isna()


def _known_pictures(copies: pd.DataFrame, total: int, samples: pd.DataFrame) -> TailproofError:
    first = copies.iloc[0]
    twin = samples.loc[samples["digest"] == first["digest"], "sample_id"].iloc[0]
    verb = "has" if len(copies) == 1 else "have"
    return TailproofError(
        f"data.unknown.source: {len(copies)} of {quantity(total, 'picture')} {verb} the same "
        f"pixels as a known picture; the first is {first['sample_id']} ({twin}): remove them, "
        "because unknown pictures must show no known class"
    )


def summarise_unknown(unknown: pd.DataFrame, used: pd.Series, dropped: dict[str, int]) -> dict:
    """Return what splits.json says of the unknown pictures."""
    names = unknown["unknown_class"]
    counts = pd.crosstab(names.fillna(""), used.reindex(unknown.index))
    counts = counts.reindex(columns=list(UNKNOWN_SPLITS), fill_value=0)
    return {
        "samples": len(unknown),
        **dropped,
        "splits": {split: int((used == split).sum()) for split in UNKNOWN_SPLITS},
        "class_counts": {
            name: {split: int(counts.loc[name, split]) for split in UNKNOWN_SPLITS}
            for name in sorted(counts.index)
        },
    }
