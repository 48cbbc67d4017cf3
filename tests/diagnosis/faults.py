"""The faults of `synthetic`: each takes a healthy run and spoils it by a known amount."""

from collections.abc import Callable, Iterator

import numpy as np

from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target
from tailproof.diagnosis.context import Context
from tests.diagnosis.synthetic import NOISES, STRENGTHS, Case, Draw, cosine, fresh

Fault = Callable[[Draw, int], Context]
LATER = frozenset({"best_against_last", "widening_gap", "memorisation"})


def ramp(draw: Draw, low: float = 0.35, high: float = 0.6) -> np.ndarray:
    """0 up to somewhere in the middle of the run, then evenly up to 1 at the end."""
    start = draw.rng.uniform(low, high) * draw.epochs
    return np.clip((draw.t - start) / (draw.epochs - start), 0, 1)


def learnt(draw: Draw, **more: float) -> Draw:
    return draw.learn(draw.rng.uniform(0.6, 0.85), draw.epochs / 15, 0.03, **more)


def best_against_last(draw: Draw, strength: int) -> Context:
    learnt(draw)
    draw.columns["val_accuracy"] -= (0.04, 0.08, 0.2)[strength] * ramp(draw)
    del draw.columns["val_loss"]
    draw.noisy()
    return Context(classes=draw.classes)


def overfitting(draw: Draw, strength: int) -> Context:
    learnt(draw)
    way = ramp(draw)
    draw.columns["val_loss"] *= 1 + (0.2, 0.5, 1.5)[strength] * way
    draw.columns["val_accuracy"] -= (0.04, 0.07, 0.15)[strength] * way
    draw.columns["train_loss"] *= 1 - 0.5 * way
    draw.columns["train_accuracy"] += 0.05 * way
    draw.noisy()
    return Context(classes=draw.classes)


def overconfidence(draw: Draw, strength: int) -> Context:
    learnt(draw)
    way = ramp(draw)
    draw.columns["val_loss"] *= 1 + (0.2, 0.5, 1.5)[strength] * way
    draw.columns["val_accuracy"] += draw.rng.choice([0, 0.01, 0.02]) * way
    draw.columns["train_loss"] *= 1 - 0.6 * way
    draw.columns["train_accuracy"] += 0.03 * way
    draw.noisy()
    return Context(classes=draw.classes)


def widening_gap(draw: Draw, strength: int) -> Context:
    draw.learn(draw.rng.uniform(0.5, 0.65), draw.epochs / 15, 0.01, low=0.5)
    way = ramp(draw, 0.2, 0.5)
    draw.columns["train_accuracy"] += (0.12, 0.2, 0.33)[strength] * way
    draw.columns["train_loss"] *= 1 - (0.2, 0.4, 0.7)[strength] * way
    draw.noisy()
    return Context(classes=draw.classes)


def near_chance(draw: Draw, strength: int) -> Context:
    chance = 1 / draw.classes
    skill = (0.1, 0.05, 0.0)[strength]
    draw.learn(chance + skill * (1 - chance), draw.epochs / 10, 0.0, low=0.95)
    draw.noisy()
    return Context(classes=draw.classes)


def underfitting(draw: Draw, strength: int) -> Context:
    chance = 1 / draw.classes
    skill = (0.4, 0.33, 0.26)[strength]
    draw.learn(chance + skill * (1 - chance), draw.epochs / 12, 0.005, low=0.7)
    draw.noisy()
    return Context(classes=draw.classes)


def still_improving(draw: Draw, strength: int) -> Context:
    draw.learn(0.9, draw.epochs * (0.5, 0.7, 1.0)[strength], 0.01)
    draw.columns["learning_rate"] = np.full(draw.epochs, 0.01)
    draw.noisy()
    return Context(classes=draw.classes)


def rate_too_high(draw: Draw, strength: int) -> Context:
    learnt(draw)
    draw.columns["learning_rate"] = np.full(draw.epochs, 1.0)
    if draw.rng.random() < 0.5:
        jumps = np.exp(draw.rng.normal(0, (0.12, 0.2, 0.4)[strength], draw.epochs))
    else:
        jumps = np.ones(draw.epochs)
        count = (3, 4, 6)[strength]
        places = draw.rng.choice(np.arange(3, draw.epochs - 1, 3), count, replace=False)
        jumps[places] = (1.6, 2.5, 5.0)[strength]
    draw.columns["train_loss"] *= jumps
    draw.columns["val_loss"] *= np.roll(jumps, 1) ** 0.3
    draw.noisy()
    return Context(classes=draw.classes)


