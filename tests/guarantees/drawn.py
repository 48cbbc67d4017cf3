"""Predictions that are drawn from a known posterior: C Gaussian classes, long-tailed."""

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation.class_groups import class_groups
from tailproof.evaluation.probabilities import Prediction
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes

COUNTS = np.array([400, 200, 100, 50, 25, 12, 6, 3])
GENUS = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def classes(counts=COUNTS, above=GENUS) -> Classes:
    names = [f"species {index}" for index in range(len(counts))]
    genera = [f"genus {index}" for index in range(max(above) + 1)]
    ranks = [Rank("species", names, np.arange(len(counts))), Rank("genus", genera, above)]
    return Classes(names, counts, class_groups(counts, Evaluation()), ranks)


def draw(samples: int, seed, *, shares=None, sharp: float = 1.0, strength: float = 1.0):
    """A prediction whose softmax is the posterior under shares of train to a power."""
    rng = np.random.default_rng(seed)
    prior = COUNTS / COUNTS.sum()
    means = 0.8 * np.random.default_rng(7).normal(size=(len(COUNTS), 4)) + 3 * np.eye(3, 4)[GENUS]
    labels = rng.choice(len(COUNTS), size=samples, p=prior if shares is None else shares)
    x = means[labels] + rng.normal(size=(samples, 4))
    logits = strength * np.log(prior) - ((x[:, None] - means) ** 2).sum(axis=2) / 2
    return Prediction.from_logits(sharp * logits, labels)
