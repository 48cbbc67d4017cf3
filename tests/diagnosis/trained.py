"""Histories of networks that are really trained, in some tenths of a second each.

A network with one hidden layer learns classes with several modes each. Its curves have what drawn
ones lack: losses and accuracies that belong together, an early val loss above chance, noise that
depends on the learning rate and on the size of val, memorised label noise. Faults are put where
people put them: into the labels or the pixels of val, the loss, the averaged weights, or the
length of the schedule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import RunHistory
from tests.diagnosis.synthetic import Case

FEATURES = 24
MODES = 2
BATCH = 32


@dataclass(frozen=True)
class Run:
    """How one network is trained.

    Attributes:
        classes: number of classes.
        train: number of training samples.
        val: number of validation samples.
        epochs: epochs that are trained, and the length of the schedule unless `planned` is set.
        planned: length of the schedule of a run that was stopped before.
        rate: peak learning rate.
        cosine: whether the rate follows a cosine down to 0; else it is constant.
        spread: noise of the samples around the modes of their class: how hard the task is.
        hidden: width of the hidden layer.
        decay: weight decay.
        wrong: share of wrong labels, in train only.
        blurred: noise added to training samples in each epoch, as augmentation does.
        mixup: whether pairs of samples are mixed.
        tail: the ratio of the rarest to the most common class in train.
        order: the class that val takes for each class.
        shuffled: whether val has its features in another order, as with RGB and BGR.
        softmax_twice: the parts, "train" and "val", whose loss is computed from probabilities.
        average: decay of the averaged weights that are validated; 0 validates the trained ones.
        warm: epochs of training before the history begins, as a pretrained network has.
    """

    classes: int = 10
    train: int = 800
    val: int = 400
    epochs: int = 20
    planned: int = 0
    rate: float = 0.05
    cosine: bool = True
    spread: float = 0.8
    hidden: int = 64
    decay: float = 1e-3
    wrong: float = 0.0
    blurred: float = 0.0
    mixup: bool = False
    tail: float = 1.0
    order: tuple[int, ...] = ()
    shuffled: bool = False
    softmax_twice: tuple[str, ...] = ()
    average: float = 0.0
    warm: int = 0


@dataclass
class Network:
    """One hidden layer with ReLU, trained by SGD with momentum."""

    weights: list[np.ndarray]
    speed: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def drawn(cls, rng: np.random.Generator, hidden: int, classes: int) -> "Network":
        first = rng.normal(0, np.sqrt(2 / FEATURES), (FEATURES + 1, hidden))
        last = rng.normal(0, np.sqrt(1 / hidden), (hidden + 1, classes))
        return cls([first, last], [np.zeros_like(first), np.zeros_like(last)])

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the hidden layer and the logits."""
        hidden = np.maximum(_biased(x) @ self.weights[0], 0)
        return hidden, _biased(hidden) @ self.weights[1]

    def step(self, x, target, rate: float, decay: float, twice: bool) -> np.ndarray:
        """Take one step; return the logits before it."""
        hidden, logits = self.forward(x)
        p = _softmax(logits)
        error = (p - target) / len(x)
        if twice:  # through the inner softmax
            outer = _softmax(p) - target
            error = p * (outer - (outer * p).sum(1, keepdims=True)) / len(x)
        back = (error @ self.weights[1][:-1].T) * (hidden > 0)
        gradients = [_biased(x).T @ back, _biased(hidden).T @ error]
        for layer, gradient in enumerate(gradients):
            self.speed[layer] = 0.9 * self.speed[layer] + gradient + decay * self.weights[layer]
            self.weights[layer] = self.weights[layer] - rate * self.speed[layer]
        return logits


