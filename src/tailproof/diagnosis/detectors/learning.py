"""Detectors of problems with training itself: the loss breaks, crawls, jumps or stays high."""

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, error_of_level, noise_of, samples_behind, trend
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import longer, slower, warmed
from tailproof.diagnosis.registry import detector
from tailproof.diagnosis.schedule_end import begins, last_change, rate_at_end
from tailproof.text import quantity

SETTLED = 8
"""Shorter runs are too young to be called stuck, slow or unfinished."""

LIFTED = 3
"""For so many epochs a step of the learning rate lifts validation by itself."""

JUMPY = 0.075
"""Noise of the logarithm of the training loss that exceeds that of a usual learning rate."""


@detector(
    "not_finite",
    explains={
        "not_finite": (
            "divergence",
            "rate_too_high",
            "rate_too_low",
            "best_against_last",
            "memorisation",
            "near_chance",
            "still_improving",
            "underfitting",
            "val_never_learns",
        )
    },
)
def not_finite(history: RunHistory, context: Context) -> list[Finding]:
    """Find losses that are not finite, or are written as 0 since they are not."""
    bad = {
        name: [int(epoch) for epoch in history.epochs[broken]]
        for name in ("train_loss", "val_loss")
        if (broken := _broken(history, name)).any()
    }
    if not bad:
        return []
    first = min(epochs[0] for epochs in bad.values())
    train = history.columns.get("train_loss", np.empty(0))
    zero = "train_loss" in bad and not np.isinf(train).any()
    lasts = "val_loss" in bad or zero or not np.isfinite(train[np.argmax(np.isinf(train)) :]).any()
    where = f"from epoch {first} on"
    if not lasts:
        where = f"in {quantity(len(bad['train_loss']), 'epoch')}, first in epoch {first}"
    return [
        Finding(
            "not_finite",
            f"{' and '.join(bad)} {'is' if len(bad) == 1 else 'are'} not finite {where}"
            + (": a train_loss of exactly 0 stands for one that is not finite." if zero else "."),
            "error",
            (first,),
            bad | _accuracies_since(history, first),
            0.95 if zero and len(bad) == 1 else 0.99,
            {"epochs_wasted": history.last - first + 1} if lasts else {},
            slower(history, context, 0.3, grad_clip_norm=1.0) | warmed(context),
            "the losses stay finite",
        )
    ]


@detector(
    "divergence",
    explains={
        "divergence": (
            "rate_too_high",
            "best_against_last",
            "overfitting",
            "overconfidence",
            "near_chance",
            "underfitting",
        )
    },
)
def divergence(history: RunHistory, context: Context) -> list[Finding]:
    """Find a training loss that rises from its lowest value and does not return."""
    loss = history.curve("train_loss")
    if len(loss) < 4:
        return []
    low = int(np.argmin(loss.values))
    after = loss.values[low + 1 :]
    spread = max(loss.values.max() - loss.values[low], 1e-12)
    rise = float(np.median(after[-3:]) - loss.values[low]) if len(after) >= 2 else 0.0
    stays = len(after) >= 2 and bool((after[-2:] > loss.values[low] + 0.6 * rise).all())
    level = abs(loss.values[low])
    before = noise_of(loss.values[: low + 1]) or loss.noise
    clear = rise > 6 * min(before, loss.noise) and rise > 0.3 * level and rise > 0.2 * spread
    if not (clear and stays):
        return []
    epoch = int(loss.epochs[low])
    return [
        Finding(
            "divergence",
            f"Training loss rises from {loss.values[low]:.4g} at epoch {epoch} to "
            f"{loss.values[-1]:.4g} and stays there.",
            "error",
            (epoch, history.last),
            {
                "lowest": loss.values[low],
                "last": loss.values[-1],
                "noise": loss.noise,
                "effect_in_noise": rise / loss.noise,
            },
            certainty(rise, 0.3 * level),
            {"epochs_wasted": history.last - epoch},
            slower(history, context, 0.3, grad_clip_norm=1.0) | warmed(context),
            "the training loss keeps falling",
        )
    ]


