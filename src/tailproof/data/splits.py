"""The stage split: makes six disjoint splits by content and group, and the long-tailed profile.

The result is a pure function of the samples, the configuration and the seed.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tailproof.config.data import Data
from tailproof.config.splits import HELD_OUT, SPLITS, TRAIN, VAL
from tailproof.data.duplicate_pairs import merge_groups, read_pairs
from tailproof.data.tables import read_parquet, table_metadata, write_parquet
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity

log = logging.getLogger(__name__)

PRECEDENCE = {HELD_OUT: 0, VAL: 1}
"""Which pool keeps what several pools share; the smallest number wins."""
TRIED_SEEDS = 20
TRIED_COUNTS = 100
TRIED_ROWS = 2_000_000
"""How much may be tried to find advice: seeds, sizes of the held-out pool, and rows in all."""


def split(
    samples_path: str | Path,
    config: Data,
    output: str | Path,
    summary: str | Path,
    pairs_path: str | Path | None = None,
) -> None:
    """Write splits.parquet (sample_id, split, weight) and a summary.

    Args:
        samples_path: samples.parquet.
        config: the configuration of the data.
        output: path of splits.parquet.
        summary: path of splits.json.
        pairs_path: near duplicates that stay in one split; None to leave them as they are.

    Raises:
        TailproofError: a pool, a class or a split would have no sample.
    """
    samples = read_parquet(samples_path).to_pandas()
    metadata = table_metadata(samples_path)
    target = config.target or metadata["ranks"][-1]
    if target not in metadata["ranks"]:
        raise unknown_name("taxonomic rank", target, metadata["ranks"])
    refuse_single_class(metadata["classes"][target])
    names = metadata["classes"][target]

    labelled, without = drop_unlabelled(samples, target)
    unique, copies = drop_duplicates(labelled, target)
    kept, shared = drop_shared_groups(unique)
    if pairs_path is not None:
        kept, near = group_near_duplicates(samples, kept, pairs_path)
        shared |= near
    used = assign_splits(kept, target, names, config)
    fault = find_fault(kept, target, names, used, config)
    if fault:
        raise TailproofError(fault)
    table = kept[["sample_id", target]].join(used.rename("split"), how="inner")
    counts = count_classes(table, target, names)
    table["weight"] = prior_weights(table["split"], table[target], counts)

    table = table.iloc[np.argsort(table["split"].map(SPLITS.index), kind="stable")]
    write_parquet(
        output,
        pa.table(
            {
                "sample_id": pa.array(table["sample_id"], pa.string()),
                "split": pa.array(table["split"], pa.string()),
                "weight": pa.array(table["weight"], pa.float64()),
            }
        ),
    )
    dropped = {**without, **copies, **shared, **count_dropped_tests(samples, kept)}
    write_json(summary, summarise(samples, dropped, counts, target, names))


def assign_splits(samples: pd.DataFrame, target: str, names: list[str], config: Data) -> pd.Series:
    """Return the split of each sample, without the samples that the long tail leaves out.

    An official validation set becomes val as it is.
    """
    rng = np.random.default_rng(config.seed)
    pools = assign_pools(samples, target, config.test_fraction, rng)
    training = samples[pools == TRAIN]
    training = training[profile_mask(training[target], names, config.long_tail, rng)]
    held_out = samples[pools == HELD_OUT]
    official_val = samples[pools == VAL]
    fractions = config.splits
    training_fractions = {"val": fractions.val, "calib": fractions.calib}
    if len(official_val):
        del training_fractions["val"]
    held_out_fractions = {"tune": fractions.tune, "dev": fractions.dev}
    parts = [pd.Series("val", index=official_val.index, dtype=object)]
    for pool, shares, rest in (
        (training, training_fractions, "train"),
        (held_out, held_out_fractions, "test"),
    ):
        assigned = assign(pool, target, shares, rest, rng)
        parts.append(fill_empty(assigned, pool, target, shares, rest, rng))
    return pd.concat(parts)


def drop_unlabelled(samples: pd.DataFrame, target: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop samples without a label at the target rank, which cannot be learnt or scored."""
    labelled = samples[samples[target].notna()]
    without = len(samples) - len(labelled)
    if labelled.empty:
        raise TailproofError(
            f"no sample has a label at the target rank '{target}': correct data.target"
        )
    if without:
        log.warning("dropped %d samples without a label at the rank '%s'", without, target)
    return labelled, {"unlabelled_dropped": without}


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
            "dropped %d duplicate images, and %d copies of images with conflicting labels",
            dropped["duplicates_dropped"],
            dropped["conflicting_dropped"],
        )
    return kept, dropped