def rate_too_low(draw: Draw, strength: int) -> Context:
    draw.learn(0.5, 10.0 * draw.epochs)
    first = np.log(draw.classes)
    fallen = (0.25, 0.12, 0.06)[strength] * draw.t / draw.epochs
    draw.columns["train_loss"] = first * (1 - fallen)
    draw.columns["val_loss"] = first * (1 - 0.95 * fallen)
    draw.columns["learning_rate"] = np.full(draw.epochs, 1e-6)
    draw.noisy()
    return Context(classes=draw.classes)


def divergence(draw: Draw, strength: int) -> Context:
    learnt(draw)
    later = draw.t > draw.rng.uniform(0.4, 0.85) * draw.epochs
    level = draw.columns["train_loss"].min() * (2.0, 4.0, 10.0)[strength]
    way = np.clip(np.cumsum(later) / 2, 0, 1)
    for part in ("train", "val"):
        loss = draw.columns[f"{part}_loss"]
        draw.columns[f"{part}_loss"] = loss + (level - loss.min()) * way
        accuracy = draw.columns[f"{part}_accuracy"]
        draw.columns[f"{part}_accuracy"] = accuracy * (1 - (0.3, 0.5, 0.8)[strength] * way)
    draw.noisy()
    return Context(classes=draw.classes)


def not_finite(draw: Draw, strength: int) -> Context:
    learnt(draw).noisy()
    later = draw.t > draw.rng.uniform(0.3, 0.95) * draw.epochs
    draw.columns["train_loss"][later] = np.inf
    draw.columns["val_loss"][later] = np.inf
    for part in ("train", "val"):
        draw.columns[f"{part}_accuracy"][later] = 1 / draw.classes
    return Context(classes=draw.classes)


def score_collapse(draw: Draw, strength: int) -> Context:
    draw.learn(0.95, draw.epochs / 12)
    later = draw.t > draw.rng.uniform(0.3, 0.8) * draw.epochs
    rng, ends = draw.rng, (0.12, 0.03, 0.0)[strength]
    for name, top in (("tpr_at_fpr_1e-4", 0.7), ("tpr_at_fpr_1e-3", 0.8)):
        values = top + rng.normal(0, 3 * draw.sd, draw.epochs)
        low = np.abs(rng.normal(0, 0.01, draw.epochs)) + ends
        draw.columns[name] = np.clip(np.where(later, low, values), 0, 1)
    draw.columns["val_auroc"] = np.full(draw.epochs, 0.99)
    draw.noisy()
    return Context(classes=2)


def nearly_binary_scores(draw: Draw, strength: int) -> Context:
    draw.learn(0.95, draw.epochs / 12)
    later = draw.t > (0.8, 0.6, 0.4)[strength] * draw.epochs
    rng = draw.rng
    one = rng.uniform(1e-3, 4e-3, draw.epochs)
    for name, end in (
        ("fpr_at_tpr_0.5", 1e-4),
        ("fpr_at_tpr_0.7", 4e-4),
        ("fpr_at_tpr_0.85", 2e-3),
    ):
        values = (1 + rng.binomial(20000, end, draw.epochs)) / 20000
        draw.columns[name] = np.where(later, one, values)
    draw.columns["val_auroc"] = np.full(draw.epochs, 0.99)
    draw.noisy()
    return Context(classes=2)


def memorisation(draw: Draw, strength: int) -> Context:
    learnt(draw)
    way = ramp(draw, 0.2, 0.4)
    heart = 1 - np.clip(4 * way, 0, 1) * (0.99, 0.997, 0.999)[strength]
    draw.columns["train_loss"] *= heart
    draw.columns["train_accuracy"] = 1 - (1 - draw.columns["train_accuracy"]) * heart
    draw.columns["val_loss"] *= 1 + (0.3, 0.6, 1.5)[strength] * way
    draw.columns["val_accuracy"] -= (0.04, 0.07, 0.15)[strength] * way
    draw.noisy()
    return Context(classes=draw.classes)


