"""What an experiment expects of its runs, and what of it was missed."""

from typing import NamedTuple

from tailproof.config.targets import Target, Targets
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import History
from tailproof.monitors import direction
from tailproof.runtime.errors import suggestion


class Outcome(NamedTuple):
    """How a run stands to one thing that is expected of it.

    Attributes:
        name: of the metric, or ``the gap of …``.
        side: ``at least`` or ``at most``.
        limit: what is expected.
        when: ``at epoch 15`` or ``at the end``.
        epoch: that is looked at, as the history counts.
        value: what the run has; None while it is not known.
    """

    name: str
    side: str
    limit: float
    when: str
    epoch: int
    value: float | None

    @property
    def wanted(self) -> str:
        """What is expected, in words."""
        return f"{self.name} {self.side} {self.limit:g} {self.when}"

    @property
    def short_by(self) -> float:
        """How far the value is on the wrong side of the limit; 0 where it is not or is unknown."""
        if self.value is None:
            return 0.0
        short = self.limit - self.value if self.side == "at least" else self.value - self.limit
        return max(short, 0.0)


def outcomes(history: History | None, context: Context) -> list[Outcome]:
    """Return how a run stands to each target and milestone; those to come have no value yet.

    Args:
        history: of the run; None while it has no epoch.
        context: what else is known of it.
    """
    return [
        outcome
        for metric, wanted in context.targets.items()
        for target in wanted
        for outcome in _outcomes(history, context, metric, target)
    ]


def target_missed(history: History, context: Context) -> list[Finding]:
    """Name every milestone that has passed, and every target of a run that has ended."""
    found = [
        _unmeasured(history, metric) for metric in context.targets if not len(history.curve(metric))
    ]
    return found + [_finding(each) for each in outcomes(history, context) if each.short_by]


def target_of(targets: Targets, metric: str) -> float | None:
    """Return what a metric should reach in the end, if anything is said of it."""
    for target in targets.get(metric, []):
        limit = target.at_least if direction(metric) > 0 else target.at_most
        if target.at_epoch is None and limit is not None:
            return limit
    return None


def _unmeasured(history: History, metric: str) -> Finding:
    near = suggestion(metric, history.metrics)
    return Finding(
        "target_missed",
        f"{metric} is expected and was not measured{near}.",
        "info",
        (),
        {"metric": metric, "measured": history.metrics},
        0.99,
    )


def _outcomes(
    history: History | None, context: Context, metric: str, target: Target
) -> list[Outcome]:
    if target.at_epoch is None:
        epoch, when = history.last if history else 0, "at the end"
        come = history is not None and not context.goes_on(history.done)
    else:
        epoch = target.at_epoch - (1 - history.origin if history else 0)
        when, come = f"at epoch {epoch}", history is not None and history.last >= epoch
    value = _value(history, context, metric, target, epoch) if come else None
    gap = _gap(history, metric, epoch) if come else None
    limits = (
        (metric, "at least", target.at_least, value),
        (metric, "at most", target.at_most, value),
        (f"the gap of {metric}", "at most", target.gap_at_most, gap),
    )
    return [
        Outcome(name, side, limit, when, epoch, known)
        for name, side, limit, known in limits
        if limit is not None
    ]


def _finding(missed: Outcome) -> Finding:
    name, side, short = missed.name, missed.side, missed.short_by
    title = f"{name[0].upper()}{name[1:]} is {missed.value:.4g} {missed.when}"
    return Finding(
        "target_missed",
        f"{title}, expected {side} {missed.limit:g}.",
        "warning",
        (missed.epoch,),
        {
            "metric": name,
            "value": missed.value,
            side.replace(" ", "_"): missed.limit,
            "short_by": short,
        },
        0.99,
        {} if "loss" in name else {"points_lost": short},
    )


def _value(
    history: History, context: Context, metric: str, target: Target, epoch: int
) -> float | None:
    """Return the value at an epoch; at the end that of the weights that are kept."""
    curve = history.curve(metric)
    if target.at_epoch is None:
        monitor = history.monitor(context.monitor)
        kept = context.recipe is None or context.recipe.export == "best"
        epoch = int(monitor.epochs[monitor.best]) if kept and len(monitor) else epoch
    before = curve.epochs <= epoch
    return float(curve.values[before][-1]) if before.any() else None


def _gap(history: History, metric: str, epoch: int) -> float | None:
    for train, val in history.pairs():
        if val.name == metric and (val.epochs <= epoch).any():
            last = (val.epochs <= epoch).nonzero()[0][-1]
            return float(train.values[last] - val.values[last])
    return None
