"""The targets of an experiment, and the detector of missed ones."""

from typing import NamedTuple

from tailproof.config.targets import Target, Targets
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.registry import detector
from tailproof.monitors import direction
from tailproof.runtime.errors import suggestion


class Outcome(NamedTuple):
    """A run compared with one limit of a target.

    Attributes:
        name: the metric, or ``the gap of …``.
        side: ``at least`` or ``at most``.
        limit: the expected limit.
        when: ``at epoch 15`` or ``at the end``.
        epoch: the epoch that is compared, numbered as in the history.
        value: the actual value; None while it is unknown.
    """

    name: str
    side: str
    limit: float
    when: str
    epoch: int
    value: float | None

    @property
    def wanted(self) -> str:
        """The expectation in words."""
        return f"{self.name} {self.side} {self.limit:g} {self.when}"

    @property
    def short_by(self) -> float:
        """By how much the value misses the limit; 0 if it does not or is unknown."""
        if self.value is None:
            return 0.0
        short = self.limit - self.value if self.side == "at least" else self.value - self.limit
        return max(short, 0.0)


def outcomes(history: RunHistory | None, context: Context) -> list[Outcome]:
    """Compare a run with each target and milestone; future ones have no value yet.

    Args:
        history: of the run; None while it has no epoch.
        context: what else is known about it.
    """
    return [
        outcome
        for metric, targets in context.targets.items()
        for target in targets
        for outcome in _outcomes(history, context, metric, target)
    ]


@detector("target_missed")
def target_missed(history: RunHistory, context: Context) -> list[Finding]:
    """Find missed milestones, and missed targets of a run that has ended."""
    unmeasured = [
        _unmeasured(history, metric) for metric in context.targets if not len(history.curve(metric))
    ]
    return unmeasured + [
        _finding(outcome) for outcome in outcomes(history, context) if outcome.short_by
    ]


def target_of(targets: Targets, metric: str) -> float | None:
    """Return the value that a metric should reach at the end; None without a target."""
    for target in targets.get(metric, []):
        limit = target.at_least if direction(metric) > 0 else target.at_most
        if target.at_epoch is None and limit is not None:
            return limit
    return None


def _unmeasured(history: RunHistory, metric: str) -> Finding:
    near = suggestion(metric, history.metrics)
    return Finding(
        "target_missed",
        f"{metric} has a target, but was not measured{near}.",
        "info",
        (),
        {"metric": metric, "measured": history.metrics},
        0.99,
    )


def _outcomes(
    history: RunHistory | None, context: Context, metric: str, target: Target
) -> list[Outcome]:
    if target.at_epoch is None:
        epoch, when = history.last if history else 0, "at the end"
        ended = history is not None and not context.continues_after(history.done)
    else:
        epoch = target.at_epoch - (1 - history.origin if history else 0)
        when, ended = f"at epoch {epoch}", history is not None and history.last >= epoch
    reached = history if ended else None
    value = None if reached is None else _value(reached, context, metric, target, epoch)
    gap = None if reached is None else _gap(reached, metric, epoch)
    limits = (
        (metric, "at least", target.at_least, value),
        (metric, "at most", target.at_most, value),
        (f"the gap of {metric}", "at most", target.gap_at_most, gap),
    )
    return [
        Outcome(name, side, limit, when, epoch, actual)
        for name, side, limit, actual in limits
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
    history: RunHistory, context: Context, metric: str, target: Target, epoch: int
) -> float | None:
    """Return the value at an epoch, or at the end the value of the exported weights."""
    curve = history.curve(metric)
    if target.at_epoch is None:
        monitor = history.monitor(context.monitor)
        exports_best = context.recipe is None or context.recipe.export == "best"
        epoch = int(monitor.epochs[monitor.best]) if exports_best and len(monitor) else epoch
    before = curve.epochs <= epoch
    return float(curve.values[before][-1]) if before.any() else None


def _gap(history: RunHistory, metric: str, epoch: int) -> float | None:
    for train, val in history.pairs():
        if val.name == metric and (val.epochs <= epoch).any():
            last = (val.epochs <= epoch).nonzero()[0][-1]
            return float(train.values[last] - val.values[last])
    return None
