"""Assigns samples to the six splits: whole groups, stratified by class, with a long tail."""

from collections import Counter

import numpy as np
import pandas as pd

from tailproof.config.data import Data, Fold
from tailproof.config.splits import HELD_OUT, SPLITS, TRAIN, VAL
from tailproof.data.folds import deal_folds
from tailproof.data.long_tail import long_tail_mask
from tailproof.runtime.errors import TailproofError


def assign_splits(samples: pd.DataFrame, target: str, names: list[str], config: Data) -> pd.Series:
    """Return the split of each sample, without the samples that the long tail leaves out.

    An official validation set becomes val as it is.
    """
    rng = np.random.default_rng(config.seed)
    if config.splits.fold:
        return assign_fold(samples, target, names, config, config.splits.fold, rng)
    pools = assign_pools(samples, target, config.test_fraction, rng)
    training = samples[pools == TRAIN]
    training = training[long_tail_mask(training[target], names, config.long_tail, rng)]
    held_out = samples[pools == HELD_OUT]
    official_val = samples[pools == VAL]
    fractions = config.splits
    training_fractions = {"val": fractions.val, "calib": fractions.calib}
    if len(official_val):
        del training_fractions["val"]
    held_out_fractions = {"tune": fractions.tune, "dev": fractions.dev}
    parts = [
        pd.Series("val", index=official_val.index, dtype=object),
        assign_all(training, target, training_fractions, "train", rng),
        assign_all(held_out, target, held_out_fractions, "test", rng),
    ]
    return pd.concat(parts)


def assign_fold(
    samples: pd.DataFrame,
    target: str,
    names: list[str],
    config: Data,
    fold: Fold,
    rng: np.random.Generator,
) -> pd.Series:
    """Return the split of each sample with one fold as test.

    The other splits come from the other folds. tune and dev are as large as if they were fractions
    of the fold. A class whose samples are all in the fold is in no other split.

    Raises:
        TailproofError: the source has a test set of its own.
    """
    if samples["pool"].notna().any():
        raise TailproofError(
            "data.splits.fold makes every image a test image once, but data.source has official "
            "sets: remove `train`, `val` and `test` or `split` there, or remove data.splits.fold"
        )
    fractions = config.splits
    tested = np.asarray(deal_folds(samples, target, fold.of, rng)) == fold.index
    others = samples[~tested]
    size = tested.sum() / max(len(others), 1)
    shares = {"tune": fractions.tune * size, "dev": fractions.dev * size}
    chosen = assign_all(others, target, shares, "train", rng)
    training = others[chosen == "train"]
    training = training[long_tail_mask(training[target], names, config.long_tail, rng)]
    shares = {"val": fractions.val, "calib": fractions.calib}
    return pd.concat(
        [
            pd.Series("test", index=samples.index[tested], dtype=object),
            chosen[chosen != "train"],
            assign_all(training, target, shares, "train", rng),
        ]
    )


def assign_pools(
    samples: pd.DataFrame, target: str, test_fraction: float, rng: np.random.Generator
) -> pd.Series:
    """Return the pool of each sample: that of the source, or else a stratified cut."""
    pools = samples["pool"]
    if pools.isna().all():
        assigned = assign(samples, target, {HELD_OUT: test_fraction}, TRAIN, rng)
        return keep_classes(assigned, samples, target, TRAIN)
    if not pools.eq(HELD_OUT).any() or not pools.eq(TRAIN).any():
        raise TailproofError(
            "the source has no training images, or no test images: correct data.source"
        )
    return pools


