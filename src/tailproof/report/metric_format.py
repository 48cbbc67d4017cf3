"""The formats of metric values on the page, and shared labels."""

from dataclasses import replace

from tailproof.evaluation import metrics  # noqa: F401 - it registers the built-in metrics
from tailproof.evaluation.registry import METRICS, Metric, metric_of
from tailproof.number_format import format_estimate, format_interval, format_number
from tailproof.report.results import Scores, Value
from tailproof.text import listed

SPACE = "\u00a0"  # keeps a number and what belongs to it on one line
RULE_LABELS = {
    "chow": "Chow",
    "plugin_balanced": "plug-in, balanced",
    "plugin_worst": "plug-in, worst",
}
ON_VAL = {
    "loss": Metric(
        name="loss",
        label="Loss",
        title="loss",
        meaning="Mean training loss of the samples of val.",
        higher_is_better=False,
    ),
    "accuracy": replace(METRICS["top1"], label="Accuracy"),
}
"""Metrics that training measures on val and evaluate does not."""


def monitored(name: str) -> Metric:
    """Return the metric of a column of history.csv that is measured on val."""
    name = name.removeprefix("val_")
    return ON_VAL.get(name) or metric_of(name)


def spoken(name: str) -> str:
    """Return a monitored metric's name within a sentence."""
    label = monitored(name).label
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def form_of(metric: Metric, *, sign: bool = False) -> str:
    """Return the number format of a metric's values; `sign` adds a plus to positive ones."""
    return ("+" if sign else "") + metric.form


def number(name: str, value: float | None, *, unit: bool = False, sign: bool = False) -> str:
    """Write a metric's value; `unit` adds the sign of a percentage."""
    metric = metric_of(name)
    text = format_number(value, form_of(metric, sign=sign))
    return text + (f"{SPACE}%" if unit and value is not None and metric.percent else "")


def interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    text = format_interval(value["low"], value["high"], form_of(metric_of(name), sign=sign))
    return text.replace(" ", SPACE)


def with_interval(name: str, value: Value, *, sign: bool = False) -> str:
    """Write ``54.3 % [52.3, 56.1]`` on one line."""
    return format_estimate(value, form_of(metric_of(name), sign=sign)).replace(" ", SPACE)


def listing(names: list[str], limit: int = 20) -> str:
    """Write ``a, b and c``; beyond the limit the number of further names."""
    if len(names) > limit:
        return listed(names, limit)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def kind(scores: Scores, method: str) -> str:
    """Return whether a method is an ensemble or an expert."""
    return "ensemble" if scores.is_ensemble(method) else "expert"
