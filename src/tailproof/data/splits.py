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
from tailproof.config.splits import HELD_OUT, SPLITS, UNKNOWN, UNKNOWN_SPLITS
from tailproof.data.duplicate_pairs import merge_groups, read_pairs
from tailproof.data.exact_duplicates import PRECEDENCE, drop_duplicates
from tailproof.data.split_advice import find_fault
from tailproof.data.split_assignment import assign_splits, count_classes
from tailproof.data.tables import read_parquet, table_metadata, write_parquet
from tailproof.data.unknown_split import assign_unknown, summarise_unknown
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity

log = logging.getLogger(__name__)


def split(
    samples_path: str | Path,
    config: Data,
    output: str | Path,
    summary: str | Path,
    pairs_path: str | Path | None = None,
) -> None:
    """Write splits.parquet (sample_id, split, weight) and a summary.

    Samples of no known class are in none of the six splits.

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

    is_unknown = samples["pool"] == UNKNOWN
    known, unknown = samples[~is_unknown], samples[is_unknown]
    labelled, without = drop_unlabelled(known, target)
    unique, copies = drop_duplicates(labelled, target)
    kept, shared = drop_shared_groups(unique)
    if pairs_path is not None:
        merged = merge_near_duplicates(samples, pairs_path)
        unknown = unknown.assign(group=merged[is_unknown])
        kept, near = group_near_duplicates(kept, merged)
        shared |= near
    if kept.empty:
        counted = ", ".join(f"{name} {count}" for name, count in {**copies, **shared}.items())
        raise TailproofError(
            f"{samples_path}: no sample is left to split ({counted}): pictures with the same "
            "pixels and different labels are left out; correct the labels, or fetch the "
            "pictures again if all are one placeholder"
        )
    used = assign_splits(kept, target, names, config)
    fault = find_fault(kept, target, names, used, config)
    if fault:
        raise TailproofError(fault)
    table = kept[["sample_id", target]].join(used.rename("split"), how="inner")
    counts = count_classes(table, target, names)
    warn_about_small_classes(
        counts, in_fold=config.splits.fold is not None, official=kept["pool"].notna().any()
    )
    table["weight"] = prior_weights(table["split"], table[target], counts)
    dropped = {**without, **copies, **shared, **count_dropped_tests(known, kept)}
    facts = summarise(known, dropped, counts, target, names)
    if len(unknown):
        groups = kept[["group"]].join(used.rename("split"), how="inner")
        halves, left_out = assign_unknown(unknown, known, groups, config)
        others = unknown[["sample_id"]].join(halves.rename("split"), how="inner")
        table = pd.concat([table, others.assign(weight=1.0)])
        facts["unknown"] = summarise_unknown(unknown, halves, left_out)

    order = (*SPLITS, *UNKNOWN_SPLITS)
    table = table.iloc[np.argsort(table["split"].map(order.index), kind="stable")]
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
    write_json(summary, facts)


def drop_unlabelled(samples: pd.DataFrame, target: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop samples without a label at the target rank, which cannot be learnt or scored."""
    labelled = samples[samples[target].notna()]
    without = len(samples) - len(labelled)
    if labelled.empty:
        raise TailproofError(
            f"no sample has a label at the target rank '{target}': correct data.target"
        )
    if without:
        log.warning(
            "dropped %s without a label at the rank '%s'", quantity(without, "sample"), target
        )
    return labelled, {"unlabelled_dropped": without}


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


def merge_near_duplicates(samples: pd.DataFrame, pairs_path: str | Path) -> pd.Series:
    """Return the group of each sample, in which near duplicates and their groups are one.

    Args:
        samples: all samples; near duplicates of a dropped sample are those of each other, too.
        pairs_path: the pairs of near duplicates.
    """
    pairs, _ = read_pairs(pairs_path, samples["sample_id"])
    return pd.Series(merge_groups(samples["group"].to_numpy(), pairs), samples.index)


def group_near_duplicates(
    kept: pd.DataFrame, merged: pd.Series
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let near duplicates and their groups stay in one split.

    Samples with a near duplicate in the test set or, for training samples, in val are dropped, as
    those of a shared group are.

    Args:
        kept: the samples that can be used.
        merged: their groups, and those of other samples, from `merge_near_duplicates`.
    """
    merged = merged[kept.index]
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


def warn_about_small_classes(counts: pd.DataFrame, *, in_fold: bool, official: bool) -> None:
    """Log the classes that test lacks; in a fold, those that only test has.

    Args:
        counts: the samples of each class in each split.
        in_fold: whether test is a fold.
        official: whether the source has a test set of its own, which excludes folds.
    """
    untested = counts.index[counts["test"] == 0].tolist()
    if untested and not in_fold:
        log.warning(
            "%d of %s %s no image in test (%s), so no result on test covers %s%s",
            len(untested),
            quantity(len(counts), "class", "classes"),
            "has" if len(untested) == 1 else "have",
            listed(untested),
            "it" if len(untested) == 1 else "them",
            "" if official else ": `tailproof folds EXPERIMENT` tests every image once",
        )
    unlearnt = counts.index[counts["train"] == 0].tolist()
    if unlearnt:
        one = len(unlearnt) == 1
        log.warning(
            "%d of %s %s only in test (%s), because no other fold has images of %s: all images "
            "of %s are predicted wrongly",
            len(unlearnt),
            quantity(len(counts), "class", "classes"),
            "is" if one else "are",
            listed(unlearnt),
            "it" if one else "them",
            "it" if one else "them",
        )


def refuse_single_class(names: list[str]) -> None:
    """Raise a TailproofError if there is only one class."""
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
        "imbalance": round(float(train.max() / train[train > 0].min()), 3),
        "classes_under_10_training_samples": [n for n in names if train[n] < 10],
    }