def regime_change(draw: Draw, strength: int) -> Context:
    draw.epochs = max(draw.epochs, 30)
    draw.__post_init__()
    draw.learn(draw.rng.uniform(0.5, 0.65), draw.epochs / 10, -0.04)
    start = int(draw.rng.uniform(0.6, 0.8) * draw.epochs)
    later = draw.t >= start
    draw.columns["train_accuracy"] += (0.08, 0.12, 0.2)[strength] * later
    draw.columns["val_accuracy"] += 0.01 * later
    draw.columns["train_loss"] *= 1 - 0.3 * later
    phases = [
        {"from_epoch": 1, "image_size": 128, "augmentation": {"flip": True}},
        {"from_epoch": start, "image_size": 160},
    ]
    recipe = {"epochs": draw.epochs, "phases": phases, "monitor": "val_accuracy"}
    draw.columns["learning_rate"] = cosine(draw)
    draw.noisy()
    return Context(recipe=Recipe.model_validate(recipe), classes=draw.classes)


def bad_resume(draw: Draw, strength: int) -> Context:
    draw.learn(draw.rng.uniform(0.6, 0.85), draw.epochs / 12, 0.03)
    start = int(draw.rng.uniform(0.3, 0.7) * draw.epochs)
    draw.columns["attempt"] = 1.0 + (draw.t > start)
    back = np.where(draw.t > start, np.exp(-(draw.t - start - 1) / 3), 0)
    for name in ("train_loss", "val_loss"):
        draw.columns[name] *= 1 + (0.3, 0.7, 2.0)[strength] * back
    for name in ("train_accuracy", "val_accuracy"):
        draw.columns[name] *= 1 - (0.1, 0.3, 0.6)[strength] * back
    draw.noisy()
    return Context(classes=draw.classes)


def repeated_epochs(draw: Draw, strength: int) -> Context:
    learnt(draw).noisy()
    return Context(classes=draw.classes)


def seen_more_than_once(draw: Draw, strength: int) -> Context:
    learnt(draw).noisy()
    draw.columns["samples"] = np.full(draw.epochs, 1000.0 * (2, 4, 8)[strength])
    return Context(classes=draw.classes, train_samples=1000)


def target_missed(draw: Draw, strength: int) -> Context:
    learnt(draw).noisy()
    short = (0.06, 0.1, 0.2)[strength]
    target = Target(at_least=float(draw.columns["val_accuracy"].max() + short))
    return Context(classes=draw.classes, targets={"val_accuracy": [target]})


def val_never_learns(draw: Draw, strength: int) -> Context:
    """Val has its classes in another order, or other pixels, or both and a loss of probabilities.

    Half of the runs do not say how many classes there are, and some measure no train accuracy.
    """
    learnt(draw)
    rng, chance, first = draw.rng, 1 / draw.classes, np.log(draw.classes)
    way = (draw.columns["train_accuracy"] - chance) / draw.columns["train_accuracy"].max()
    kind = rng.choice(["order", "pixels", "probabilities"])
    left = (0.5, 0.2, 0.0)[strength] if kind != "pixels" else 1.0
    draw.columns["val_accuracy"] = chance * (1 - (1 - left) * way)
    draw.columns["val_loss"] = {
        "order": first * (1.02 + (0.4, 1.0, 2.0)[strength] * way),
        "pixels": first * (1.1 + strength) * np.exp(rng.normal(0, 0.3, draw.epochs)) + 0.2,
        "probabilities": np.full(draw.epochs, np.log(draw.classes - 1 + np.e)),
    }[kind]
    if kind == "probabilities":
        del draw.columns["train_accuracy"]
    draw.noisy(val=0.2 if kind == "probabilities" else 1.0)
    if rng.random() < 0.5:
        _count(draw, int(rng.choice([12, 30, 100])))
    return Context(classes=draw.classes if rng.random() < 0.5 else None)


def large_gap(draw: Draw, strength: int) -> Context:
    """Train is far ahead of val early on, and stays as far ahead."""
    draw.learn(0.9, draw.epochs / 15, 0.0)
    chance = 1 / draw.classes
    way = (draw.columns["val_accuracy"] - chance) / (0.9 - chance)
    draw.columns["val_accuracy"] = chance + (0.9 - chance) * (0.4, 0.3, 0.2)[strength] * way
    draw.columns["val_loss"] = np.log(draw.classes) * (1 - 0.15 * way)
    draw.noisy()
    return Context(classes=draw.classes)


