"""The registry of evaluation metrics: names, descriptions and computations.

`@metric(...)` above a function registers a metric. The stage evaluate then computes it with its
bootstrap interval, the page shows it in one of its tables, and the model card lists it if it has a
metric type on the Hugging Face hub. evaluation/metrics.py has the built-in metrics; a project's
own are in its folder `extensions`.

Labels and computation are registered together, so that every computed metric is explained. A
changed label therefore makes evaluate run again, which takes minutes on a CPU; no training job
depends on this registry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tailproof.evaluation.weighted_samples import Array, WeightedSamples
from tailproof.runtime.errors import TailproofError

Compute = Callable[[WeightedSamples], Array]
PageTable = Literal["results", "groups", "rare", "ranks", ""]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric: its computation, format and description.

    Attributes:
        name: its key in metrics.json.
        label: its short name, for column headings.
        title: its full name, for the model card.
        meaning: one sentence for the page's glossary.
        higher_is_better: the direction.
        percent: whether a value in [0, 1] is shown as a percentage, with one digit.
        digits: digits after the point of a value that is not shown as a percentage.
        table: the table of the page that shows it: results (the main one), groups (accuracy by
            group of classes), rare (rare events), ranks (taxonomic ranks); empty for none.
        hub_type: its type on the Hugging Face hub; empty for a metric that the card leaves out.
        paired: whether metrics.json holds its paired differences between methods.
        long_tail: whether its long-tail-weighted variant is paired too, and shown on the page.
        before_calibration: whether it is also measured without calibration.
        compute: returns B values, one for each row of weights, NaN where undefined; None for a
            metric that selective.py, roc.py or hierarchy.py measure together with others.
    """

    name: str
    label: str
    title: str
    meaning: str
    higher_is_better: bool
    percent: bool = False
    digits: int = 3
    table: PageTable = "results"
    hub_type: str = ""
    paired: bool = True
    long_tail: bool = False
    before_calibration: bool = False
    compute: Compute | None = None

    @property
    def form(self) -> str:
        """The form in which `tailproof.number_format` writes its values."""
        return "%.1" if self.percent else f".{self.digits}"


LONG_TAIL = "long_tail_"
"""Prefix of the names of long-tail-weighted variants."""

UNCALIBRATED = "_uncalibrated"
"""Ending of the names of metrics of uncalibrated logits."""

METRICS: dict[str, Metric] = {}
"""Every registered metric by name, in the order of the page's columns."""


def register(entry: Metric) -> None:
    """Add a metric to the registry.

    Raises:
        TailproofError: another metric has its name.
    """
    if entry.name in METRICS:
        raise TailproofError(
            f"the metric '{entry.name}' is registered twice: give one of the two another name"
        )
    METRICS[entry.name] = entry


def metric(name: str, **facts: Any) -> Callable[[Compute], Compute]:
    """Register the decorated function as a metric.

    Args:
        name: its key in metrics.json.
        facts: the other attributes of `Metric`.
    """

    def decorate(compute: Compute) -> Compute:
        register(Metric(name=name, compute=compute, **facts))
        return compute

    return decorate


def compute(name: str, samples: WeightedSamples) -> Array:
    """Compute a metric that is not measured together with others.

    Raises:
        KeyError: there is no such metric.
    """
    function = METRICS[name].compute
    if function is None:
        raise KeyError(name)
    return function(samples)


def metric_of(name: str) -> Metric:
    """Return the metric that a key of metrics.json belongs to.

    The key may name its long-tail-weighted or uncalibrated variant, or its value at a taxonomic
    rank.

    Raises:
        KeyError: there is no such metric.
    """
    base = name.removesuffix(UNCALIBRATED)
    if base in METRICS:
        return METRICS[base]
    endings = [registered for registered in METRICS if base.endswith(f"_{registered}")]
    if not endings:
        raise KeyError(name)
    return METRICS[max(endings, key=len)]
