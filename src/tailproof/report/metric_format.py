"""How numbers are written, and what the page says in words."""

from typing import Any, NamedTuple

from tailproof.number_format import written
from tailproof.report.results import Scores, Value
from tailproof.text import listed, quantity

SPACE = "\u00a0"  # keeps a number and what belongs to it on one line


class Metric(NamedTuple):
    """How a metric is shown and read.

    Attributes:
        label: for headers.
        percent: whether it is shown as a percentage.
        rising: whether more is better.
        meaning: one line.
        digits: after the point, where it is no percentage.
    """

    label: str
    percent: bool
    rising: bool
    meaning: str
    digits: int = 3


METRICS = {
    "top1": Metric("Top-1", True, True, "Share of samples whose most probable class is right."),
    "top3": Metric(
        "Top-3", True, True, "Share of samples whose class is among the three most probable."
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy", True, True, "Mean of the recalls of all classes: each counts the same."
    ),
    "macro_f1": Metric(
        "Macro F1", True, True, "Mean over classes of the harmonic mean of precision and recall."
    ),
    "many_accuracy": Metric("Many", True, True, "Mean recall of the classes with many samples."),
    "medium_accuracy": Metric("Medium", True, True, "Mean recall of the classes in between."),
    "few_accuracy": Metric("Few", True, True, "Mean recall of the classes with few samples."),
    "nll": Metric("NLL", False, False, "Mean negative log-likelihood of the true class, in nats."),
    "brier": Metric(
        "Brier", False, False, "Mean squared distance of the probabilities from the truth (0 to 2)."
    ),
    "ece": Metric(
        "ECE",
        True,
        False,
        "Expected calibration error: mean gap between confidence and accuracy over 15 bins of "
        "equal width. Resampling adds noise to every bin and so raises it: its value may lie "
        "below its own interval.",
    ),
    "aurc_standard_chow": Metric(
        "AURC", False, False, "Area under the curve of error over coverage, Chow's rule.", 4
    ),
    "aurc_balanced_plugin_balanced": Metric(
        "AURC, balanced",
        False,
        False,
        "The same for the mean error of head and tail, with the plug-in rule made for it.",
        4,
    ),
    "aurc_worst_plugin_worst": Metric(
        "AURC, worst",
        False,
        False,
        "The same for the larger of the errors of head and tail, with its plug-in rule.",
        4,
    ),
    "consistency": Metric(
        "Ranks agree, heads",
        True,
        True,
        "Share of samples whose classes at all ranks lie on one path of the taxonomy.",
    ),
    "consistency_summed": Metric(
        "Ranks agree, sums",
        True,
        True,
        "The same where upper ranks take the class of the largest sum of probabilities.",
    ),
    "tree_distance": Metric(
        "Tree distance of errors",
        False,
        False,
        "How many ranks above the target an error meets the truth, on average: 1 is the same "
        "parent.",
        2,
    ),
    "auroc_one_vs_rest": Metric(
        "AUROC, one vs rest",
        False,
        True,
        "How often a sample of a class scores above one of another, by that class's probability; "
        "mean over classes, of up to 20.",
    ),
    "auroc": Metric("AUROC", False, True, "How often a positive scores above a negative.", 4),
    **{
        f"tpr_at_fpr_1e-{digits}": Metric(
            f"TPR at FPR 1e-{digits}",
            True,
            True,
            f"Share of the positives found at one false positive in {10**digits:,} negatives.",
        )
        for digits in (2, 3, 4, 5)
    },
    "tpr_at_fpr_0": Metric(
        "TPR at no FP", True, True, "Share of the positives found without a false positive."
    ),
    **{
        f"fpr_at_tpr_{share}": Metric(
            f"FPR at TPR {share}",
            False,
            False,
            f"False-positive rate where {100 * float(share):.0f} % are found.",
            5,
        )
        for share in ("0.5", "0.7", "0.85")
    },
}
MONITORED = METRICS | {
    "loss": Metric("Loss", False, False, "Mean training loss of the samples of val."),
    "accuracy": METRICS["top1"]._replace(label="Accuracy"),
}


def metric_of(name: str) -> Metric:
    """Return how a metric is shown; what is weighted, or of a taxonomic rank, like the plain one.

    Raises:
        KeyError: there is no such metric.
    """
    plain = name.removesuffix("_uncalibrated")
    if plain in METRICS:
        return METRICS[plain]
    ending = [known for known in METRICS if plain.endswith(f"_{known}")]
    if not ending:
        raise KeyError(name)
    return METRICS[max(ending, key=len)]


def monitored(name: str) -> Metric:
    """Return how a column of history.csv is shown that is measured on val."""
    return MONITORED[name.removeprefix("val_")]


def spoken(name: str) -> str:
    """Return a monitored metric's name within a sentence."""
    label = monitored(name).label
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def form_of(metric: Metric, *, sign: bool = False) -> str:
    """Return in which form a metric's values are written: percentages with one digit."""
    return ("+" if sign else "") + ("%.1" if metric.percent else f".{metric.digits}")


def number(name: str, value: float | None, *, unit: bool = False, sign: bool = False) -> str:
    """Write a metric's value: percentages with one digit, others with three."""
    text = written(value, form_of(metric_of(name), sign=sign))
    return text + (f"{SPACE}%" if unit and value is not None and metric_of(name).percent else "")


def interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    if value["low"] is None or value["low"] == value["high"]:
        return ""
    low, high = (number(name, value[end], sign=sign) for end in ("low", "high"))
    return f"[{low},{SPACE}{high}]"


def with_interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write ``54.3 % [52.3, 56.1]`` on one line."""
    middle = value["mean"] if "mean" in value else value["difference"]
    text = number(name, middle, unit=True, sign=sign)
    return f"{text}{SPACE}{interval(name, value, sign=sign)}".rstrip()


def listing(names: list[str], limit: int = 20) -> str:
    """Write ``a, b and c``; beyond the limit how many more."""
    if len(names) > limit:
        return listed(names, limit)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def kind(scores: Scores, method: str) -> str:
    """Write what a method is."""
    return "ensemble" if scores.is_ensemble(method) else "expert"


def cleaning(splits: dict[str, Any], classes: int) -> str:
    """Say what was dropped from the source, and which classes are left with hardly a sample."""
    dropped, conflicting = splits["duplicates_dropped"], splits["conflicting_dropped"]
    small = splits["classes_under_10_training_samples"]
    text = [f"The source holds {quantity(splits['samples'], 'sample')}."]
    if unlabelled := splits["unlabelled_dropped"]:
        left = f"{_were(unlabelled)} left out"
        text.append(f"{quantity(unlabelled, 'sample')} without a label {left}.")
    if dropped:
        text.append(f"{quantity(dropped, 'exact duplicate')} {_were(dropped)} dropped.")
    if conflicting:
        text.append(
            f"{quantity(conflicting, 'sample')} {_were(conflicting)} dropped because copies carry "
            "different labels."
        )
    if not dropped and not conflicting:
        text.append("No two have the same content.")
    if small:
        text.append(
            f"{len(small):,} of {quantity(classes, 'class', 'classes')} "
            f"{'has' if len(small) == 1 else 'have'} fewer than 10 training samples: "
            f"{listing(small)}."
        )
    else:
        text.append("No class has fewer than 10 training samples.")
    return " ".join(text)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
