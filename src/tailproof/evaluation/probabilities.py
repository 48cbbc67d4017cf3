"""Predicted probabilities, in memory or block by block, and what metrics need of each sample."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.logits import BLOCK, LogitsFile, fitted_rows

SCORES = "scores"

COPIES = 8
"""How much memory the fit of a prior's strength takes, in single-precision logits."""

Array = np.ndarray
Blocks = Iterator[tuple[slice, Array]]
"""Row ranges with their values [n, C], in order."""


class Collector(Protocol):
    """Gathers numbers of samples from blocks of probabilities."""

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take the log-probabilities and the probabilities of some samples, [n, C]."""


@dataclass(frozen=True)
class Streamed:
    """Log-probabilities that memory does not hold.

    Attributes:
        classes: C.
        read: yields them from the first to the last row, each time that it is called.
    """

    classes: int
    read: Callable[[], Blocks]


class SampleScores:
    """What most metrics need of each sample, N numbers each.

    Attributes:
        predicted: the most probable class; on a tie, the first.
        confidence: the largest probability.
        log_true: the log-probability of the true class.
        squares: the sum of the squared probabilities.
        place: the number of classes ranked before the true one; ties keep the class order.
    """

    def __init__(self, labels: Array) -> None:
        self._labels = labels
        self.predicted, self.place = (np.zeros(len(labels), int) for _ in range(2))
        self.confidence, self.log_true, self.squares = (np.zeros(len(labels)) for _ in range(3))

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take some samples."""
        labels = self._labels[rows, None]
        self.predicted[rows] = log_p.argmax(axis=1)
        self.confidence[rows] = p.max(axis=1)
        self.squares[rows] = (p**2).sum(axis=1)
        self.log_true[rows] = np.take_along_axis(log_p, labels, axis=1)[:, 0]
        self.place[rows] = places(log_p, labels[:, 0])


class Prediction:
    """Log-probabilities and true labels. What metrics need of each sample is computed once.

    Args:
        log_p: float64 [N, C], or a source that yields them block by block.
        labels: N class indices.
    """

    def __init__(self, log_p: Array | Streamed, labels: Array) -> None:
        self._source = log_p
        self.labels = labels
        self.classes = log_p.classes if isinstance(log_p, Streamed) else log_p.shape[1]
        self._collected: dict[Hashable, Any] = {}

    @classmethod
    def from_logits(cls, logits: Array, labels: Array) -> "Prediction":
        """Apply the softmax to [N, C] logits in double precision."""
        return cls(log_probabilities(logits), labels)

    def blocks(self) -> Blocks:
        """Yield row ranges and their log-probabilities, float64 [n, C], in order."""
        if isinstance(self._source, Streamed):
            yield from self._source.read()
            return
        step = max(1, BLOCK // self.classes)
        for start in range(0, len(self.labels), step):
            rows = slice(start, min(start + step, len(self.labels)))
            yield rows, self._source[rows]

    def collect(self, collectors: Mapping[Any, Collector], once: Iterable[Collector] = ()) -> None:
        """Give all blocks to collectors in one pass.

        Args:
            collectors: those that are kept, by key, for `collected`.
            once: others.
        """
        if SCORES not in self._collected:
            collectors = {SCORES: SampleScores(self.labels), **collectors}
        every = [*collectors.values(), *once]
        for rows, log_p in self.blocks():
            p = np.exp(log_p)
            for collector in every:
                collector.add(rows, log_p, p)
        self._collected |= collectors

    def collected(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the collector of a key; the first time, make one and collect.

        Args:
            key: what the collector depends on, other than the prediction.
            make: makes an empty one.
        """
        if key not in self._collected:
            self.collect({key: make()})
        return self._collected[key]

    @property
    def scores(self) -> SampleScores:
        """What most metrics need of each sample."""
        return self.collected(SCORES, lambda: SampleScores(self.labels))

    def take(self, rows: Array) -> "Prediction":
        """Return the prediction of some samples, in memory.

        Args:
            rows: ascending row numbers.
        """
        log_p = np.empty((len(rows), self.classes))
        for where, block in self.blocks():
            first, last = np.searchsorted(rows, (where.start, where.stop))
            log_p[first:last] = block[rows[first:last] - where.start]
        return Prediction(log_p, self.labels[rows])

    @property
    def log_p(self) -> Array:
        """All log-probabilities [N, C], in memory."""
        if not isinstance(self._source, Streamed):
            return self._source
        return self.take(np.arange(len(self.labels))).log_p

    @property
    def p(self) -> Array:
        """All probabilities [N, C], in memory."""
        return np.exp(self.log_p)

    @property
    def predicted(self) -> Array:
        """The most probable class of each sample; on a tie, the first."""
        return self.scores.predicted

    @property
    def confidence(self) -> Array:
        """The largest probability of each sample."""
        return self.scores.confidence

    @property
    def log_true(self) -> Array:
        """The log-probability of the true class of each sample."""
        return self.scores.log_true

    @property
    def correct(self) -> Array:
        """Whether the most probable class is the true one, [N] boolean."""
        return self.predicted == self.labels

    def rank_of_truth(self) -> Array:
        """Return the number of classes ranked before the true one; ties keep the class order."""
        return self.scores.place


def places(log_p: Array, labels: Array) -> Array:
    """Return the number of classes ranked before the label, [N]; ties keep the class order."""
    truth = np.take_along_axis(log_p, labels[:, None], axis=1)
    earlier = np.arange(log_p.shape[1]) < labels[:, None]
    return ((log_p > truth) | ((log_p == truth) & earlier)).sum(axis=1)


def of_rank(logits: LogitsFile, rank: str) -> Blocks:
    """Yield the logits of a rank."""
    for rows, block in logits.blocks(rank):
        yield rows, block[rank]


def streamed(classes: int, logits: Callable[[], Blocks], labels: Array) -> Prediction:
    """Return the prediction of logits that are read block by block."""

    def read() -> Blocks:
        for rows, block in logits():
            yield rows, log_probabilities(block)

    return Prediction(Streamed(classes, read), labels)


def evenly(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Return predictions in memory for all samples, or for as many as one number needs."""
    samples = sum(len(own.labels) for own in predictions)
    rows = fitted_rows(samples, COPIES * predictions[0].classes)
    taken, start = [], 0
    for own in predictions:
        stop = start + len(own.labels)
        taken.append(own.take(rows[(rows >= start) & (rows < stop)] - start))
        start = stop
    return taken
