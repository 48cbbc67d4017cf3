"""Detectors of problems with training itself: the loss breaks, crawls, jumps or stays high."""

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, noise_of, trend
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import longer, slower, warmed
from tailproof.diagnosis.registry import detector

SETTLED = 8
"""Shorter runs are too young to be called stuck, slow or unfinished."""

JUMPY = 0.075
"""Noise of the logarithm of the training loss that exceeds that of a usual learning rate."""


@detector(
    "not_finite",
    explains={"not_finite": ("divergence", "rate_too_high", "best_against_last", "near_chance")},
)
def not_finite(history: RunHistory, context: Context) -> list[Finding]:
    """Find losses that are not finite."""
    bad: dict[str, list[int]] = {}
    for name in ("train_loss", "val_loss"):
        values = history.columns.get(name, np.empty(0))
        infinite = np.isinf(values)
        ends = bool(infinite.any()) and not np.isfinite(values[np.argmax(infinite) :]).any()
        if infinite.any() and (name == "train_loss" or ends):
            bad[name] = [int(epoch) for epoch in history.epochs[infinite]]
    if not bad:
        return []
    first = min(epochs[0] for epochs in bad.values())
    return [
        Finding(
            "not_finite",
            f"{' and '.join(bad)} is not finite from epoch {first} on.",
            "error",
            (first,),
            dict(bad),
            0.99,
            {"epochs_wasted": history.last - first + 1},
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


@detector("near_chance", "underfitting", explains={"near_chance": ("still_improving",)})
def stuck(history: RunHistory, context: Context) -> list[Finding]:
    """Find a low training accuracy, with val no better: near chance, or underfitting."""
    accuracy = history.curve("train_accuracy")
    loss = history.curve("train_loss")
    if history.done < SETTLED or context.continues_after(2 * history.done):
        return []
    if not len(accuracy):
        return _stuck_by_loss(history, loss, context)
    if len(accuracy) >= 6 and not _flat(accuracy) and not _chance(accuracy.tail, context, 0.1):
        return []
    val = history.curve("val_accuracy")
    reached = accuracy.tail
    if len(val) and reached - val.tail > 0.05:
        return []
    skill = (reached - _by_chance(context)) / (1 - _by_chance(context))
    ratio = loss.tail / loss.values[0] if len(loss) >= 4 and loss.values[0] > 0 else None
    low = skill < 0.43 if context.classes else reached < 0.5 and (ratio is None or ratio > 0.6)
    if (len(val) and val.tail > reached + 0.1) or not low:
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
    """Find a run that ends while validation improves and the learning rate is still high."""
    curve = history.monitor(context.monitor)
    if len(curve) < 6 or history.done < SETTLED or context.continues_after(history.done):
        return []
    if _annealed(history, context):
        return []
    third = Curve(curve.name, *(values[-max(5, len(curve) // 3) :] for values in _xy(curve)))
    change, errors = (curve.sign * value for value in trend(third))
    half = len(third) // 2
    later = curve.sign * trend(Curve(curve.name, *(values[half:] for values in _xy(third))))[0]
    whole = abs(curve.tail - float(curve.smooth[0]))
    rate = curve.name != "val_loss"
    more = change * min(max(later, 0.0) / change * 2, 1.0) if change > 0 else 0.0
    least = max(0.04 * whole, 0.012 if rate else 0.02 * curve.tail)
    if errors < 4 or more < least or curve.lost > change / 4:
        return []
    return [
        Finding(
            "still_improving",
            f"The run ends while {curve.name} still improves, by {change:.3g} over the last third.",
            "info",
            (int(third.epochs[0]), history.last),
            {
                "metric": curve.name,
                "gain_in_last_third": change,
                "noise": curve.noise,
                "effect_in_noise": change / curve.noise,
            },
            certainty(more, least),
            {"points_lost": more / 2} if rate else {},
            longer(history, context),
            f"{curve.name} improves by about {more / 2:.2g} more",
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
        f"Training loss has spikes at {len(spikes)} epochs"
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
    if len(loss) < SETTLED or loss.values[0] <= 0 or context.continues_after(2 * history.done):
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
            f"Training loss stays near its start: {loss.tail:.4g} after {loss.values[0]:.4g}.",
            "warning",
            (int(loss.epochs[0]), history.last),
            {"train_loss_first": loss.values[0], "train_loss_last": loss.tail},
            0.7,
            {},
            warmed(context) or slower(history, context, 3.0) or None,
            "the training loss falls within the first epochs",
        )
    ]


def _xy(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    return curve.epochs, curve.values


def _flat(curve: Curve) -> bool:
    """Return whether the second half of a curve gains next to nothing."""
    change, errors = trend(curve.since(int(curve.epochs[len(curve) // 2])))
    return abs(change) < 0.03 or abs(errors) < 3


def _by_chance(context: Context) -> float:
    return 1 / context.classes if context.classes else 0.0


def _chance(accuracy: float, context: Context, least: float) -> bool:
    return bool(context.classes) and accuracy < _by_chance(context) * (1 + least)


def _annealed(history: RunHistory, context: Context) -> bool:
    """Return whether the learning rate was lowered, so more epochs would be another schedule."""
    rates = history.curve("learning_rate").values
    if len(rates) >= 2:
        return bool(rates[-1] < 0.2 * rates.max())
    return context.recipe is not None and context.recipe.schedule.name in ("cosine", "multistep")


def _highest(history: RunHistory) -> float | None:
    rates = history.curve("learning_rate").values
    return float(rates.max()) if len(rates) else None
