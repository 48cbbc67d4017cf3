"""The headline of the page: the best method, its gain and its calibration, in sentences."""

from markupsafe import Markup

from tailproof.report.keyed_number import (
    KeyedNumber,
    KeyedNumbers,
    calibration_effect,
    compared,
    excludes_zero,
    keyed_interval,
    measured,
)
from tailproof.report.metric_format import SPACE, kind, number
from tailproof.report.results import CHOSEN_BY, Results, Scores
from tailproof.text import quantity


def headline(results: Results) -> Markup:
    """Summarise the results; the numbers carry their keys into metrics.json."""
    scores = results.scores
    text = [in_short(scores)]
    few = measured(scores, "test", scores.best, "few_accuracy")
    if few["main"].value is not None:
        text.append(
            Markup("On classes with fewer than {} training samples, {} reaches {}.").format(
                results.experiment.evaluation.few_shot, scores.best, _keyed_estimate(few)
            )
        )
    return Markup(" ").join([*text, _calibration(scores)])


def in_short(scores: Scores) -> Markup:
    """Name the best method, its balanced accuracy and its gain, in a sentence or two."""
    best = scores.best
    reached = _keyed_estimate(measured(scores, "test", best, CHOSEN_BY))
    if len(scores.methods) == 1:
        return Markup("The only expert, {}, reaches a balanced accuracy of {} on test.").format(
            best, reached
        )
    rivals = quantity(len(scores.experts), "expert")
    if scores.ensembles:
        rivals += f" and {quantity(len(scores.ensembles), 'ensemble')}"
    return Markup(
        "The best of {} on dev ({}) is the {} {}. On test ({}), which was not used to choose it, "
        "its balanced accuracy is {}.{}"
    ).format(
        rivals, _size(scores, "dev"), kind(scores, best), best, _size(scores, "test"), reached,
        _gain(scores),
    )  # fmt: skip


def _size(scores: Scores, split: str) -> str:
    return quantity(scores.metrics["splits"][split]["rows"], "sample")


def _keyed_estimate(shown: KeyedNumbers) -> Markup:
    """Write ``54.3 % [52.3, 56.1]`` on one line."""
    text = _percent(shown["main"])
    return text + SPACE + interval if (interval := keyed_interval(shown)) else text


def _percent(shown: KeyedNumber) -> Markup:
    unit = "" if shown.value is None else f"{SPACE}%"
    return Markup("{}{}").format(shown, unit)


def _gain(scores: Scores) -> str:
    best, first = scores.best, scores.first
    if best == first:
        return " It is also the first expert."
    gain = compared(scores, "test", best, first, CHOSEN_BY)
    value = gain["main"].value
    if value is None:
        return ""
    if value == 0:
        return f" That is the same as that of the first expert, {first}."
    points = KeyedNumber(number(CHOSEN_BY, abs(value)), key=gain["main"].key)
    text = Markup(
        " That is {}{}points {} than that of the first expert, {}, on the same samples"
    ).format(points, SPACE, "lower" if value < 0 else "higher", first)
    interval = keyed_interval(gain)
    if not interval:
        return text + "."
    text += Markup(" (difference{}{})").format(SPACE, interval)
    if excludes_zero(scores.difference("test", best, first, CHOSEN_BY)):
        return text + "."
    return text + ", which is not significant: the interval includes zero."


VERDICTS = {
    "lower": Markup("Calibration lowers the expected calibration error of {} from {} to {}"),
    "higher": Markup("Calibration raises the expected calibration error of {} from {} to {}"),
    "same": Markup(
        "Calibration changes the expected calibration error of {} by no more than noise "
        "({} before, {} after)"
    ),
}


def _calibration(scores: Scores) -> Markup:
    """Say what calibration did; only a difference beyond its interval counts as an effect."""
    before, after = (
        _percent(measured(scores, "test", scores.best, name)["main"])
        for name in ("ece_uncalibrated", "ece")
    )
    text = VERDICTS[scores.calibration_verdict("test", scores.best)].format(
        scores.best, before, after
    )
    effect = calibration_effect(scores, scores.best, "ece_debiased")
    if interval := keyed_interval(effect):
        text += Markup("; without the bias of noise, the difference is {}{}points{}{}").format(
            effect["main"], SPACE, SPACE, interval
        )
    return text + "."
