"""Histories whose faults are known, because they are put there: healthy ones, and each fault at
several strengths and noise levels.

Everything comes from a seed. A fault is an effect in expectation, noise comes on top; so a history
may show a weak fault less clearly than another, as real ones do. Besides what it must find in a
history, a case names what may be found too since it follows (overfitting ends in a last epoch that
is not the best). Anything else that is found is false.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import RunHistory

STRENGTHS = {"weak": 0, "medium": 1, "strong": 2}
NOISES = {"quiet": 0.003, "usual": 0.008, "noisy": 0.015}
"""Standard deviation of val accuracy between epochs; the loss's is twice that, of its level."""


@dataclass(frozen=True)
class Case:
    """A history with what must be found in it, and what may be found besides."""

    name: str
    history: RunHistory
    context: Context = field(default_factory=Context)
    expected: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    strength: str = ""
    noise: str = ""


@dataclass
class Draw:
    """A run in expectation: what its maker changes before noise is added."""

    rng: np.random.Generator
    sd: float
    epochs: int
    classes: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.t = np.arange(1, self.epochs + 1)

    def learn(self, top: float, tau: float, gap: float = 0.02, low: float = 0.25) -> "Draw":
        """Accuracy and loss come exponentially near to their limits."""
        way = 1 - np.exp(-self.t / tau)
        chance = 1 / self.classes
        first = np.log(self.classes)
        self.columns = {
            "train_loss": first * (low + (1 - low) * (1 - way)) * (1 - gap),
            "val_loss": first * (low + 0.05 + (0.95 - low) * (1 - way)),
            "train_accuracy": chance + (top + gap - chance) * way,
            "val_accuracy": chance + (top - chance) * way,
        }
        return self

    def noisy(self, correlation: float = 0.0, val: float = 1.0) -> "Draw":
        """Add noise: little on train, `sd` on val; losses and rates stay in their range."""
        for name in self.columns:
            if name in ("learning_rate", "attempt", "samples") or name.startswith(("tpr", "fpr")):
                continue
            size = self.sd * (val if name.startswith("val") else 0.25)
            noise = self._series(correlation if name.startswith("val") else 0.0) * size
            if "loss" in name:
                self.columns[name] = self.columns[name] * np.exp(2 * noise)
            else:
                self.columns[name] = np.clip(self.columns[name] + noise, 0, 1)
        return self

    def _series(self, correlation: float) -> np.ndarray:
        white = self.rng.normal(size=self.epochs)
        for i in range(1, self.epochs):
            white[i] = correlation * white[i - 1] + np.sqrt(1 - correlation**2) * white[i]
        return white

    def history(self, origin: int = 1, drop: tuple[str, ...] = ()) -> RunHistory:
        columns = {name: each for name, each in self.columns.items() if name not in drop}
        rows = [
            {"epoch": float(epoch + origin)}
            | {
                name: float(each[epoch])
                for name, each in columns.items()
                if not np.isnan(each[epoch])
            }
            for epoch in range(self.epochs)
        ]
        return RunHistory.of("drawn", rows)


def fresh(rng: np.random.Generator, sd: float, low: int = 20, high: int = 120) -> Draw:
    return Draw(rng, sd, int(rng.integers(low, high)), int(rng.choice([4, 10, 100])))


def cosine(draw: Draw, peak: float = 0.1) -> np.ndarray:
    return peak * 0.5 * (1 + np.cos(np.pi * (draw.t - 1) / draw.epochs))


# --- healthy -----------------------------------------------------------------------------------


def plain(draw: Draw) -> tuple[Draw, Context]:
    rng = draw.rng
    draw.learn(rng.uniform(0.6, 0.95), draw.epochs / rng.uniform(7, 20), rng.uniform(0, 0.05))
    return draw.noisy(), Context(classes=draw.classes)


def long_plateau(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.7, 0.95), draw.epochs / 30, 0.03)
    return draw.noisy(draw.rng.uniform(0, 0.5)), Context(classes=draw.classes)


def small_val(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 12, 0.03)
    return draw.noisy(0.0, val=3.0), Context()


def correlated(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 12, 0.03)
    return draw.noisy(0.5), Context(classes=draw.classes)


def multistep(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.5, 0.7), draw.epochs / 15, 0.02, low=0.4)
    rate = np.full(draw.epochs, 0.1)
    for share in (0.6, 0.8):
        after = draw.t > share * draw.epochs
        rate[after] *= 0.1
        step = 1 - np.exp(-np.maximum(draw.t - share * draw.epochs, 0) / 2)
        for name in draw.columns:
            by = 0.06 if "accuracy" in name else -0.12 * np.log(draw.classes)
            by *= 1.3 if name.startswith("train") else 1.0
            draw.columns[name] = draw.columns[name] + by * step * (0.5 if share > 0.7 else 1)
    draw.columns["learning_rate"] = rate
    return draw.noisy(), Context(classes=draw.classes)