@detector(
    "near_chance",
    "underfitting",
    explains={"near_chance": ("best_against_last", "still_improving")},
)
def stuck(history: RunHistory, context: Context) -> list[Finding]:
    """Find a low training accuracy, with val no better: near chance, or underfitting."""
    accuracy = history.curve("train_accuracy")
    loss = history.curve("train_loss")
    if history.done < SETTLED or begins(history, context):
        return []
    if not len(accuracy):
        return _stuck_by_loss(history, loss, context)
    if len(accuracy) >= 6 and not _flat(accuracy) and not _chance(accuracy.tail, context, 0.1):
        return []
    val = history.curve("val_accuracy")
    reached, samples = accuracy.tail, context.val_samples or samples_behind(val.values)
    skill = (reached - _by_chance(context)) / (1 - _by_chance(context))
    ratio = loss.tail / loss.values[0] if len(loss) >= 4 and loss.values[0] > 0 else None
    low = skill < 0.43 if context.classes else reached < 0.5 and (ratio is None or ratio > 0.6)
    error = error_of_level(val.tail, val.noise, val.window, samples) if len(val) else 0.0
    ahead = reached - val.tail if len(val) else 0.0
    differs = ahead > max(0.05, 2 * error) and not _guesses(accuracy, context)
    if not low or differs or -ahead > max(0.1, 2 * error):
        return []
    kind = "near_chance" if skill < 0.2 and context.classes else "underfitting"
    words = f" (chance: {100 * _by_chance(context):.0f} %)" if context.classes else ""
    return [
        Finding(
            kind,
            f"Training accuracy stays at {100 * reached:.1f} %{words}"
            + (f", val at {100 * val.tail:.1f} %" if len(val) else "")
            + ": the network does not learn the training data.",
            "error" if kind == "near_chance" else "warning",
            (int(accuracy.epochs[0]), history.last),
            {
                "train_accuracy": reached,
                "val_accuracy": val.tail if len(val) else None,
                "chance": _by_chance(context) if context.classes else None,
                "skill": skill,
                "error_of_val": error if len(val) else None,
                "val_samples": samples,
                "train_loss_of_first": ratio,
            },
            certainty(0.5, max(skill, 0.05)),
            {},
            slower(history, context, 0.1 if kind == "near_chance" else 3.0) | warmed(context),
            "training accuracy rises within the first epochs; if it does not, check "
            "normalization, labels and the size of the model",
        )
    ]


