"""Detectors of a validation that does not measure what training learns."""

from typing import Any, NamedTuple

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, error_of_level, samples_behind, trend
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import prepare_alike, regularise
from tailproof.diagnosis.registry import detector
from tailproof.diagnosis.schedule_end import begins, rate_at_end

METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "auroc")
"""What shows decisions, in order of preference: rare classes count in the first one."""

LEARNT = 0.25
"""Training learns if its accuracy rises so far above chance, or its loss falls by half."""

SHARE = 0.25
"""Val never learns if it certainly gains less than this share of what train gains."""

WIDE = 0.3
"""A gap between train and val that is large for any task."""

LOG_2 = float(np.log(2))
"""The loss of guessing is at least that of two classes."""

ONE_SIDED = 1.645  # standard errors of 95 %


class Standing(NamedTuple):
    """How far train and val are above chance, once train has learned half of what it learns.

    Attributes:
        metric: the name of val's curve.
        train: train's last level; None where train has no such metric.
        val: val's mean since then.
        chance: the level of guessing; an estimate where the number of classes is unknown.
        error: standard error of `val`.
        samples: number of samples behind each value of val, where known.
        start: the first epoch of that part.
        validations: number of validations in it.
    """

    metric: str
    train: float | None
    val: float
    chance: float
    error: float
    samples: int | None
    start: int
    validations: int

    @property
    def gained_by_train(self) -> float:
        """What train gains over chance; where it was not measured, the most that is likely."""
        return (0.9 if self.train is None else self.train) - self.chance

    @property
    def share(self) -> float:
        """The largest share of train's gain that val may have, at 95 % certainty."""
        return (self.val + ONE_SIDED * self.error - self.chance) / self.gained_by_train

    @property
    def above_chance(self) -> bool:
        """Whether val is clearly better than guessing."""
        gained = self.val - self.chance
        matters = gained > 0.1 * self.gained_by_train or self.val > 3 * self.chance
        return gained > 3 * self.error and matters

    @property
    def below_chance(self) -> bool:
        """Whether val is clearly worse than guessing."""
        return self.chance - self.val > max(3 * self.error, 0.3 * self.chance)

    @property
    def evidence(self) -> dict[str, Any]:
        """The numbers of a finding."""
        return {
            "metric": self.metric,
            "val": self.val,
            "train": self.train,
            "chance": self.chance,
            "error_of_val": self.error,
            "val_samples": self.samples,
            "validations": self.validations,
        }


@detector(
    "val_never_learns",
    explains={
        "val_never_learns": (
            "best_against_last",
            "large_gap",
            "memorisation",
            "overconfidence",
            "overfitting",
            "regime_change",
            "still_improving",
            "widening_gap",
        )
    },
)
def val_never_learns(history: RunHistory, context: Context) -> list[Finding]:
    """Find a validation that stays at chance, or below, while training learns."""
    if _metric(history) is None:
        return _never_by_loss(history, context)
    standing = _standing(history, context)
    if standing is None or standing.validations < _patience(history, context):
        return []
    if not _stuck(history.curve(standing.metric), standing) or _loss_learns(history, context):
        return []
    chance = f" (chance: {100 * standing.chance:.0f} %)" if context.classes else ""
    reached = f"reaches {100 * standing.train:.0f} %" if standing.train else "loss falls"
    lost = {"points_lost": standing.train - standing.val} if standing.train else {}
    share = max(standing.share, 0.01)
    return [
        _never(
            history,
            context,
            standing.start,
            f"{standing.metric} stays at {100 * standing.val:.1f} %{chance} while train {reached}",
            certainty(SHARE / share, 1.0),
            standing.evidence | {"largest_share_of_gain": share},
            lost,
            below=standing.below_chance,
        )
    ]