def assign(
    samples: pd.DataFrame,
    target: str,
    fractions: dict[str, float],
    rest: str,
    rng: np.random.Generator,
) -> pd.Series:
    """Distribute whole groups of samples by `fractions`, stratified by class.

    `rest` gets the remaining samples, with at least one group of every class. The class of a group
    is that of its sample that is drawn first.
    """
    assigned = pd.Series(rest, index=samples.index, dtype=object)
    shuffled = samples.iloc[rng.permutation(len(samples))]
    sizes = shuffled["group"].value_counts()
    chosen: dict[str, str] = {}
    carry = dict.fromkeys(fractions, 0.0)
    for _, members in shuffled.drop_duplicates("group").groupby(target, sort=True):
        left = [(group, sizes[group]) for group in members["group"]]
        total = sum(size for _, size in left)
        for name, fraction in fractions.items():
            # The rounding error of earlier classes is carried over, so that totals are right.
            want = total * fraction + carry[name]
            taken = 0
            while len(left) > 1 and taken + left[-1][1] / 2 <= want:
                group, size = left.pop()
                chosen[group] = name
                taken += size
            carry[name] = want - taken
    assigned.update(samples["group"].map(chosen).dropna())
    return assigned


def assign_all(
    samples: pd.DataFrame,
    target: str,
    fractions: dict[str, float],
    rest: str,
    rng: np.random.Generator,
) -> pd.Series:
    """Distribute groups as `assign` does; every split gets some, and train keeps every class."""
    assigned = assign(samples, target, fractions, rest, rng)
    if rest == "train":
        assigned = keep_classes(assigned, samples, target, rest)
    return fill_empty(assigned, samples, target, fractions, rest, rng)


def keep_classes(assigned: pd.Series, samples: pd.DataFrame, target: str, rest: str) -> pd.Series:
    """Return a group of each class to `rest` that `assign` took all groups of.

    It does so only if groups have several classes.
    """
    kept = set(samples.loc[assigned == rest, target])
    lost = samples[~samples[target].isin(kept)].drop_duplicates(target)
    assigned = assigned.copy()
    for label, group in zip(lost[target], lost["group"], strict=True):
        if label not in kept:
            members = samples["group"] == group
            assigned[members] = rest
            kept |= set(samples.loc[members, target])
    return assigned


def fill_empty(
    assigned: pd.Series,
    samples: pd.DataFrame,
    target: str,
    fractions: dict[str, float],
    rest: str,
    rng: np.random.Generator,
) -> pd.Series:
    """Give every split a share although the classes are too small for it to get one by class.

    A split that `assign` left empty takes whole groups from `rest`, those of the classes with the
    most groups first, or one group from another split. `train` keeps every class; test may lose
    classes, but not its last group.
    """
    empty = [name for name in fractions if fractions[name] and not (assigned == name).any()]
    if not empty:
        return assigned
    assigned = assigned.copy()
    spare = _spare_groups(samples[assigned == rest], target, rng, every_class=rest == "train")
    groups = samples["group"].nunique()
    for position, name in enumerate(empty):
        later = len(empty) - position - 1
        taken = spare[: max(min(round(fractions[name] * groups), len(spare) - later), 1)]
        spare = spare[len(taken) :]
        if not taken:
            others = (samples.loc[assigned == other, "group"].unique() for other in fractions)
            taken = list(max(others, key=len)[1:2])
        assigned[samples["group"].isin(taken)] = name
    return assigned


def _spare_groups(
    samples: pd.DataFrame, target: str, rng: np.random.Generator, *, every_class: bool
) -> list[str]:
    """Return the groups that a split can give away, those of its largest classes first."""
    shuffled = samples.iloc[rng.permutation(len(samples))].drop_duplicates("group")
    number = shuffled.groupby(target).cumcount()
    ordered = shuffled["group"].iloc[np.argsort(-number, kind="stable")].tolist()
    if not every_class:
        return ordered[:-1]
    left = Counter(samples[target])
    members: dict[str, Counter[str]] = {}
    for group, label in zip(samples["group"], samples[target], strict=True):
        members.setdefault(group, Counter())[label] += 1
    spare = []
    for group in ordered:
        if all(left[label] > count for label, count in members[group].items()):
            left -= members[group]
            spare.append(group)
    return spare


def count_classes(table: pd.DataFrame, target: str, names: list[str]) -> pd.DataFrame:
    """Return the samples of each class (rows, in class order) in each split (columns)."""
    counts = pd.crosstab(table[target], table["split"])
    return counts.reindex(index=names, columns=list(SPLITS), fill_value=0)
