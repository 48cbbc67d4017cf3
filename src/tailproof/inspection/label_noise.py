"""How probable it is that a given label is wrong, from predictions for samples not trained on.

Confident learning (Northcutt, Jiang and Chuang 2021) compares the probability of the given class
with a threshold of that class, the mean over the class's samples. In a class of two images that
mean says nothing, and a network that was trained on a long tail gives rare classes less than their
due. Here a model of the noise with four numbers is fitted to all samples instead, so that rare
classes borrow from the others:

* The true class i has the probability q_i ∝ π_i · exp(β z_i) / n_i^α. z are log-probabilities,
  n the class counts of train, π the class shares in the pool of the sample (a pool may be balanced
  while train is not). β corrects the confidence. α removes the class shares that the experts
  learnt: all of them with cross-entropy (α = β), none with balanced losses (α = 0).
* A label is wrong with the probability ε. A wrong label of class i is j with the probability
  m_j / (1 − m_i), where m_j ∝ (share of j)^ρ: ρ is 0 if all classes attract wrong labels alike, and
  1 if they attract them in proportion to their size.

The four numbers maximise the likelihood of the given labels, with a weak normal prior on each. The
probability that a label is wrong follows by Bayes' rule.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from tailproof.evaluation.probabilities import Prediction

ELEMENTS = 4_000_000
"""Most elements of an array [rows, C]. Four numbers need no more rows for their fit."""

SMOOTHING = 0.5  # samples per class that are added before shares are taken
CENTRES = np.array([0.0, 0.5, -3.0, 0.5])  # of log β, α, logit ε, ρ
SPREADS = np.array([0.5, 1.0, 1.0, 0.5])


class LabelNoise(NamedTuple):
    """The fitted numbers.

    Attributes:
        confidence: β, the factor of the log-probabilities.
        prior: α, the power of the class counts that the probabilities are divided by.
        wrong: ε, the share of wrong labels.
        head: ρ, how much more often large classes attract wrong labels.
    """

    confidence: float
    prior: float
    wrong: float
    head: float


@dataclass(frozen=True)
class LabelDoubts:
    """What the predictions say of the given labels.

    Attributes:
        probability: N probabilities that the given label is wrong.
        suggested: N class indices: the most probable class other than the given one.
        noise: the fitted numbers.
    """

    probability: np.ndarray
    suggested: np.ndarray
    noise: LabelNoise


def doubt_labels(
    prediction: Prediction, train_counts: np.ndarray, pools: np.ndarray | None = None
) -> LabelDoubts:
    """Return the probability that each label is wrong.

    Args:
        prediction: log-probabilities for N samples that were not trained on, up to a constant per
            row, and the given class indices.
        train_counts: samples of each class in train, [C].
        pools: N integers; samples of one pool were drawn with the same class shares. Default: one
            pool.
    """
    labels = prediction.labels
    pools = np.zeros(len(labels), int) if pools is None else pools
    model = _Model.of(labels, train_counts, pools)
    rows = max(1, ELEMENTS // prediction.classes)
    chosen = np.linspace(0, len(labels) - 1, min(rows, len(labels))).astype(int)
    noise = model.fit(prediction.take(chosen).log_p, labels[chosen], pools[chosen])
    probability = np.empty(len(labels))
    suggested = np.empty(len(labels), int)
    for part, log_p in prediction.blocks():
        probability[part], suggested[part] = model.apply(noise, log_p, labels[part], pools[part])
    return LabelDoubts(probability, suggested, noise)


@dataclass(frozen=True)
class _Model:
    """The parts of the noise model that are not fitted.

    Attributes:
        log_train: log class counts of train, of mean 0, [C].
        log_shares: log class shares of each pool, [pools, C].
        log_all: log class shares of all samples, [C].
    """

    log_train: np.ndarray
    log_shares: np.ndarray
    log_all: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, train_counts: np.ndarray, pools: np.ndarray) -> "_Model":
        classes = len(train_counts)
        counts = np.zeros((pools.max() + 1, classes))
        np.add.at(counts, (pools, labels), 1)
        trained = train_counts + SMOOTHING
        expected = SMOOTHING * classes * trained / trained.sum()
        log_train = np.log(trained)
        return cls(
            log_train - log_train.mean(),
            _log_shares(counts + expected),
            _log_shares(counts.sum(axis=0) + SMOOTHING),
        )

    def fit(self, log_p: np.ndarray, labels: np.ndarray, pools: np.ndarray) -> LabelNoise:
        """Maximise the likelihood of the labels times the prior of the four numbers."""
        log_p = log_p.astype(np.float64)

        def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
            likelihood, slope = self.log_likelihood(point, log_p, labels, pools)
            away = (point - CENTRES) / SPREADS
            penalty, penalty_slope = away @ away / 2, away / SPREADS
            return (penalty - likelihood) / len(labels), (penalty_slope - slope) / len(labels)

        point = minimize(objective, CENTRES, jac=True, method="L-BFGS-B").x
        return LabelNoise(
            float(np.exp(point[0])), float(point[1]), float(expit(point[2])), float(point[3])
        )

    def log_likelihood(
        self, point: np.ndarray, log_p: np.ndarray, labels: np.ndarray, pools: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the log-likelihood of the labels, and its derivatives.

        Args:
            point: log β, α, logit ε, ρ.
            log_p: log-probabilities [N, C].
            labels: N class indices.
            pools: N pools.
        """
        beta, alpha, epsilon, rho = np.exp(point[0]), point[1], expit(point[2]), point[3]
        true = _Labelled(self._true(beta, alpha, log_p, pools), labels)
        attraction = np.exp(log_softmax(rho * self.log_all))
        from_class = 1 / (1 - attraction)
        to_label = epsilon * attraction[labels]
        right = (1 - epsilon) * true.of_label
        wrong = to_label * true.others(from_class)
        total = right + wrong

        def along(values: np.ndarray) -> float:
            """Differentiate along logits that grow by `values`, [C] or [N, C]."""
            given = _Labelled(values, labels).of_label
            grown = right * given + to_label * true.others(from_class * values)
            return float((grown / total - true.mean(values)).sum())

        excess = self.log_all - attraction @ self.log_all
        more = wrong * excess[labels]
        more += to_label * true.others(from_class**2 * attraction * excess)
        slope = [
            along(beta * log_p),
            -along(self.log_train),
            ((1 - epsilon) * wrong - epsilon * right) @ (1 / total),
            more @ (1 / total),
        ]
        return float(np.log(total).sum()), np.array(slope)

    def apply(
        self, noise: LabelNoise, log_p: np.ndarray, labels: np.ndarray, pools: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability that each label is wrong, and the most probable other class."""
        shares = self._true(noise.confidence, noise.prior, log_p.astype(np.float64), pools)
        attraction = np.exp(log_softmax(noise.head * self.log_all))
        right = (1 - noise.wrong) * np.take_along_axis(shares, labels[:, None], axis=1)[:, 0]
        others = shares / (1 - attraction)
        np.put_along_axis(others, labels[:, None], 0.0, axis=1)
        wrong = noise.wrong * attraction[labels] * others.sum(axis=1)
        return wrong / (right + wrong), others.argmax(axis=1)

    def _true(self, beta: float, alpha: float, log_p: np.ndarray, pools: np.ndarray) -> np.ndarray:
        """Return the probabilities of the true classes, [N, C]."""
        logits = beta * log_p - alpha * self.log_train + self.log_shares[pools]
        return np.maximum(np.exp(log_softmax(logits, axis=1)), np.finfo(np.float64).tiny)


class _Labelled:
    """Values [N, C] or [C] of the classes, at the labels and elsewhere."""

    def __init__(self, values: np.ndarray, labels: np.ndarray) -> None:
        self._values, self._labels = values, labels

    @property
    def of_label(self) -> np.ndarray:
        """The value of each sample's label, [N]."""
        if self._values.ndim == 1:
            return self._values[self._labels]
        return np.take_along_axis(self._values, self._labels[:, None], axis=1)[:, 0]

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum over classes of value times weight, [N]."""
        if weights.ndim == 1:
            return self._values @ weights
        return np.einsum("nc,nc->n", self._values, weights)

    def others(self, weights: np.ndarray) -> np.ndarray:
        """Return the sum over all classes but the label of value times weight, [N]."""
        return self.mean(weights) - self.of_label * _Labelled(weights, self._labels).of_label


def _log_shares(counts: np.ndarray) -> np.ndarray:
    return np.log(counts / counts.sum(axis=-1, keepdims=True))