def train(run: Run, seed: int, origin: int = 1) -> RunHistory:
    """Train one network and return its history."""
    rng = np.random.default_rng(seed)
    modes = rng.normal(0, 1, (run.classes, MODES, FEATURES)) / np.sqrt(FEATURES) * 4
    shares = run.tail ** (np.arange(run.classes) / max(run.classes - 1, 1))
    x, y = _samples(rng, modes, rng.choice(run.classes, run.train, p=shares / shares.sum()), run)
    val_x, val_y = _samples(rng, modes, rng.integers(0, run.classes, run.val), run)
    val_x = val_x[:, rng.permutation(FEATURES)] if run.shuffled else val_x
    val_y = np.array(run.order)[val_y] if run.order else val_y
    wrong = rng.random(len(y)) < run.wrong
    y = np.where(wrong, rng.integers(0, run.classes, len(y)), y)
    network = Network.drawn(rng, run.hidden, run.classes)
    average = Network([weight.copy() for weight in network.weights])
    rows = []
    for epoch in range(-run.warm, run.epochs):
        way = max(epoch, 0) / (run.planned or run.epochs)
        rate = run.rate * (0.5 * (1 + np.cos(np.pi * way)) if run.cosine else 1.0)
        train_metrics = _epoch(rng, network, average, x, y, rate, run)
        validated = average if run.average else network
        logits = validated.forward(val_x)[1]
        if epoch >= 0:
            val_metrics = _metrics(logits, val_y, "val" in run.softmax_twice)
            rows.append(
                {"epoch": float(epoch + origin), "learning_rate": rate}
                | {f"train_{name}": value for name, value in train_metrics.items()}
                | {f"val_{name}": value for name, value in val_metrics.items()}
            )
    return RunHistory.of("trained", rows)