def warm_up(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 12)
    slow = np.minimum(draw.t / max(2, draw.epochs // 12), 1) ** 2
    for name, each in draw.columns.items():
        start = 1 / draw.classes if "accuracy" in name else np.log(draw.classes)
        draw.columns[name] = start + (each - start) * slow
    draw.columns["learning_rate"] = cosine(draw) * slow
    return draw.noisy(), Context(classes=draw.classes)


def annealed(draw: Draw) -> tuple[Draw, Context]:
    """It gains until the end, since the learning rate comes down."""
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 4)
    draw.columns["learning_rate"] = cosine(draw)
    return draw.noisy(), Context(classes=draw.classes)


def constant_gap(draw: Draw) -> tuple[Draw, Context]:
    """Train is ahead from early on, and stays as far ahead."""
    draw.learn(draw.rng.uniform(0.65, 0.8), draw.epochs / 15, draw.rng.uniform(0.08, 0.18))
    return draw.noisy(), Context(classes=draw.classes)


def augmented(draw: Draw) -> tuple[Draw, Context]:
    """Strong augmentation: val is better than train throughout."""
    draw.learn(draw.rng.uniform(0.7, 0.9), draw.epochs / 10, -draw.rng.uniform(0.03, 0.12))
    return draw.noisy(), Context(classes=draw.classes)


def easy(draw: Draw) -> tuple[Draw, Context]:
    """A task that is solved: a training loss near zero, and val as good."""
    draw.learn(0.985, draw.epochs / 15, 0.012, low=0.01)
    draw.columns["val_loss"] = draw.columns["train_loss"] + 0.03
    return draw.noisy(), Context(classes=draw.classes)


def fine_tuned(draw: Draw) -> tuple[Draw, Context]:
    """Starts from good weights, gains little."""
    draw.learn(0.85, draw.epochs / 15)
    for name, each in draw.columns.items():
        draw.columns[name] = each[-1] + 0.15 * (each - each[-1])
    return draw.noisy(), Context(classes=draw.classes)


def early_stopped(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 8)
    recipe = Recipe.model_validate(
        {"epochs": 300, "early_stopping": {"patience": 10}, "export": "best",
         "monitor": "val_accuracy"}
    )  # fmt: skip
    return draw.noisy(), Context(recipe=recipe, classes=draw.classes)


def resized(draw: Draw) -> tuple[Draw, Context]:
    """Phases of sizes: train and val move together."""
    draw.learn(draw.rng.uniform(0.6, 0.8), draw.epochs / 12, -0.02)
    starts = [1, draw.epochs // 3, 2 * draw.epochs // 3]
    for start in starts[1:]:
        later = draw.t >= start
        for name in draw.columns:
            draw.columns[name] = draw.columns[name] + (
                0.03 if "accuracy" in name else -0.1
            ) * later * (1 - 0.5 * np.exp(-np.maximum(draw.t - start, 0)))
    phases = [{"from_epoch": start, "image_size": 128 + 32 * i} for i, start in enumerate(starts)]
    recipe = Recipe.model_validate({"epochs": draw.epochs, "phases": phases, "export": "best"})
    return draw.noisy(), Context(recipe=recipe, classes=draw.classes)


def attempts(draw: Draw) -> tuple[Draw, Context]:
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 12)
    draw.columns["attempt"] = 1 + (draw.t > draw.epochs / 3) + (draw.t > 2 * draw.epochs / 3)
    return draw.noisy(), Context(classes=draw.classes)


def rare(draw: Draw) -> tuple[Draw, Context]:
    """Two classes with operating points, counted on few samples."""
    draw.learn(0.95, draw.epochs / 12)
    _operating_points(draw)
    return draw.noisy(), Context(classes=2)


def _operating_points(draw: Draw) -> None:
    way = 1 - np.exp(-draw.t / (draw.epochs / 10))
    positives, negatives = 1500, 20000
    rng = draw.rng
    for name, top in (("tpr_at_fpr_1e-3", 0.75), ("tpr_at_fpr_1e-2", 0.88)):
        draw.columns[name] = np.clip(
            rng.binomial(positives, top * way) / positives + rng.normal(0, 0.02, draw.epochs), 0, 1
        )
    for name, end in (
        ("fpr_at_tpr_0.5", 2e-4),
        ("fpr_at_tpr_0.7", 9e-4),
        ("fpr_at_tpr_0.85", 6e-3),
    ):
        draw.columns[name] = rng.binomial(negatives, end + 0.1 * end * (1 - way)) / negatives
    draw.columns["val_auroc"] = 0.5 + 0.49 * way


def few_samples(draw: Draw) -> tuple[Draw, Context]:
    """So few training samples that what is left of the loss moves by much of itself.

    As the digits' does: val loss is wild at first, val accuracy has steps of a 42nd.
    """
    draw.learn(draw.rng.uniform(0.85, 0.95), draw.epochs / 8, 0.03, low=0.01)
    rng = draw.rng
    draw.columns["train_loss"] *= np.exp(
        rng.normal(0, 0.15 * np.minimum(4 * draw.t / draw.epochs, 1))
    )
    draw.columns["val_loss"] *= np.exp(rng.normal(0, 0.2, draw.epochs) + 4 * np.exp(-draw.t / 2))
    draw.noisy()
    draw.columns["val_accuracy"] = np.round(42 * draw.columns["val_accuracy"]) / 42
    draw.columns["learning_rate"] = cosine(draw)
    return draw, Context(classes=draw.classes)


def short(draw: Draw) -> tuple[Draw, Context]:
    """One to five epochs."""
    own = Draw(draw.rng, draw.sd, int(draw.rng.choice([1, 2, 3, 3, 4, 5])), draw.classes)
    own.learn(0.8, own.rng.uniform(0.7, 3))
    return own.noisy(), Context(classes=draw.classes)


def in_progress(draw: Draw) -> tuple[Draw, Context]:
    """A third of a run: it still gains, as it should."""
    draw.learn(0.85, draw.epochs / 2)
    recipe = Recipe(epochs=3 * draw.epochs)
    return draw.noisy(), Context(recipe=recipe, classes=draw.classes)


def wrong_labels(draw: Draw) -> tuple[Draw, Context]:
    """A third of the training labels are wrong, and the network does not memorise them."""
    draw.learn(draw.rng.uniform(0.75, 0.9), draw.epochs / 10, -draw.rng.uniform(0.15, 0.3), low=0.4)
    draw.columns["train_loss"] += 0.3 * np.log(draw.classes)
    return draw.noisy(), Context(classes=draw.classes)


def fine_grained(draw: Draw) -> tuple[Draw, Context]:
    """Many classes: train is far ahead, and val learns slowly until the rate comes down."""
    draw.classes = 200
    draw.learn(draw.rng.uniform(0.85, 0.98), draw.epochs / 6, 0.0)
    top = draw.rng.uniform(0.35, 0.6)
    draw.columns["val_accuracy"] = 0.005 + top * (1 - np.exp(-3.5 * draw.t / draw.epochs))
    draw.columns["val_loss"] = 5.3 - 4 * draw.columns["val_accuracy"]
    draw.columns["learning_rate"] = cosine(draw)
    return draw.noisy(), Context(classes=draw.classes if draw.rng.random() < 0.5 else None)


def late_val(draw: Draw) -> tuple[Draw, Context]:
    """Val follows a few epochs late, as with running statistics or averaged weights."""
    draw.learn(draw.rng.uniform(0.6, 0.9), draw.epochs / 12)
    late = int(draw.rng.integers(1, 4))
    for name, start in (("val_accuracy", 1 / draw.classes), ("val_loss", np.log(draw.classes))):
        draw.columns[name] = np.r_[np.full(late, start), draw.columns[name][:-late]]
    return draw.noisy(), Context(classes=draw.classes if draw.rng.random() < 0.5 else None)


def interrupted(draw: Draw) -> tuple[Draw, Context]:
    """Some epochs of a long schedule, without the recipe: the rate shows that it is not over."""
    draw.learn(0.85, draw.epochs / 6)
    draw.columns["learning_rate"] = cosine(draw)
    done = int(draw.rng.integers(3, max(4, draw.epochs // 2)))
    draw.noisy()
    draw.epochs = done
    draw.columns = {name: column[:done] for name, column in draw.columns.items()}
    return draw, Context(classes=draw.classes if draw.rng.random() < 0.5 else None)


HEALTHY: tuple[Callable[[Draw], tuple[Draw, Context]], ...] = (
    plain, long_plateau, small_val, correlated, multistep, warm_up, annealed, constant_gap,
    augmented, easy, fine_tuned, early_stopped, resized, attempts, rare, few_samples, short,
    in_progress, wrong_labels, fine_grained, late_val, interrupted,
)  # fmt: skip

DROPPED = (
    (), (), (), ("train_accuracy",), ("val_loss",), ("train_loss",), ("val_accuracy",),
    ("train_accuracy", "val_accuracy"), ("train_loss", "train_accuracy"),
)  # fmt: skip


def healthy(seed: int, each: int) -> Iterator[Case]:
    """Yield `each` healthy histories of every shape and noise level; some lack columns."""
    for shape_number, shape in enumerate(HEALTHY):
        for noise_number, (noise, sd) in enumerate(NOISES.items()):
            for number in range(each):
                rng = np.random.default_rng([seed, shape_number, noise_number, number])
                draw, context = shape(fresh(rng, sd))
                drop = DROPPED[rng.integers(len(DROPPED))]
                history = draw.history(int(rng.integers(2)), drop)
                yield Case(shape.__name__, history, context, noise=noise)
