"""The splits in words: what each is for, and what the data source held.

The page and the model cards use the same words.
"""

from typing import Any

from tailproof.text import listed, quantity

SPLIT_PURPOSES = {
    "train": "training",
    "val": "validation between epochs",
    "calib": "calibrators",
    "tune": "ensemble weights and rejection rules",
    "dev": "choice of the method, sample pictures",
    "test": "the results, measured once at the end",
}
NAMES_LISTED = 20


def cleaning_sentences(splits: dict[str, Any]) -> str:
    """Say how many samples the source held and which were left out.

    Args:
        splits: splits.json.
    """
    dropped = [
        (splits["unlabelled_dropped"], "sample", "without a label"),
        (splits["duplicates_dropped"], "exact duplicate", ""),
        (splits["conflicting_dropped"], "sample", "whose copies have different labels"),
        (
            splits["shared_groups_dropped"],
            "sample",
            "of a group that is also in the test or validation set",
        ),
        (
            splits.get("near_duplicates_dropped", 0),
            "sample",
            "with a near duplicate in the test or validation set",
        ),
    ]
    counted = [
        f"{quantity(count, noun)} {reason}".rstrip() for count, noun, reason in dropped if count
    ]
    held = f"The source holds {quantity(splits['samples'], 'sample')}."
    if not counted:
        return f"{held} None was left out: each has a label, and no two have the same content."
    sentences = [f"{held} Left out: {', '.join(counted)}."]
    if splits["shared_groups_dropped"]:
        sentences.append(
            "If each set numbers its groups from the start, set data.source.group_per_pool to true."
        )
    if tested := splits["official_test_dropped"]:
        sentences.append(
            f"The results leave out {quantity(tested, 'sample')} of the published test set: do not "
            "compare them with results on the whole set."
        )
    return " ".join(sentences)


def small_class_sentence(splits: dict[str, Any], classes: int) -> str:
    """Say which classes have fewer than 10 training samples.

    Args:
        splits: splits.json.
        classes: how many classes there are.
    """
    small = splits["classes_under_10_training_samples"]
    if not small:
        return "No class has fewer than 10 training samples."
    return (
        f"{len(small):,} of {quantity(classes, 'class', 'classes')} "
        f"{'has' if len(small) == 1 else 'have'} fewer than 10 training samples: "
        f"{listed(small, NAMES_LISTED)}."
    )
