"""The stage split: makes six disjoint splits by content and group, and the long-tailed profile.

The result is a pure function of the samples, the configuration and the seed.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.tables import read_parquet, table_metadata, write_parquet
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError, unknown_name

log = logging.getLogger(__name__)


def split(samples_path: str | Path, config: Data, output: str | Path, summary: str | Path) -> None:
    """Write splits.parquet (sample_id, split, weight) and a summary.

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
    rng = np.random.default_rng(config.seed)

    labelled, without = drop_unlabelled(samples, target)
    kept, copies = drop_duplicates(labelled, target)
    pools = assign_pools(kept, target, config.test_fraction, rng)
    training = kept[pools == "train"]
    training = training[profile_mask(training[target], names, config.long_tail, rng)]
    fractions = config.splits
    parts = [
        assign(training, target, {"val": fractions.val, "calib": fractions.calib}, "train", rng),
        assign(
            kept[pools == "held_out"],
            target,
            {"tune": fractions.tune, "dev": fractions.dev},
            "test",
            rng,
        ),
    ]
    table = kept[["sample_id", target]].join(pd.concat(parts).rename("split"), how="inner")
    counts = count_classes(table, target, names)
    check(counts, names)
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
    write_json(summary, summarise(samples, {**without, **copies}, counts, target, names))


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

    If there are copies in both pools, the held-out one is kept, so that published test sets stay
    complete.
    """
    by_content = samples.groupby("digest", sort=False)
    conflicting = by_content[target].transform("nunique") > 1
    order = np.argsort(samples["pool"].ne("held_out"), kind="stable")
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


def assign_pools(
    samples: pd.DataFrame, target: str, test_fraction: float, rng: np.random.Generator
) -> pd.Series:
    """Return the pool of each sample: that of the source, or a stratified cut without a test set.

    If a group has samples in both pools of the source, the whole group is held out.
    """
    pools = samples["pool"]
    if pools.isna().all():
        return assign(samples, target, {"held_out": test_fraction}, "train", rng)
    if not pools.eq("held_out").any() or not pools.eq("train").any():
        raise TailproofError("the source fills only one of its two pools: correct data.source")
    tested = set(samples.loc[pools == "held_out", "group"])
    return pools.where(~samples["group"].isin(tested), "held_out")


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


def count_classes(table: pd.DataFrame, target: str, names: list[str]) -> pd.DataFrame:
    """Return the samples of each class (rows, in class order) in each split (columns)."""
    counts = pd.crosstab(table[target], table["split"])
    return counts.reindex(index=names, columns=list(SPLITS), fill_value=0)


def check(counts: pd.DataFrame, names: list[str]) -> None:
    """Raise a TailproofError if a split is empty or a class has no training sample."""
    empty = [split for split in SPLITS if counts[split].sum() == 0]
    if empty:
        raise TailproofError(
            f"the split '{empty[0]}' has no sample: raise its fraction in data.splits, or add data"
        )
    missing = [name for name in names if counts.loc[name, "train"] == 0]
    if missing:
        shown = ", ".join(f"'{name}'" for name in missing[:5])
        raise TailproofError(
            f"{len(missing)} class(es) have no training sample ({shown}): add images, lower "
            "data.long_tail.imbalance, or remove the classes"
        )


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
