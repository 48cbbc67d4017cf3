"""Detectors of training that does not generalize to validation."""

from typing import Any

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, trend
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import regularise, soften, stop_early
from tailproof.diagnosis.registry import detector
from tailproof.text import quantity

LEAST_RATE = 0.01
"""A smaller loss of accuracy is not reported, even if it exceeds the noise."""
LEAST_LOSS = 0.04
TIMES = 4.0
GAP = 0.08


@detector("best_against_last")
def best_against_last(history: RunHistory, context: Context) -> list[Finding]:
    """Find a last epoch that is worse than the best one."""
    curve = history.monitor(context.monitor)
    if len(curve) < 3 or curve.best == len(curve) - 1:
        return []
    if not curve.deteriorates(_least(curve), TIMES):
        return []
    best = int(curve.epochs[curve.best])
    wasted = history.last - best
    lost = curve.sign * (curve.values[curve.best] - curve.values[-1])
    exports_best = context.recipe is not None and context.recipe.export == "best"
    more = f"{wasted} more epochs were trained and end"
    cost: dict[str, float] = {"epochs_wasted": wasted}
    if curve.name != "val_loss":
        cost["points_lost"] = 0.0 if exports_best else float(lost)
    return [
        Finding(
            "best_against_last",
            f"The best epoch is {best} ({curve.name} {curve.values[curve.best]:.4g}); "
            + ("1 more epoch was trained and ends" if wasted == 1 else more)
            + f" at {curve.values[-1]:.4g}.",
            "info" if exports_best else "warning",
            (best, history.last),
            {
                "metric": curve.name,
                "best_epoch": best,
                "best": curve.values[curve.best],
                "last": curve.values[-1],
                "noise": curve.noise,
                "effect_in_noise": curve.lost_in_noise,
            },
            certainty(curve.lost_in_noise, TIMES),
            cost,
            stop_early(history, context),
            f"the weights of epoch {best} are exported, and about {quantity(wasted, 'epoch')} "
            f"{'is' if wasted == 1 else 'are'} saved",
        )
    ]


@detector("overfitting", "overconfidence")
def rising_loss(history: RunHistory, context: Context) -> list[Finding]:
    """Find a validation loss that rises while the training loss falls.

    If accuracy falls too, or was not measured, it is overfitting. If accuracy does not fall, the
    network only becomes overconfident (Guo et al. 2017, section 3), which calibration fixes.
    """
    loss = history.curve("val_loss")
    onset = _onset(loss)
    if onset is None or _train_rises(history, onset):
        return []
    at_onset = loss.at(onset)
    if at_onset is None:
        return []
    rise = float(loss.tail - at_onset)
    measured = [
        curve
        for curve in (history.curve(name) for name in history.metrics if _is_decision(name))
        if len(curve)
    ]
    fallen = [curve for curve in measured if _has_fallen(curve, onset)]
    effect = rise / (loss.noise * np.sqrt(2 / loss.window))
    monitor = history.monitor(context.monitor)
    evidence = {
        "onset_epoch": onset,
        "val_loss_at_onset": at_onset,
        "val_loss_at_end": loss.tail,
        "noise": loss.noise,
        "effect_in_noise": effect,
        "best_epoch": int(monitor.epochs[monitor.best]),
        **{f"{curve.name}_since_onset": _change_since(curve, onset) for curve in measured},
    }
    shared: dict[str, Any] = {
        "severity": "warning",
        "epochs": (onset, history.last),
        "evidence": evidence,
    }
    if measured and not fallen:
        return [
            Finding(
                "overconfidence",
                f"Validation loss rises from {at_onset:.4g} at epoch {onset} to "
                f"{loss.tail:.4g}, but {measured[0].name} does not fall: the network becomes "
                "overconfident.",
                confidence=certainty(effect, TIMES),
                cost={"val_loss": rise},
                change=soften(context),
                expects="validation loss stays near its minimum at the same accuracy; "
                "temperature scaling corrects the rest",
                **shared,
            )
        ]
    lost = max((curve.lost for curve in fallen), default=0.0)
    words = f", and {fallen[0].name} falls by {100 * lost:.1f} points" if fallen else ""
    return [
        Finding(
            "overfitting",
            f"Overfitting from epoch {onset}: validation loss rises from {at_onset:.4g} to "
            f"{loss.tail:.4g}{words}.",
            confidence=certainty(effect, TIMES) * (1.0 if fallen else 0.7),
            cost={"epochs_wasted": history.last - onset, "points_lost": lost},
            change=regularise(context) | stop_early(history, context),
            expects="the minimum of the validation loss is later and lower",
            **shared,
        )
    ]


