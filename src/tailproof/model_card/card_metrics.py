"""The metrics of a model card: those in the registry that have a type on the Hugging Face hub."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from tailproof.evaluation import metrics  # noqa: F401 - it registers the built-in metrics
from tailproof.evaluation.registry import METRICS, Metric, metric_of
from tailproof.model_card.expert_facts import Value
from tailproof.number_format import format_estimate, format_interval

HUB_FORM = ".4"  # format of intervals in the front matter, whose values are not percentages

UNDEFINED = {"value": None, "low": None, "high": None}


class MeasuredFacts(Protocol):
    """What was measured of an expert or an ensemble; see `ExpertFacts`."""

    @property
    def target(self) -> str:
        """The taxonomic rank that is answered."""

    @property
    def calibrators(self) -> Mapping[str, Any]:
        """The calibrators by rank."""

    def measured(self, metric: str) -> Value | None:
        """Return a metric on test with its interval; None if it is undefined."""

    def over_seeds(self, metric: str) -> Value:
        """Return a metric's mean over seeds on test."""


def rows(facts: MeasuredFacts) -> list[dict[str, str]]:
    """Return title, value with interval, and mean over seeds of each defined metric."""
    return [
        {
            "title": metric.title,
            "value": format_estimate(value, metric.form),
            "mean": format_estimate(facts.over_seeds(metric.name), metric.form),
        }
        for metric in _card_metrics(facts)
        if (value := facts.measured(metric.name)) is not None
    ]


def hub_results(facts: MeasuredFacts) -> list[dict[str, Any]]:
    """Return the metrics as `huggingface_hub.EvalResult` takes them: type, name and value."""
    return [
        {
            "metric_type": metric.hub_type,
            "metric_name": ", 95 % interval ".join(
                filter(None, (metric.title, format_interval(value["low"], value["high"], HUB_FORM)))
            ),
            "metric_value": value["value"],
        }
        for metric in _card_metrics(facts)
        if (value := facts.measured(metric.name)) is not None
    ]


def estimate(facts: MeasuredFacts, name: str) -> str:
    """Write a metric on test with its interval."""
    return format_estimate(facts.measured(name) or UNDEFINED, metric_of(name).form)


def _card_metrics(facts: MeasuredFacts) -> list[Metric]:
    """Return the metrics of the card, then the accuracy of each coarser rank's head."""
    top1 = METRICS["top1"]
    coarser = [
        replace(top1, name=f"{rank}_top1", title=f"{top1.title} of {rank}")
        for rank in facts.calibrators
        if rank != facts.target
    ]
    return [metric for metric in METRICS.values() if metric.hub_type] + coarser
