"""From calibrated probabilities to answers: classes, decisions and promises, as a table."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray

PROBABILITY, DECISION = "probability", "decision"
WORDS = {True: "accept", False: "reject"}
UNKNOWN = "unknown"


class Decision(Protocol):
    """Chooses the class of the target, and accepts it or not."""

    @property
    def rule(self) -> str:
        """What decides, in words."""

    def __call__(self, log_p: Array) -> tuple[Array, Array]:
        """Return the class [N] and whether it is accepted [N], of log-probabilities [N, C]."""


class Columns(Protocol):
    """Further columns of the table, made of the target's log-probabilities [N, C]."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""

    def __call__(self, log_p: Array) -> Sequence[tuple[Any, ...]]:
        """Return the cells of each row."""


class Answers(NamedTuple):
    """The answers for N images, or groups of images.

    Attributes:
        classes: the predicted class of each rank, the target's first. The rule chooses the class of
            the target; at the other ranks it is the most probable one.
        probability: [N], probability of the target's class.
        accepted: [N], whether the rule accepts the prediction.
        promises: the columns of promises.
        probabilities: [N, C] of each rank, the target's first.
        names: the C class names of each rank.
        unknown: [N], whether an image is called unknown, which then is not accepted.
    """

    classes: dict[str, list[str]]
    probability: Array
    accepted: Array
    promises: dict[str, list[Any]]
    probabilities: dict[str, Array]
    names: dict[str, list[str]]
    unknown: Array

    @property
    def probability_names(self) -> list[str]:
        """The names of the columns of all probabilities: ``RANK=CLASS``."""
        return [f"{rank}={name}" for rank, names in self.names.items() for name in names]

    def columns(self) -> list[tuple[str, Sequence[Any]]]:
        """Return the columns of the table by name, without those of all probabilities."""
        (target, chosen), *others = self.classes.items()
        decided = zip(self.unknown.tolist(), self.accepted.tolist(), strict=True)
        return [
            (target, chosen),
            (PROBABILITY, self.probability.tolist()),
            (DECISION, [UNKNOWN if own else WORDS[accepted] for own, accepted in decided]),
            *others,
            *self.promises.items(),
        ]


def answer(
    log_p: dict[str, Array],
    classes: dict[str, list[str]],
    decide: Decision,
    promises: Sequence[Columns] = (),
    unknown: Array | None = None,
) -> Answers:
    """Return the answers for N images, or groups of images.

    Args:
        log_p: calibrated log-probabilities [N, C] of each rank, the target's first.
        classes: class names of each rank.
        decide: chooses the class of the target, and accepts it or not.
        promises: what makes further columns.
        unknown: which images are called unknown, [N]; None for none of them.
    """
    target = next(iter(log_p))
    chosen, accepted = decide(log_p[target])
    predicted = {rank: values.argmax(axis=1) for rank, values in log_p.items()}
    predicted[target] = chosen
    p = {rank: np.exp(values) for rank, values in log_p.items()}
    cells: dict[str, list[Any]] = {}
    unknown = np.zeros(len(chosen), bool) if unknown is None else unknown
    for make in promises:
        rows = make(log_p[target])
        cells |= {name: [row[place] for row in rows] for place, name in enumerate(make.names)}
    return Answers(
        {rank: [classes[rank][index] for index in rows] for rank, rows in predicted.items()},
        p[target][np.arange(len(chosen)), chosen],
        accepted & ~unknown,
        cells,
        p,
        {rank: classes[rank] for rank in log_p},
        unknown,
    )