@detector(
    "large_gap",
    explains=dict.fromkeys(
        ("memorisation", "overconfidence", "overfitting", "regime_change", "widening_gap"),
        ("large_gap",),
    ),
)
def large_gap(history: RunHistory, context: Context) -> list[Finding]:
    """Find a large gap between train and val that is there early and stays."""
    standing = _standing(history, context)
    if standing is None or standing.train is None or standing.validations < 6:
        return []
    val = history.curve(standing.metric)
    gap = standing.train - val.tail
    certain = gap - ONE_SIDED * standing.error
    change, errors = trend(val.since(int(val.epochs[len(val) // 2])))
    rises = change > 0.02 and errors > 2
    skilled = val.tail - standing.chance > standing.gained_by_train / 2
    if certain < WIDE or skilled or rises or begins(history, context):
        return []
    return [
        Finding(
            "large_gap",
            f"Train is {100 * gap:.0f} points ahead of {standing.metric} from early on, and val "
            "gains nothing in the second half of the run.",
            "warning",
            (standing.start, history.last),
            standing.evidence | {"gap": gap, "effect_in_noise": gap / standing.error},
            certainty(certain, WIDE),
            {},
            regularise(context),
            "val improves together with train; if not, check that val has the same classes in the "
            "same order, and pictures from the same source",
        )
    ]


@detector(
    "double_softmax",
    explains={
        "double_softmax": ("overconfidence", "rate_too_low", "still_improving", "underfitting")
    },
)
def double_softmax(history: RunHistory, context: Context) -> list[Finding]:
    """Find a cross entropy that was computed from probabilities instead of logits.

    After a second softmax a sample of C classes costs log(C - 1 + e) less the probability of its
    class. So loss plus accuracy are nearly that constant in all epochs, and the loss cannot fall
    below it by more than 1.
    """
    sums = {part: _constant_sum(history, part, context.classes) for part in ("train", "val")}
    lowest = history.curve("val_loss").values.min(initial=np.inf)  # has the same bound
    twice = {
        part: constant
        for part, constant in sums.items()
        if constant is not None and lowest > constant - 1.1
    }
    if not twice:
        return []
    first, constant = next(iter(twice.items()))
    loss, accuracy = (history.curve(f"{first}_{metric}") for metric in ("loss", "accuracy"))
    return [
        Finding(
            "double_softmax",
            f"{' and '.join(f'{part}_loss' for part in twice)} cannot fall below "
            f"{constant - 1:.2f}: the loss is computed from probabilities, so softmax is applied "
            "twice.",
            "error" if "train" in twice else "warning",
            (int(loss.epochs[0]), int(loss.epochs[-1])),
            {
                "loss_plus_accuracy": constant,
                "noise": loss.noise,
                "lowest_loss": float(loss.values.min()),
                "accuracy": accuracy.tail,
            },
            0.95 if context.classes else 0.85,
            {},
            None,
            "a loss that gets logits instead of probabilities can fall to 0",
        )
    ]


def _never(
    history: RunHistory,
    context: Context,
    start: int,
    title: str,
    confidence: float,
    evidence: dict[str, Any],
    cost: dict[str, float],
    below: bool,
) -> Finding:
    loss = history.curve("val_loss")
    if len(loss):
        evidence |= {"lowest_val_loss": float(loss.values.min()), "noise": loss.noise}
    return Finding(
        "val_never_learns",
        f"{title}: {_cause(history, context, below)}.",
        "error",
        (start, history.last),
        evidence,
        confidence,
        {"epochs_wasted": history.last - start} | cost,
        prepare_alike(context) or None,
        "val improves together with train from the first epochs on; check that both splits number "
        "the classes in the same order, and compare one picture of each split as the network gets "
        "it",
    )


def _cause(history: RunHistory, context: Context, below: bool) -> str:
    """Return what most likely keeps val from learning."""
    if context.recipe and context.recipe.ema:
        return "val uses averaged weights, which move too slowly for a run of this length"
    loss = history.curve("val_loss")
    if _bounded(loss):
        return (
            "val probably has its classes in another order, or labels shifted by one; its loss "
            "hardly moves, as if it were computed from probabilities (softmax applied twice)"
        )
    if context.recipe and context.recipe.augmentation.albumentations and not below:
        return "train probably gets other pixels than val, because of its albumentations transforms"
    if below:
        return "val probably has its classes in another order, or labels shifted by one"
    untrained = _untrained_loss(history, context)
    if len(loss) and untrained is not None and loss.tail < 1.1 * untrained:
        return (
            "val probably uses weights that hardly change, such as a slow average, or its labels "
            "are wrong"
        )
    return (
        "val probably gets other pixels than train (normalization, range, order of colours), or "
        "its classes are in another order"
    )


def _stuck(val: Curve, standing: Standing) -> bool:
    """Return whether val stays at chance or at one constant value, far below train."""
    if standing.gained_by_train < LEARNT:
        return False
    change, errors = trend(val)
    rising = change > max(0.02, 0.05 * standing.gained_by_train) and errors > 4
    if rising and val.tail > standing.chance:
        return False
    constant = not np.ptp(val.values) and standing.share < 1 - SHARE and len(val) > 4
    return constant or (standing.share < SHARE and not standing.above_chance)


def _patience(history: RunHistory, context: Context) -> int:
    """Return how many validations behind train are more than those of a run that begins.

    Averaged weights may follow late.
    """
    recipe = context.recipe
    if context.continues_after(history.done):
        return history.done + 1 if recipe and recipe.ema else 6
    if context.ended or (recipe and not recipe.early_stopping):
        return 3
    return 8 if rate_at_end(history, context) == "moving" else 4


def _never_by_loss(history: RunHistory, context: Context) -> list[Finding]:
    """Find a val loss that never falls below that of an untrained network, without decisions."""
    loss, train = history.curve("val_loss"), history.curve("train_loss")
    start = _learns_from(history, history.curve("train_accuracy"), _chance(history, context))
    untrained = _untrained_loss(history, context)
    if len(loss) < 5 or start is None or untrained is None or context.continues_after(history.done):
        return []
    lowest = float(loss.values.min())
    if not context.classes and train.values[0] < LOG_2:
        return []
    guessing = min(untrained, 1.3 * train.values[0]) if _bounded(loss) else untrained
    if lowest < 0.97 * max(guessing, float(loss.values[0])) or len(loss.since(start)) < 4:
        return []
    return [
        _never(
            history,
            context,
            start,
            f"val_loss never falls below {lowest:.3g} while train_loss falls from "
            f"{train.values[0]:.3g} to {train.tail:.3g}",
            0.75 if context.classes else 0.65,
            {"val_loss": loss.tail, "train_loss": train.tail, "loss_of_guessing": untrained},
            {},
            below=lowest > 1.5 * untrained,
        )
    ]


def _loss_learns(history: RunHistory, context: Context) -> bool:
    """Return whether the val loss shows that val learns, or still begins to."""
    loss, untrained = history.curve("val_loss"), _untrained_loss(history, context)
    if len(loss) < 3 or untrained is None:
        return False
    if loss.best_level < 0.9 * min(untrained, float(loss.values[0])):
        return True
    return trend(loss)[1] < -6 and rate_at_end(history, context) != "low"


def _metric(history: RunHistory) -> str | None:
    """Return the first of `METRICS` that val has."""
    return next((name for name in METRICS if len(history.curve(f"val_{name}")) >= 3), None)


def _standing(history: RunHistory, context: Context) -> Standing | None:
    """Return how train and val stand; None where val was not measured, or train does not learn."""
    name = _metric(history)
    if name is None:
        return None
    val, train = history.curve(f"val_{name}"), history.curve(f"train_{name}")
    chance = 0.5 if name == "auroc" else _chance(history, context)
    start = _learns_from(history, train, chance)
    if start is None or not len(later := val.since(start).values):
        return None
    samples = context.val_samples or samples_behind(history.curve("val_accuracy").values)
    mean = float(later.mean())
    return Standing(
        val.name,
        train.tail if len(train) else None,
        mean,
        chance,
        error_of_level(mean, val.noise, len(later), samples),
        samples,
        start,
        len(later),
    )


def _learns_from(history: RunHistory, train: Curve, chance: float) -> int | None:
    """Return the epoch at which train has learned half of what it learns; None if it does not."""
    if len(train) >= 3:
        gained = train.values - chance
        return int(train.epochs[np.argmax(gained >= gained[-1] / 2)]) if gained[-1] > 0 else None
    loss = history.curve("train_loss")
    if len(loss) < 3 or loss.values[0] <= 0:
        return None
    first = max(float(loss.values[0]), LOG_2)
    below = loss.values <= (first + loss.tail) / 2
    return int(loss.epochs[np.argmax(below)]) if 0 <= loss.tail < first / 2 else None


def _chance(history: RunHistory, context: Context) -> float:
    """Return the accuracy of guessing, or a cautious estimate of it.

    A network that has learned much in its first epoch, or before, does not show it.
    """
    if context.classes:
        return 1 / context.classes
    loss, accuracy = (history.curve(f"train_{name}") for name in ("loss", "accuracy"))
    if len(loss) and loss.values[0] >= LOG_2:
        guessed = float(np.exp(-loss.values[0]))
        slow = not len(accuracy) or accuracy.values[0] - guessed < (accuracy.tail - guessed) / 2
        return guessed if slow else min(guessed, 0.1)
    return min([0.1, *history.curve("val_accuracy").values[:1]])


def _untrained_loss(history: RunHistory, context: Context) -> float | None:
    """Return the loss of guessing: log C, or the train loss followed back by one epoch."""
    if context.classes:
        return float(np.log(context.classes))
    loss = history.curve("train_loss").values
    if len(loss) < 2 or min(loss[0], loss[1]) <= 0:
        return None
    return float(loss[0] * max(loss[0] / loss[1], 1.0))


def _bounded(loss: Curve) -> bool:
    """Return whether a loss hardly moves, as one of probabilities does."""
    return len(loss) > 4 and bool(np.ptp(loss.values) < 0.02 * abs(loss.tail))


def _constant_sum(history: RunHistory, part: str, classes: int | None) -> float | None:
    """Return the constant that loss and accuracy of a part add up to; None if they do not."""
    loss, accuracy = (
        history.columns.get(f"{part}_{name}", np.empty(0)) for name in ("loss", "accuracy")
    )
    if len(loss) != len(accuracy):
        return None
    measured = np.isfinite(loss) & np.isfinite(accuracy)
    loss, accuracy = loss[measured], accuracy[measured]
    if len(loss) < 4:
        return None
    sums = loss + accuracy
    constant = float(np.log(classes - 1 + np.e) if classes else np.median(sums))
    count = classes or np.exp(min(constant, 20.0)) + 1 - np.e
    if count < 4 or not (0 <= accuracy[-1] <= 1):
        return None
    shows = accuracy > 1 / count + 0.15  # near chance, other losses have the same sum
    off = np.abs(sums - constant)[shows]
    most = max(0.12, 0.04 * constant)
    if len(off) < 3 or np.quantile(off, 0.9) > most or np.median(off) > 0.67 * most:
        return None
    above = float(loss[-1]) - _usual_loss(float(accuracy[-1]), count)
    train = history.curve("train_loss")
    certain = part == "val" and len(train) > 0 and train.tail < loss[-1] / 2
    if np.ptp(accuracy[shows]) > 0.25:
        return constant if above > 0.2 and (classes or certain or part == "train") else None
    # A certain network with few errors cannot have this loss: a probability of 1e-5 costs 12.
    known = classes or (certain and loss[-1] > 12 * (1 - accuracy[-1]))
    return constant if known and above > 0.6 else None


def _usual_loss(accuracy: float, classes: float) -> float:
    """Return the most that a calibrated network with this accuracy loses on a sample."""
    right, wrong = max(accuracy, 1e-9), max(1 - accuracy, 1e-9)
    return float(-right * np.log(right) - wrong * np.log(wrong / (classes - 1)))