def _samples(rng, modes, labels, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Draw features around one of the modes of each label; return them with the labels."""
    centres = modes[labels, rng.integers(0, MODES, len(labels))]
    return centres + rng.normal(0, run.spread, centres.shape), labels


def _epoch(rng, network: Network, average: Network, x, y, rate: float, run: Run) -> dict:
    """Train one epoch; return the metrics of its batches, as trainers log them."""
    order = rng.permutation(len(x))
    all_logits, all_labels = [], []
    for start in range(0, len(x), BATCH):
        batch = order[start : start + BATCH]
        inputs = x[batch] + run.blurred * rng.normal(size=(len(batch), FEATURES))
        target = np.eye(run.classes)[y[batch]]
        if run.mixup:
            share, other = rng.beta(0.8, 0.8), rng.permutation(len(batch))
            inputs = share * inputs + (1 - share) * inputs[other]
            target = share * target + (1 - share) * target[other]
        all_logits.append(
            network.step(inputs, target, rate, run.decay, "train" in run.softmax_twice)
        )
        all_labels.append(target)
        average.weights = [
            run.average * old + (1 - run.average) * new
            for old, new in zip(average.weights, network.weights, strict=True)
        ]
    return _metrics(
        np.concatenate(all_logits), np.concatenate(all_labels), "train" in run.softmax_twice
    )


def _metrics(logits: np.ndarray, labels: np.ndarray, twice: bool) -> dict[str, float]:
    """Return loss and accuracy; labels are classes, or shares of classes."""
    p = _softmax(logits)
    target = np.eye(p.shape[1])[labels] if labels.ndim == 1 else labels
    given = _softmax(p) if twice else p
    loss = -(target * np.log(np.maximum(given, 1e-12))).sum(1).mean()
    return {"loss": float(loss), "accuracy": float((p.argmax(1) == target.argmax(1)).mean())}


def _biased(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


# --- cases -------------------------------------------------------------------------------------


def usual(rng: np.random.Generator) -> Run:
    """Draw a run as people have it: small or large, easy or hard, at a low or a high rate."""
    return Run(
        classes=int(rng.choice([4, 10, 20])),
        train=int(rng.choice([300, 1000])),
        val=int(rng.choice([30, 100, 400])),
        epochs=int(rng.integers(10, 40)),
        rate=float(rng.choice([0.01, 0.03, 0.1])),
        cosine=bool(rng.random() < 0.7),
        spread=float(rng.uniform(0.5, 1.2)),
        decay=float(rng.choice([1e-4, 1e-3, 5e-3])),
    )


def _with(**changes: Callable[[np.random.Generator, Run], object]):
    """Return a maker of usual runs with some settings drawn otherwise."""

    def make(rng: np.random.Generator) -> Run:
        run = usual(rng)
        return replace(run, **{name: draw(rng, run) for name, draw in changes.items()})

    return make


def _other_order(rng: np.random.Generator, run: Run) -> tuple[int, ...]:
    """Draw an order in which at most one class in ten keeps its place."""
    order = np.arange(run.classes)
    while (order == np.arange(run.classes)).mean() > 0.1:
        order = rng.permutation(run.classes)
    return tuple(map(int, order))


Maker = Callable[[np.random.Generator], Run]
HEALTHY: dict[str, Maker] = {
    "usual": usual,
    "small val": _with(val=lambda rng, run: int(rng.integers(10, 40))),
    "wrong labels": _with(
        wrong=lambda rng, run: float(rng.uniform(0.2, 0.6)),
        hidden=lambda rng, run: 16,
        decay=lambda rng, run: 5e-3,
    ),
    "augmented": _with(blurred=lambda rng, run: float(rng.uniform(0.5, 2))),
    "mixup": _with(mixup=lambda rng, run: True),
    "fine-grained": _with(
        classes=lambda rng, run: 60,
        rate=lambda rng, run: float(rng.choice([0.005, 0.02])),
        blurred=lambda rng, run: 0.7,
    ),
    "interrupted": _with(
        epochs=lambda rng, run: int(rng.integers(2, 8)), planned=lambda rng, run: 60
    ),
    "pretrained": _with(
        warm=lambda rng, run: 10,
        epochs=lambda rng, run: int(rng.integers(3, 12)),
        rate=lambda rng, run: 0.01,
    ),
    "long": _with(epochs=lambda rng, run: int(rng.integers(40, 90))),
    "long-tailed": _with(
        tail=lambda rng, run: float(rng.choice([0.1, 0.02])), train=lambda rng, run: 1000
    ),
    "averaged": _with(
        average=lambda rng, run: float(rng.choice([0.9, 0.99])),
        epochs=lambda rng, run: int(rng.integers(20, 40)),
    ),
}
FAULTY: dict[str, tuple[str, Maker]] = {
    "other order": ("val_never_learns", _with(order=_other_order)),
    "shifted labels": (
        "val_never_learns",
        _with(order=lambda rng, run: tuple((i + 1) % run.classes for i in range(run.classes))),
    ),
    "other order, small val": (
        "val_never_learns",
        _with(order=_other_order, val=lambda rng, run: int(rng.integers(10, 40))),
    ),
    "other order, pretrained": (
        "val_never_learns",
        _with(
            order=_other_order,
            warm=lambda rng, run: 10,
            epochs=lambda rng, run: int(rng.integers(6, 12)),
        ),
    ),
    "other order, softmax twice": (
        "val_never_learns",
        _with(order=_other_order, softmax_twice=lambda rng, run: ("val",)),
    ),
    "average that hardly moves": (
        "val_never_learns",
        _with(average=lambda rng, run: 0.99999, classes=lambda rng, run: 10),
    ),
    "softmax twice": (
        "double_softmax",
        _with(
            softmax_twice=lambda rng, run: ("train", "val"),
            classes=lambda rng, run: 10,
            spread=lambda rng, run: float(rng.uniform(0.4, 0.8)),
            rate=lambda rng, run: 0.3,
            decay=lambda rng, run: 1e-4,
        ),
    ),
}
WATCHED = frozenset({"val_never_learns", "double_softmax", "near_chance", "not_finite"})
"""Kinds that are wrong in all healthy runs; some of them do overfit, or could be longer."""


def trained(seed: int, each: int) -> Iterator[Case]:
    """Yield `each` histories of every kind of run; half of them with the number of classes."""
    makers = {name: (None, make) for name, make in HEALTHY.items()} | FAULTY
    for number, (name, (kind, make)) in enumerate(makers.items()):
        for index in range(each):
            rng = np.random.default_rng([seed, number, index])
            run = make(rng)
            context = Context(classes=run.classes if index % 2 else None)
            history = train(run, int(rng.integers(2**31)), origin=index % 2)
            yield Case(name, history, context, frozenset({kind} if kind else ()))
