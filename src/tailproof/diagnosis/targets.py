"""What an experiment expects of its runs, and what of it was missed."""

from tailproof.core.config.expect import Expect, Target
from tailproof.core.errors import suggestion
from tailproof.core.finding import Finding
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import History


def target_missed(history: History, context: Context) -> list[Finding]:
    """Name every milestone that has passed, and every target of a run that has ended."""
    found = []
    for metric, targets in context.expect.items():
        if not len(history.curve(metric)):
            found.append(_unmeasured(history, metric))
            continue
        for target in targets:
            found += _missed(history, context, metric, target)
    return found


def target_of(expect: Expect, metric: str) -> float | None:
    """Return what a metric should reach in the end, if anything is said of it."""
    for target in expect.get(metric, []):
        limit = target.at_most if "loss" in metric else target.at_least
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


def _missed(history: History, context: Context, metric: str, target: Target) -> list[Finding]:
    if target.at_epoch is None:
        if context.goes_on(history.done):
            return []
        epoch, when = history.last, "at the end"
    else:
        epoch = target.at_epoch - 1 + history.origin
        if history.last < epoch:
            return []
        when = f"at epoch {epoch}"
    value = _value(history, context, metric, target, epoch)
    found = []
    if target.at_least is not None and value is not None and value < target.at_least:
        short = target.at_least - value
        found.append(_finding(metric, value, "at least", target.at_least, when, epoch, short))
    if target.at_most is not None and value is not None and value > target.at_most:
        short = value - target.at_most
        found.append(_finding(metric, value, "at most", target.at_most, when, epoch, short))
    gap = _gap(history, metric, epoch)
    if target.gap_at_most is not None and gap is not None and gap > target.gap_at_most:
        short = gap - target.gap_at_most
        name = f"the gap of {metric}"
        found.append(_finding(name, gap, "at most", target.gap_at_most, when, epoch, short))
    return found


def _finding(
    name: str, value: float, side: str, limit: float, when: str, epoch: int, short: float
) -> Finding:
    points = 0.0 if "loss" in name else short
    return Finding(
        "target_missed",
        f"{name[0].upper()}{name[1:]} is {value:.4g} {when}, expected {side} {limit:g}.",
        "warning",
        (epoch,),
        {"metric": name, "value": value, side.replace(" ", "_"): limit, "short_by": short},
        0.99,
        {"points_lost": points} if points else {},
    )


def _value(
    history: History, context: Context, metric: str, target: Target, epoch: int
) -> float | None:
    """Return the value at an epoch; at the end that of the weights that are kept."""
    curve = history.curve(metric)
    if target.at_epoch is None:
        monitor = history.monitor(context.monitor)
        kept = context.recipe is None or context.recipe.weights == "best"
        epoch = int(monitor.epochs[monitor.best]) if kept and len(monitor) else epoch
    before = curve.epochs <= epoch
    return float(curve.values[before][-1]) if before.any() else None


def _gap(history: History, metric: str, epoch: int) -> float | None:
    for train, val in history.pairs():
        if val.name == metric and (val.epochs <= epoch).any():
            last = (val.epochs <= epoch).nonzero()[0][-1]
            return float(train.values[last] - val.values[last])
    return None
