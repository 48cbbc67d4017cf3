"""Fits all rules of a method on tune and measures them on dev and test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.evaluation import bootstrap
from tailproof.evaluation.prior_shift import Strength, fit_prior_strength, prior_shares
from tailproof.evaluation.probabilities import Prediction, evenly
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS, Task
from tailproof.guarantees.context_prior import Context
from tailproof.guarantees.measure import measure_guarantees
from tailproof.guarantees.rules import Classes, Rules, fit_guarantees
from tailproof.guarantees.summary import Method, summarise

PRIOR_FROM = ("val", "calib")
"""The splits that show which class shares a softmax assumes; no rule is fitted on them."""

Array = np.ndarray


@dataclass(frozen=True)
class Samples:
    """The weights of a split: bootstrap counts [1 + B, N], and weights by weighting [N].

    B is 0 for tune, on which nothing is measured.
    """

    counts: Array
    weights: Mapping[str, Array]

    @classmethod
    def of(cls, weights: Mapping[str, Array], split: str, evaluation: Evaluation) -> "Samples":
        """Draw the resamples of a split."""
        replicates = 0 if split == FITTED_ON else evaluation.bootstrap
        count = len(weights["plain"])
        return cls(bootstrap.resamples(count, replicates, evaluation.seed, split), weights)

    @property
    def effective(self) -> dict[str, float]:
        """Return the number of equally weighted samples with as much information (Kish 1965)."""
        return {
            name: float(weights.sum() ** 2 / (weights**2).sum())
            for name, weights in self.weights.items()
        }


@dataclass(frozen=True)
class Unit:
    """What promises are about: single samples, or groups of samples.

    Attributes:
        rows: {split: weights of its samples or groups} for tune, dev and test.
        class_weights: {weighting: weight of each class [C] in the fit; None for ones}.
        codes: {split: the code of each sample or group in each column of context}.
    """

    rows: Mapping[str, Samples]
    class_weights: Mapping[str, Array | None]
    codes: Mapping[str, Sequence[Array]]

    @property
    def effective(self) -> dict[str, dict[str, float]]:
        """Return how many equally weighted samples each split counts as, by weighting."""
        return {split: own.effective for split, own in self.rows.items()}


@dataclass(frozen=True)
class Setting:
    """What the promises of all methods have in common.

    Attributes:
        classes: the classes.
        config: the configuration section guarantees.
        evaluation: the configuration section evaluation.
        task: the classification task.
        context: the columns of context; None without any.
    """

    classes: Classes
    config: Guarantees
    evaluation: Evaluation
    task: Task
    context: Context | None


def fit_and_measure(method: Method, unit: Unit, setting: Setting) -> dict[str, Any]:
    """Fill the method's strength, rules and values; return its part of guarantees.json."""
    classes, config = setting.classes, setting.config
    for seed, predictions in method.predictions.items():
        strength, rules = fit_predictions(predictions, classes, config, unit.class_weights)
        method.strength[seed], method.rules[seed] = strength, rules
        for split in REPORTED_SPLITS:
            samples = unit.rows[split]
            measured = measure_guarantees(
                rules, predictions[split], classes, samples.counts, samples.weights
            )
            kept = method.values.setdefault(split, {})
            for key, rows in measured.items():
                kept.setdefault(key, []).append(rows)
    return summarise(method, config, classes, unit.effective)


def fit_predictions(
    predictions: Mapping[str, Prediction],
    classes: Classes,
    config: Guarantees,
    class_weights: Mapping[str, Array | None],
) -> tuple[Strength, Rules]:
    """Return how strongly predictions assume the training shares, and every rule.

    Args:
        predictions: of val, calib and tune.
        classes: the classes.
        config: the promises.
        class_weights: {weighting: weight of each class [C]; None for ones}.
    """
    seen = evenly([predictions[split] for split in PRIOR_FROM])
    strength = fit_prior_strength(
        np.concatenate([own.log_p for own in seen]),
        np.concatenate([own.labels for own in seen]),
        classes.train_counts,
    )
    shares = prior_shares(classes.train_counts, strength.value)
    return strength, fit_guarantees(predictions[FITTED_ON], classes, shares, config, class_weights)