@detector("widening_gap")
def widening_gap(history: RunHistory, context: Context) -> list[Finding]:
    """Find a metric that gains on train over four times what it gains on val.

    With three epochs or fewer to compare, the size of the gap decides.
    """
    widened = []
    for train, val in history.pairs():
        gap = Curve(f"{train.name}_gap", train.epochs, train.values - val.values)
        noise = float(np.hypot(train.noise, val.noise))
        half = len(gap) // 2
        grown = gap.tail - float(gap.smooth[half if len(gap) >= 8 else 0])
        start = half if len(gap) >= 8 else 0
        gained = train.tail - float(train.smooth[start]), val.tail - float(val.smooth[start])
        effect = grown / (noise * np.sqrt(2 / gap.window))
        if len(gap) >= 4:
            if grown < GAP / 2 or effect < TIMES or gained[1] > gained[0] / 4:
                continue
        elif gap.tail / noise < TIMES or history.done <= 3:
            continue
        if gap.tail < (GAP if len(gap) >= 4 else 2 * GAP):
            continue
        widened.append((gap, noise, grown, effect, train, val))
    whole = next((t.tail - v.tail for t, v in history.pairs() if t.name == "train_accuracy"), GAP)
    if not widened or whole < 0.75 * GAP:  # a few samples of rare classes are not a gap
        return []
    gap, noise, grown, effect, train, val = max(widened, key=lambda entry: entry[0].tail)
    return [
        Finding(
            "widening_gap",
            f"{train.name} is {100 * gap.tail:.0f} points ahead of val at the end"
            + (f", {100 * grown:.0f} more than at epoch {_start(gap)}" if len(gap) > 3 else "")
            + ": the gain on train does not generalize.",
            "warning",
            (_start(gap), int(gap.epochs[-1])),
            {
                "gap": gap.tail,
                "gap_grown": grown,
                train.name: train.tail,
                val.name: val.tail,
                "noise": noise,
                "effect_in_noise": max(effect, gap.tail / noise) if len(gap) < 4 else effect,
            },
            certainty(gap.tail, GAP),
            {},
            regularise(context),
            "train and val stay close for longer",
        )
    ]


@detector("memorisation")
def memorisation(history: RunHistory, context: Context) -> list[Finding]:
    """Find a training loss near zero, or an accuracy near one, while validation gets worse."""
    loss, accuracy = history.curve("train_loss"), history.curve("train_accuracy")
    by_loss = len(loss) >= 4 and 0 <= loss.tail < 0.03 * loss.values[0] and loss.tail < 0.05
    memorised = by_loss or (len(accuracy) >= 4 and accuracy.tail >= 0.995)
    if not memorised:
        return []
    monitor, val = history.monitor(context.monitor), history.curve("val_loss")
    fallen = monitor.name != "val_loss" and monitor.deteriorates(_least(monitor), TIMES)
    if not fallen and _onset(val) is None:
        return []
    below = [epoch for epoch, value in zip(loss.epochs, loss.values, strict=True) if value < 0.05]
    return [
        Finding(
            "memorisation",
            "The network has memorized the training images"
            + (f": train loss is {loss.tail:.2g}" if len(loss) else "")
            + (f", accuracy {100 * accuracy.tail:.1f} %" if len(accuracy) else "")
            + ", while validation gets worse.",
            "warning",
            (int(below[0]) if below else int(history.epochs[0]), history.last),
            {
                "train_loss_first": loss.values[0] if len(loss) else None,
                "train_loss_last": loss.values[-1] if len(loss) else None,
                "train_accuracy_last": accuracy.values[-1] if len(accuracy) else None,
                "metric": monitor.name,
                "best_epoch": int(monitor.epochs[monitor.best]),
            },
            0.9 if fallen else 0.75,
            {},
            regularise(context) | stop_early(history, context),
            "the training loss stays well above zero, and validation keeps its best level",
        )
    ]


def _onset(loss: Curve) -> int | None:
    """Return the epoch of the lowest level if the loss clearly rises afterwards, else None."""
    if len(loss) < 2:
        return None
    low = int(np.argmin(loss.smooth))
    after = loss.since(int(loss.epochs[low]))
    level = float(loss.smooth[low])
    rise, needed = loss.tail - level, LEAST_LOSS * abs(level)
    if len(after) < 2 or rise < needed:
        return None
    if len(after) < 4:
        early = len(loss) > 2 or np.ptp(loss.epochs) < 5
        clear = rise > (8 if early else TIMES) * loss.noise
        return int(loss.epochs[low]) if clear else None
    noise = min(loss.noise, _around_line(after))
    change, errors = trend(after)
    clear = rise > TIMES * noise * np.sqrt(2 / loss.window) and errors > 3 and change > needed
    return int(loss.epochs[int(np.argmin(loss.values))]) if clear else None


def _around_line(curve: Curve) -> float:
    line = np.polynomial.Polynomial.fit(curve.epochs, curve.values, 1)
    return max(float(np.std(curve.values - line(curve.epochs), ddof=2)), curve.noise / 4)


def _train_rises(history: RunHistory, onset: int) -> bool:
    train = history.curve("train_loss").since(onset)
    return len(train) > 1 and train.tail > train.smooth[0] + 2 * train.noise


def _is_decision(name: str) -> bool:
    return name.startswith("val_") and ("accuracy" in name or "f1" in name)


def _has_fallen(curve: Curve, onset: int) -> bool:
    """Return whether decisions got worse, compared with the best level or with the onset."""
    return curve.deteriorates(_least(curve), 2.5) or (
        len(curve) >= 4 and _change_since(curve, onset) < -max(3 * curve.noise, LEAST_RATE)
    )


def _change_since(curve: Curve, onset: int) -> float:
    before = curve.at(onset)
    return curve.tail - (curve.smooth[0] if before is None else before)


def _least(curve: Curve) -> float:
    return LEAST_RATE if curve.name != "val_loss" else LEAST_LOSS * abs(curve.best_level)


def _start(gap: Curve) -> int:
    return int(gap.epochs[len(gap) // 2 if len(gap) >= 8 else 0])