def drop_shared_groups(samples: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop samples whose group is also in the test set or, for training samples, in val.

    Published test and validation sets stay as they are; only the pools of a source can share a
    group.
    """
    precedence, shared = shared_groups(samples)
    if shared.any():
        log.warning(
            "dropped %d of %d training and validation samples, because their groups are also in "
            "the test or validation set (for instance '%s'); if each set numbers its groups from "
            "the start, set data.source.group_per_pool to true",
            shared.sum(),
            (precedence > 0).sum(),
            samples.loc[shared, "group"].iloc[0],
        )
    return samples[~shared], {"shared_groups_dropped": int(shared.sum())}


def group_near_duplicates(
    samples: pd.DataFrame, kept: pd.DataFrame, pairs_path: str | Path
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Make one group of near duplicates and their groups.

    Samples with a near duplicate in the test set or, for training samples, in val are dropped, as
    those of a shared group are.

    Args:
        samples: all samples; near duplicates of a dropped sample are those of each other, too.
        kept: the samples that can be used.
        pairs_path: the pairs of near duplicates.
    """
    pairs, _ = read_pairs(pairs_path, samples["sample_id"])
    merged = pd.Series(merge_groups(samples["group"].to_numpy(), pairs), samples.index)[kept.index]
    changed = int((merged != kept["group"]).sum())
    precedence, shared = shared_groups(kept.assign(group=merged))
    if shared.any():
        log.warning(
            "dropped %d of %d training and validation samples, because the test or validation set "
            "has near duplicates of them",
            shared.sum(),
            (precedence > 0).sum(),
        )
    dropped = int(shared.sum())
    return kept.assign(group=merged)[~shared], {
        "near_duplicates_grouped": changed,
        "near_duplicates_dropped": dropped,
    }


def shared_groups(samples: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the precedence of each sample's pool, and whether another pool keeps its group."""
    precedence = samples["pool"].map(PRECEDENCE).fillna(len(PRECEDENCE))
    return precedence, precedence > precedence.groupby(samples["group"]).transform("min")


def count_dropped_tests(samples: pd.DataFrame, kept: pd.DataFrame) -> dict[str, int]:
    """Return how many samples of the published test set were dropped."""
    dropped = [int((table["pool"] == HELD_OUT).sum()) for table in (samples, kept)]
    return {"official_test_dropped": dropped[0] - dropped[1]}


def assign_pools(
    samples: pd.DataFrame, target: str, test_fraction: float, rng: np.random.Generator
) -> pd.Series:
    """Return the pool of each sample: that of the source, or else a stratified cut."""
    pools = samples["pool"]
    if pools.isna().all():
        return assign(samples, target, {HELD_OUT: test_fraction}, TRAIN, rng)
    if not pools.eq(HELD_OUT).any() or not pools.eq(TRAIN).any():
        raise TailproofError(
            "the source has no training images, or no test images: correct data.source"
        )
    return pools


def profile_counts(available: np.ndarray, kind: str, imbalance: float, n_max: int | None):
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


def profile_mask(
    labels: pd.Series, names: list[str], profile: Any, rng: np.random.Generator
) -> np.ndarray:
    """Return a mask of the training-pool samples to keep, drawn without replacement."""
    if profile.kind == "natural":
        return np.ones(len(labels), bool)
    codes = pd.Categorical(labels, categories=names).codes
    available = np.bincount(codes, minlength=len(names))
    counts = profile_counts(available, profile.kind, profile.imbalance, profile.n_max)
    short = np.flatnonzero(counts > available)
    if short.size:
        worst = short[0]
        raise TailproofError(
            f"data.long_tail asks for {counts[worst]} images of class '{names[worst]}', but the "
            f"training pool has {available[worst]}: lower n_max or remove it"
        )
    keep = np.zeros(len(codes), bool)
    for code, count in enumerate(counts):
        members = np.flatnonzero(codes == code)
        keep[rng.permutation(members)[:count]] = True
    return keep


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


def find_fault(
    samples: pd.DataFrame, target: str, names: list[str], used: pd.Series, config: Data
) -> str | None:
    """Return why the splits cannot be used, and what helps; None if they can.

    Every split needs a sample, and every class a sample in train.

    Args:
        samples: the samples that can be used.
        target: the rank to predict.
        names: the classes, in class order.
        used: the split of each sample.
        config: the configuration that the splits are made by.
    """
    empty, untrained = _empty_splits(samples, target, names, used)
    if not empty and not untrained:
        return None
    unwanted = [name for name in empty if getattr(config.splits, name, None) == 0]
    if unwanted:
        name = unwanted[0]
        return (
            f"the split '{name}' has no sample: set data.splits.{name} to more than 0, such as 0.1"
        )
    facts = []
    if empty:
        one = len(empty) == 1
        quoted = " and ".join(f"'{name}'" for name in empty)
        facts.append(f"the split{'' if one else 's'} {quoted} {'has' if one else 'have'} no sample")
    if untrained:
        shown = listed([f"'{name}'" for name in untrained])
        facts.append(f"{len(untrained)} class(es) have no training sample ({shown})")
    pools = samples["pool"]
    never = pools.notna().any() and set(untrained) - set(samples.loc[pools == TRAIN, target])
    remedy = None if never else find_remedy(samples, target, names, config)
    return f"{' and '.join(facts)}: {remedy or _missing_samples(samples, target)}"


def find_remedy(samples: pd.DataFrame, target: str, names: list[str], config: Data) -> str | None:
    """Try other values of the configuration; return advice that is known to work."""
    changes: list[dict[str, Any]] = []
    if config.long_tail.kind != "natural":
        imbalance = config.long_tail.imbalance
        weaker = [imbalance / 2**power for power in range(1, 13) if imbalance / 2**power >= 1]
        changes += [
            {"long_tail": config.long_tail.model_copy(update={"imbalance": round(value, 1)})}
            for value in weaker
        ]
    if samples["pool"].isna().all():
        groups = samples["group"].nunique()
        tenths = sorted(np.arange(1, 20) / 20, key=lambda value: abs(value - config.test_fraction))
        small = [count / groups for count in range(3, min(groups, TRIED_COUNTS))]
        changes += [{"test_fraction": round(float(value), 4)} for value in [*tenths, *small]]
    changes += [{"seed": config.seed + step} for step in range(1, TRIED_SEEDS)]
    for change in changes[: max(TRIED_ROWS // len(samples), 5)]:
        try:
            used = assign_splits(samples, target, names, config.model_copy(update=change))
        except TailproofError:
            continue
        if not any(_empty_splits(samples, target, names, used)):
            (field, value), *_ = change.items()
            if field == "long_tail":
                field, value = "long_tail.imbalance", value.imbalance
            return f"set data.{field} to {value}; then every split has samples"
    return None


def _empty_splits(
    samples: pd.DataFrame, target: str, names: list[str], used: pd.Series
) -> tuple[list[str], list[str]]:
    """Return the splits without a sample and the classes without a training sample."""
    table = samples[[target]].join(used.rename("split"), how="inner")
    counts = count_classes(table, target, names)
    empty = [split for split in SPLITS if counts[split].sum() == 0]
    return empty, [name for name in names if counts.loc[name, "train"] == 0]


def _missing_samples(samples: pd.DataFrame, target: str) -> str:
    """Say how many samples the splits need, by pool."""
    noun = "group" if samples["group"].duplicated().any() else "image"
    classes = samples[target].nunique()
    pools = samples["pool"]
    parts = [("the six splits need", samples, classes + 5)]
    if pools.notna().any():
        others = 1 if pools.eq(VAL).any() else 2
        parts = [
            ("the training set needs", samples[pools == TRAIN], classes + others),
            ("the test set needs", samples[pools == HELD_OUT], 3),
        ]
    for part, rows, needed in parts:
        groups = rows["group"].nunique()
        if groups < needed:
            return (
                f"{part} at least {needed} {noun}s, one of each class for train and one for each "
                f"other split, found {groups}: add {quantity(needed - groups, noun)}"
            )
    if pools.notna().any():
        return "add training images of these classes, or remove their other images"
    return "add images of these classes from other groups, or remove the classes"


def refuse_single_class(names: list[str]) -> None:
    """Raise a TailproofError if there is one class alone."""
    if len(names) == 1:
        raise TailproofError(
            f"all samples are of one class, '{names[0]}', but a classifier needs at least two: "
            "correct data.source or data.target"
        )


def prior_weights(splits: pd.Series, labels: pd.Series, counts: pd.DataFrame) -> np.ndarray:
    """Return weights that give each split the class shares of `train`, with mean 1 per split.

    weight = P_train(y) / P_split(y), scaled to mean 1 (importance weighting for label shift, e.g.
    Saerens et al. 2002, equation 2.4).
    """
    train = counts["train"] / counts["train"].sum()
    weights = np.zeros(len(splits))
    for split in counts.columns:
        here = (splits == split).to_numpy()
        share = labels[here].map(
            train / (counts[split] / counts[split].sum()).where(lambda s: s > 0)
        )
        weights[here] = (share / share.mean()).to_numpy()
    return weights


def summarise(
    samples: pd.DataFrame,
    dropped: dict[str, int],
    counts: pd.DataFrame,
    target: str,
    names: list[str],
) -> dict[str, Any]:
    """Return a summary of the splits for readers, as plain values."""
    train = counts["train"]
    return {
        "samples": len(samples),
        **dropped,
        "target": target,
        "splits": {split: int(counts[split].sum()) for split in SPLITS},
        "class_counts": {
            name: {split: int(counts.loc[name, split]) for split in SPLITS} for name in names
        },
        "imbalance": round(float(train.max() / train.min()), 3),
        "classes_under_10_training_samples": [n for n in names if train[n] < 10],
    }
