"""Folds for cross-fitting: every sample is in the test set of exactly one of them."""

import numpy as np
import pandas as pd


def deal_folds(
    samples: pd.DataFrame, target: str, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the fold of each sample, int [N]: whole groups, and every class in many folds.

    Groups are dealt to the folds in turn, class by class, the large groups of a class first. A
    class of n groups is thus in n folds or in all, and the folds differ by one group at most. A
    group of several classes counts for the one that has the fewest groups.

    Args:
        samples: the samples, with their group and class.
        target: the column with the class.
        folds: number of folds.
        rng: the order of the groups of a class.
    """
    shuffled = samples[["group", target]].iloc[rng.permutation(len(samples))]
    sizes = shuffled["group"].value_counts()
    groups_of_class = shuffled.drop_duplicates()[target].value_counts()
    rarest_first = shuffled.iloc[
        np.argsort(shuffled[target].map(groups_of_class).to_numpy(), kind="stable")
    ]
    groups = rarest_first.drop_duplicates("group")
    keys = pd.DataFrame({"class": groups[target], "size": -groups["group"].map(sizes)})
    ordered = groups.loc[keys.sort_values(["class", "size"], kind="stable").index, "group"]
    fold_of_group = pd.Series(np.arange(len(ordered)) % folds, index=ordered.to_numpy())
    return samples["group"].map(fold_of_group).to_numpy()