@detector("still_improving")
def still_improving(history: RunHistory, context: Context) -> list[Finding]:
    """Find a run that ends while validation improves.

    While the learning rate is high, more epochs help. After a schedule that has come down, a curve
    that rises as fast as before needs a longer one.
    """
    curve = history.monitor(context.monitor)
    if len(curve) < 6 or history.done < SETTLED or context.continues_after(history.done):
        return []
    rate = rate_at_end(history, context)
    if rate == "moving":
        return []
    low = rate == "low"
    part = _last(curve, max(5, len(curve) // (4 if low else 3)))
    step = last_change(history)
    if low and int(part.epochs[0]) - LIFTED < step < history.last - 1:
        return []
    change, errors = (curve.sign * value for value in trend(part))
    end = _last(part, max(4 if low else 0, len(part) - len(part) // 2))
    stretch = np.ptp(part.epochs) / np.ptp(end.epochs) if low else 2.0
    later = curve.sign * trend(end)[0] * stretch
    more = change * min(max(later, 0.0) / change, 1.0) if change > 0 else 0.0
    if errors < 4 or more < _least(curve, rate) or curve.lost > change / 4:
        return []
    per_epoch = change / float(np.ptp(part.epochs))
    words = "The schedule ends" if low else "The run ends"
    return [
        Finding(
            "still_improving",
            f"{words} while {curve.name} still improves, by {per_epoch:.2g} per epoch over the "
            f"last {'quarter' if low else 'third'}.",
            "info",
            (int(part.epochs[0]), history.last),
            {
                "metric": curve.name,
                "gain_per_epoch": per_epoch,
                f"gain_in_last_{'quarter' if low else 'third'}": change,
                "noise": curve.noise,
                "effect_in_noise": change / curve.noise,
                "standard_errors": errors,
            },
            certainty(more, _least(curve, rate)),
            {"points_lost": more / 2} if curve.name != "val_loss" else {},
            longer(history, context),
            f"{curve.name} improves by about {more / 2:.2g} more"
            + (", with the schedule stretched over all epochs" if low else ""),
        )
    ]


@detector("rate_too_high")
def rate_too_high(history: RunHistory, context: Context) -> list[Finding]:
    """Find a training loss that jumps from epoch to epoch or has repeated spikes."""
    loss = _while_high(history, history.curve("train_loss"))
    if len(loss) < SETTLED or loss.values[0] <= 0:
        return []
    middle = np.array(
        [np.median(loss.values[max(i - 2, 0) : i + 3]) for i in range(len(loss.values))]
    )
    deviation = loss.values - middle
    noise = max(1.4826 * float(np.median(np.abs(deviation))), 0.01 * float(np.median(loss.values)))
    spikes = np.flatnonzero(
        (deviation > 6 * noise) & (deviation > 0.25 * middle + 0.05 * loss.values[0])
    )
    spikes = spikes[spikes > 1]
    # A loss near zero changes by as much as its own value; the offset keeps it out.
    relative = noise_of(np.log(loss.values + 0.1 * loss.values[0]))
    upward = float((np.diff(loss.values) > 0).mean())
    if len(spikes) < 2 and (relative < JUMPY or upward < 0.25):
        return []
    epochs = tuple(int(loss.epochs[index]) for index in spikes) or (
        int(loss.epochs[0]),
        history.last,
    )
    words = (
        f"Training loss has spikes in {len(spikes)} epochs"
        if len(spikes) >= 2
        else f"Training loss varies by {100 * relative:.0f} % from epoch to epoch"
    )
    return [
        Finding(
            "rate_too_high",
            f"{words}: the learning rate is too high.",
            "warning",
            epochs,
            {
                "noise_of_train_loss": relative,
                "spikes": len(spikes),
                "largest_spike": float(deviation[spikes].max()) if len(spikes) else None,
                "learning_rate": _highest(history),
            },
            certainty(max(relative / JUMPY, len(spikes) / 2), 1.0),
            {},
            slower(history, context, 0.3, grad_clip_norm=1.0) | warmed(context),
            "the training loss falls smoothly and further",
        )
    ]


@detector(
    "rate_too_low", explains={"rate_too_low": ("still_improving", "underfitting", "near_chance")}
)
def rate_too_low(history: RunHistory, context: Context) -> list[Finding]:
    """Find a training loss that falls slowly along a straight line."""
    loss = history.curve("train_loss")
    if len(loss) < SETTLED or loss.values[0] <= 0 or begins(history, context):
        return []
    fallen = 1 - loss.tail / loss.values[0]
    half = len(loss) // 2
    early = float(loss.smooth[0] - loss.smooth[half])
    late = float(loss.smooth[half] - loss.tail)
    change, errors = trend(loss.since(int(loss.epochs[half])))
    steady = early > 0 and late > 0.5 * early and errors < -6
    if not (steady and 0.005 < fallen < 0.35):
        return []
    return [
        Finding(
            "rate_too_low",
            f"Training loss falls too slowly: by {100 * fallen:.0f} % in {len(loss)} epochs, along "
            "a straight line.",
            "warning",
            (int(loss.epochs[0]), history.last),
            {
                "train_loss_first": loss.values[0],
                "train_loss_last": loss.values[-1],
                "fallen_in_first_half": early,
                "fallen_in_second_half": late,
                "noise": loss.noise,
                "effect_in_noise": -change / loss.noise,
                "learning_rate": _highest(history),
            },
            certainty(late / early, 0.5),
            {},
            slower(history, context, 5.0),
            "the training loss falls fast at first",
        )
    ]


def _while_high(history: RunHistory, loss: Curve) -> Curve:
    """Return the part of a curve with a learning rate near its highest, where that is known."""
    rates = history.columns.get("learning_rate")
    if rates is None or not np.isfinite(rates).any():
        return loss
    high = history.epochs[~(rates < 0.2 * np.nanmax(rates))]
    keep = np.isin(loss.epochs, high)
    return Curve(loss.name, loss.epochs[keep], loss.values[keep])


def _stuck_by_loss(history: RunHistory, loss: Curve, context: Context) -> list[Finding]:
    """Find a loss that stays near its first value, where no accuracy was measured."""
    if len(loss) < SETTLED or loss.values[0] <= 0 or loss.tail < 0.88 * loss.values[0]:
        return []
    change, errors = trend(loss.since(int(loss.epochs[len(loss) // 2])))
    if abs(change) > 0.02 * loss.values[0] and abs(errors) > 3:
        return []
    return [
        Finding(
            "underfitting",
            f"Training loss hardly changes: from {loss.values[0]:.4g} to {loss.tail:.4g}.",
            "warning",
            (int(loss.epochs[0]), history.last),
            {"train_loss_first": loss.values[0], "train_loss_last": loss.tail},
            0.7,
            {},
            warmed(context) or slower(history, context, 3.0) or None,
            "the training loss falls within the first epochs",
        )
    ]


def _broken(history: RunHistory, name: str) -> np.ndarray:
    """Return in which epochs a loss is not finite, as a mask.

    A val loss counts if it stays so to the end. A train loss counts too if it falls from a usual
    value to exactly 0 and stays there: some trainers write 0 for a loss that is not finite.
    """
    values = history.columns.get(name, np.full(len(history.epochs), np.nan))
    infinite = np.isinf(values)
    if name == "val_loss":
        ends = infinite.any() and not np.isfinite(values[np.argmax(infinite) :]).any()
        return infinite if ends else np.zeros_like(infinite)
    if infinite.any():
        return infinite
    loss = history.curve(name)
    zeros = len(loss) - int(np.flatnonzero(loss.values)[-1]) - 1 if loss.values.any() else 0
    if zeros < 2 or loss.values[-zeros - 1] < 0.05 * loss.values[0]:
        return infinite
    return history.epochs >= loss.epochs[-zeros]


def _accuracies_since(history: RunHistory, epoch: int) -> dict[str, float]:
    """Return the mean accuracies from an epoch on, where they were measured."""
    curves = (history.curve(f"{part}_accuracy").since(epoch) for part in ("train", "val"))
    return {f"{curve.name}_since": float(curve.values.mean()) for curve in curves if len(curve)}


def _last(curve: Curve, count: int) -> Curve:
    return Curve(curve.name, curve.epochs[-count:], curve.values[-count:])


def _flat(curve: Curve) -> bool:
    """Return whether the second half of a curve gains next to nothing."""
    change, errors = trend(curve.since(int(curve.epochs[len(curve) // 2])))
    return abs(change) < 0.03 or abs(errors) < 3


def _by_chance(context: Context) -> float:
    return 1 / context.classes if context.classes else 0.0


def _guesses(accuracy: Curve, context: Context) -> bool:
    """Return whether a training accuracy is chance within its error."""
    samples = context.train_samples or samples_behind(accuracy.values)
    error = error_of_level(accuracy.tail, accuracy.noise, accuracy.window, samples)
    return bool(context.classes) and accuracy.tail - _by_chance(context) < 2 * error


def _chance(accuracy: float, context: Context, least: float) -> bool:
    return bool(context.classes) and accuracy < _by_chance(context) * (1 + least)


def _least(curve: Curve, rate: str) -> float:
    """Return the gain in the last part of a run that is worth more epochs.

    After a schedule that has come down, it is that of a curve with a third of its mean slope.
    """
    whole = abs(curve.tail - float(curve.smooth[0]))
    if rate == "low":
        return max(0.08 * whole, 0.02 if curve.name != "val_loss" else 0.04 * abs(curve.tail))
    return max(0.04 * whole, 0.012 if curve.name != "val_loss" else 0.02 * curve.tail)


def _highest(history: RunHistory) -> float | None:
    rates = history.curve("learning_rate").values
    return float(rates.max()) if len(rates) else None
