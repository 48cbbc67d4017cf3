"""The many-shot, medium-shot and few-shot classes, by their number of training samples."""

from typing import Literal, get_args

import numpy as np

from tailproof.config.evaluation import Evaluation

Group = Literal["many", "medium", "few"]

GROUPS: tuple[str, ...] = get_args(Group)


def class_groups(train_counts: np.ndarray, config: Evaluation) -> dict[str, np.ndarray]:
    """Return a boolean mask of the classes in each group.

    Args:
        train_counts: samples of each class in the split train, int [C].
        config: the thresholds `many_shot` and `few_shot`.

    Returns:
        {group: mask [C]} for all of `GROUPS`; each class is in one group.
    """
    many, few = train_counts > config.many_shot, train_counts < config.few_shot
    return {"many": many, "medium": ~many & ~few, "few": few}


def describe_groups(config: Evaluation) -> dict[str, str]:
    """Return the rule of each group in words."""
    return {
        "many": f"more than {config.many_shot} training samples",
        "medium": f"{config.few_shot} to {config.many_shot} training samples",
        "few": f"fewer than {config.few_shot} training samples",
    }
