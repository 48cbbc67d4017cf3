"""How numbers are written, and what the page says in words."""

from typing import NamedTuple

from tailproof.report.inputs import CHOSEN_BY, Results, Scores, Value

LONG_TAIL = "long_tail_"
MISSING = "–"
MINUS = "−"


class Metric(NamedTuple):
    """How a metric is shown and read.

    Attributes:
        label: for headers.
        percent: whether it is shown as a percentage.
        rising: whether more is better.
        meaning: one line.
    """

    label: str
    percent: bool
    rising: bool
    meaning: str


METRICS = {
    "top1": Metric("Top-1", True, True, "Share of samples whose most probable class is right."),
    "balanced_accuracy": Metric(
        "Balanced accuracy", True, True, "Mean of the recalls of all classes: each counts the same."
    ),
    "macro_f1": Metric(
        "Macro F1", True, True, "Mean over classes of the harmonic mean of precision and recall."
    ),
    "many_accuracy": Metric("Many", True, True, "Mean recall of the classes with many samples."),
    "medium_accuracy": Metric("Medium", True, True, "Mean recall of the classes in between."),
    "few_accuracy": Metric("Few", True, True, "Mean recall of the classes with few samples."),
    "nll": Metric(
        "NLL", False, False, "Mean negative log-likelihood of the true class, in nats."
    ),
    "brier": Metric(
        "Brier", False, False, "Mean squared distance of the probabilities from the truth (0 to 2)."
    ),
    "ece": Metric(
        "ECE",
        True,
        False,
        "Expected calibration error: mean gap between confidence and accuracy over 15 bins of "
        "equal width.",
    ),
    "aurc_standard_chow": Metric(
        "AURC", False, False, "Area under the curve of error over coverage, Chow's rule."
    ),
    "aurc_balanced_plugin_balanced": Metric(
        "AURC, balanced",
        False,
        False,
        "The same for the mean error of head and tail, with the plug-in rule made for it.",
    ),
    "aurc_worst_plugin_worst": Metric(
        "AURC, worst",
        False,
        False,
        "The same for the larger of the errors of head and tail, with its plug-in rule.",
    ),
}


def metric_of(name: str) -> Metric:
    """Return how a metric is shown; the long-tail-weighted one like the plain one."""
    return METRICS[name.removeprefix(LONG_TAIL).removesuffix("_uncalibrated")]


def number(name: str, value: float | None, *, unit: bool = False, sign: bool = False) -> str:
    """Write a metric's value: percentages with one digit, others with three."""
    if value is None:
        return MISSING
    percent = metric_of(name).percent
    text = f"{100 * value:.1f}" if percent else f"{value:.3f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    elif sign and value > 0:
        text = f"+{text}"
    return text.replace("-", MINUS) + (" %" if unit and percent else "")


def interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined."""
    if value["low"] is None:
        return ""
    low, high = (number(name, value[end], sign=sign) for end in ("low", "high"))
    return f"[{low}, {high}]"


def with_interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write ``54.3 % [52.3, 56.1]``."""
    middle = value["mean"] if "mean" in value else value["difference"]
    text = number(name, middle, unit=True, sign=sign)
    return f"{text} {interval(name, value, sign=sign)}".rstrip()


def quantity(count: int, noun: str, plural: str | None = None) -> str:
    """Write ``1 seed``, ``1,797 images``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listing(names: list[str], limit: int = 20) -> str:
    """Write ``a, b and c``; beyond the limit how many more."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def kind(scores: Scores, method: str) -> str:
    """Write what a method is."""
    return "ensemble" if scores.is_ensemble(method) else "expert"


def answer(results: Results) -> str:
    """Say in plain words what came out: who is best, by how much, how well calibrated."""
    scores = results.scores
    best = scores.best
    reached = with_interval(CHOSEN_BY, scores.value("test", best, CHOSEN_BY))
    seeds = quantity(len(results.experiment.seeds), "seed")
    if len(scores.methods) == 1:
        text = [
            f"The one expert, {best}, reaches a balanced accuracy of {reached} on test "
            f"({seeds}, 95 % interval in brackets)."
        ]
    else:
        text = [
            f"Of {quantity(len(scores.experts), 'expert')} and "
            f"{quantity(len(scores.ensembles), 'ensemble')}, the {kind(scores, best)} {best} has "
            f"the highest balanced accuracy on dev; on test, which was not used for choosing, it "
            f"reaches {reached} ({seeds}, 95 % interval in brackets).",
            _gain(scores),
        ]
    few = scores.value("test", best, "few_accuracy")
    if few["mean"] is not None:
        text.append(
            f"In classes with fewer than {results.experiment.evaluation.few} training samples it "
            f"reaches {with_interval('few_accuracy', few)}."
        )
    return " ".join([*text, _calibration(scores)])


def _gain(scores: Scores) -> str:
    if scores.best == scores.first:
        return "It is also the first expert: no other does better on dev."
    gain = scores.difference("test", scores.best, scores.first, CHOSEN_BY)
    points = f"{number(CHOSEN_BY, gain['difference'], sign=True)} points"
    text = f"Compared with the first expert, {scores.first}, on the same samples that is {points}"
    if gain["low"] is None:
        return f"{text}."
    text = f"{text} {interval(CHOSEN_BY, gain, sign=True)}"
    if gain["low"] > 0 or gain["high"] < 0:
        return f"{text}."
    return f"{text}, an interval that includes zero: the difference is not established."


def _calibration(scores: Scores) -> str:
    best = scores.best_expert if scores.is_ensemble(scores.best) else scores.best
    before, after = (scores.value("test", best, name) for name in ("ece_uncalibrated", "ece"))
    verb = "lowers" if after["mean"] < before["mean"] else "does not lower"
    change = (
        f"from {number('ece', before['mean'], unit=True)} to "
        f"{number('ece', after['mean'], unit=True)}"
    )
    text = f"Temperature scaling {verb} the calibration error (ECE) of {best}: {change}"
    if scores.is_ensemble(scores.best):
        own = number("ece", scores.value("test", scores.best, "ece")["mean"], unit=True)
        return f"{text}; that of {scores.best} is {own}."
    return f"{text}."
