"""Predicted probabilities, and quantities derived from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailproof.calibration.metrics import log_probabilities


@dataclass(frozen=True)
class Prediction:
    """Log-probabilities and true labels.

    Attributes:
        log_p: float64 [N, C].
        labels: N class indices.
    """

    log_p: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_logits(cls, logits: np.ndarray, labels: np.ndarray) -> "Prediction":
        """Apply the softmax to [N, C] logits in double precision."""
        return cls(log_probabilities(logits), labels)

    @cached_property
    def p(self) -> np.ndarray:
        """Probabilities [N, C]."""
        return np.exp(self.log_p)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class of each sample; on a tie, the first."""
        return self.log_p.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability of each sample."""
        return self.p.max(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the most probable class is the true one, [N] boolean."""
        return self.predicted == self.labels

    def rank_of_truth(self) -> np.ndarray:
        """Return the number of classes ranked before the true one; ties keep the class order."""
        truth = np.take_along_axis(self.log_p, self.labels[:, None], axis=1)
        earlier = np.arange(self.log_p.shape[1]) < self.labels[:, None]
        return ((self.log_p > truth) | ((self.log_p == truth) & earlier)).sum(axis=1)