def double_softmax(draw: Draw, strength: int) -> Context:
    """The loss of val, or of both parts, is computed from probabilities."""
    draw.learn(draw.rng.uniform(0.8, 0.95), draw.epochs / 12, 0.01)
    constant = np.log(draw.classes - 1 + np.e)
    for part in ("train", "val")[draw.rng.integers(2) :]:
        accuracy = draw.columns[f"{part}_accuracy"]
        draw.columns[f"{part}_loss"] = constant - accuracy * (0.94, 0.97, 1.0)[strength]
    draw.noisy(val=0.5)
    return Context(classes=draw.classes if draw.rng.random() < 0.5 else None)


def silent_nan(draw: Draw, strength: int) -> Context:
    """Val loss alone is not finite; or train loss is written as 0, as by transformers."""
    learnt(draw).noisy()
    later = draw.t > draw.rng.uniform(0.3, 0.9) * draw.epochs
    if strength:
        draw.columns["train_loss"][later] = 0.0
    if strength != 1:
        draw.columns["val_loss"][later] = np.inf
    for part in ("train", "val"):
        draw.columns[f"{part}_accuracy"][later] = 1 / draw.classes
    return Context(classes=draw.classes)


def chance_on_few(draw: Draw, strength: int) -> Context:
    """Neither train nor val is better than chance, and val has a few samples."""
    near_chance(draw, max(strength, 1))
    _count(draw, int(draw.rng.choice([10, 12, 20, 40])))
    return Context(classes=draw.classes)


def short_schedule(draw: Draw, strength: int) -> Context:
    """The rate has come down, and val rises as before."""
    draw.learn(0.9, draw.epochs * (0.6, 0.8, 1.1)[strength], 0.01)
    draw.columns["learning_rate"] = cosine(draw)
    draw.noisy()
    return Context(classes=draw.classes if draw.rng.random() < 0.5 else None)


def _count(draw: Draw, samples: int) -> None:
    """Count val accuracy on a few samples."""
    accuracy = draw.columns["val_accuracy"]
    draw.columns["val_accuracy"] = draw.rng.binomial(samples, accuracy) / samples


ALLOWED: dict[Fault, frozenset[str]] = {
    best_against_last: frozenset({"widening_gap"}),
    overfitting: LATER,
    overconfidence: frozenset({"widening_gap", "memorisation"}),
    widening_gap: frozenset({"overconfidence"}),
    near_chance: frozenset(),
    underfitting: frozenset(),
    still_improving: frozenset(),
    rate_too_high: frozenset(),
    rate_too_low: frozenset({"near_chance", "still_improving"}),
    divergence: frozenset({"best_against_last"}),
    not_finite: frozenset({"best_against_last"}),
    score_collapse: LATER,
    nearly_binary_scores: frozenset({"best_against_last"}),
    memorisation: LATER | {"overfitting", "overconfidence"},
    regime_change: frozenset({"widening_gap"}),
    bad_resume: frozenset({"best_against_last", "still_improving"}),
    repeated_epochs: frozenset(),
    seen_more_than_once: frozenset(),
    target_missed: frozenset(),
    val_never_learns: frozenset(),
    large_gap: frozenset({"overconfidence", "widening_gap"}),
    double_softmax: frozenset(),
    silent_nan: frozenset(),
    chance_on_few: frozenset(),
    short_schedule: frozenset(),
}
"""Each fault, and what else may be found where it is: what it leads to."""

KINDS = {silent_nan: "not_finite", chance_on_few: "near_chance", short_schedule: "still_improving"}
"""What must be found, where it is not named as the fault is."""


def faulty(seed: int, each: int) -> Iterator[Case]:
    """Yield `each` histories of every fault, strength and noise level."""
    for fault_number, (fault, allowed) in enumerate(ALLOWED.items()):
        for strength, step in STRENGTHS.items():
            for noise_number, (noise, sd) in enumerate(NOISES.items()):
                for number in range(each):
                    key = [seed, 1000 + fault_number, step, noise_number, number]
                    rng = np.random.default_rng(key)
                    draw = fresh(rng, sd)
                    context = fault(draw, step)
                    history = draw.history(int(rng.integers(2)))
                    if fault is repeated_epochs:
                        again = history.epochs[: max(1, int(draw.epochs * (step + 1) / 6))]
                        passed = (*map(int, again), *history.passed)
                        history = type(history)(
                            history.name, history.epochs, history.columns, passed
                        )
                    expected = frozenset({KINDS.get(fault, fault.__name__)})
                    yield Case(fault.__name__, history, context, expected, allowed, strength, noise)
