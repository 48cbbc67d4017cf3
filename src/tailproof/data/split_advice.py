"""Says why samples cannot be split, and what helps: advice that was tried and works."""

from typing import Any

import numpy as np
import pandas as pd

from tailproof.config.data import Data, Fold
from tailproof.config.splits import HELD_OUT, SPLITS, TRAIN, VAL
from tailproof.data.split_assignment import assign_splits, count_classes
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

FOLDS = 5
"""How many folds advice is about."""
TRIED_SEEDS = 20
TRIED_COUNTS = 100
TRIED_ROWS = 2_000_000
"""How much may be tried to find advice: seeds, sizes of the held-out pool, and rows in all."""


def find_fault(
    samples: pd.DataFrame, target: str, names: list[str], used: pd.Series, config: Data
) -> str | None:
    """Return why the splits cannot be used, and what helps; None if they can.

    Every split needs a sample, and every class a sample in train. With a fold, a class may be in
    test alone if test has other classes too.

    Args:
        samples: the samples that can be used.
        target: the rank to predict.
        names: the classes, in class order.
        used: the split of each sample.
        config: the configuration that the splits are made by.
    """
    empty, untrained = _empty_splits(samples, target, names, used, config)
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
        facts.append(
            f"{quantity(len(untrained), 'class has', 'classes have')} no training sample ({shown})"
        )
    if config.splits.fold:
        missing = _missing_in_fold(samples, target, used, config.splits.fold)
        return f"{' and '.join(facts)}: {missing}"
    pools = samples["pool"]
    never = pools.notna().any() and set(untrained) - set(samples.loc[pools == TRAIN, target])
    remedy = None if never else find_remedy(samples, target, names, config)
    advice = remedy or _missing_samples(samples, target)
    if folds_work(samples, target, names, config):
        merge = "remove the official sets from data.source and " if pools.notna().any() else ""
        advice += f"; or {merge}test every image once, with `tailproof folds EXPERIMENT`"
    return f"{' and '.join(facts)}: {advice}"


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
        if not any(_empty_splits(samples, target, names, used, config)):
            (field, value), *_ = change.items()
            if field == "seed" and config.seeds:
                field = "seed and the first of data.seeds"
            if field == "long_tail":
                field, value = "long_tail.imbalance", value.imbalance
            return f"set data.{field} to {value}; then every split has samples"
    return None


def folds_work(samples: pd.DataFrame, target: str, names: list[str], config: Data) -> bool:
    """Return whether every fold has all splits, by trying them; False if that takes too long."""
    if len(samples) * FOLDS > TRIED_ROWS:
        return False
    samples = samples.assign(pool=None)
    for index in range(FOLDS):
        splits = config.splits.model_copy(update={"fold": Fold(index=index, of=FOLDS)})
        in_fold = config.model_copy(update={"splits": splits})
        try:
            used = assign_splits(samples, target, names, in_fold)
        except TailproofError:
            return False
        if any(_empty_splits(samples, target, names, used, in_fold)):
            return False
    return True


def _empty_splits(
    samples: pd.DataFrame, target: str, names: list[str], used: pd.Series, config: Data
) -> tuple[list[str], list[str]]:
    """Return the splits without a sample and the classes without a training sample."""
    table = samples[[target]].join(used.rename("split"), how="inner")
    counts = count_classes(table, target, names)
    empty = [split for split in SPLITS if counts[split].sum() == 0]
    untrained = [name for name in names if counts.loc[name, "train"] == 0]
    if config.splits.fold:
        only_in_test = counts["test"] == counts.sum(axis=1)
        learnt = counts[~only_in_test]
        if len(learnt) > 1 and learnt["test"].sum():
            untrained = [name for name in untrained if not only_in_test[name]]
    return empty, untrained


def _missing_in_fold(samples: pd.DataFrame, target: str, used: pd.Series, fold: Fold) -> str:
    """Say how many samples the splits need besides those of the fold."""
    noun = "group" if samples["group"].duplicated().any() else "image"
    others = samples.drop(used.index[used == "test"])
    groups, needed = others["group"].nunique(), others[target].nunique() + 4
    if groups < needed:
        return (
            f"fold {fold.index} of {fold.of} leaves {quantity(groups, noun)} to the other splits, "
            f"expected at least {needed}, one of each class for train and one for each other "
            f"split: use more folds, or add {quantity(needed - groups, noun)}"
        )
    return "use more folds, or add images of these classes from other groups"


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
