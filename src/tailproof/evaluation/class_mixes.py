"""Accuracy under other class mixes: long tails in both directions.

A method that is best on one class mix need not be best on another. The mixes are those of the
literature (LADE, Hong et al. 2021, "Disentangling label distribution for long-tailed visual
recognition"; SADE, Zhang et al. 2022; BalPoE, Sánchez Aimar et al. 2023): with the classes in the
order of their training samples, position i of C has a share in proportion to imbalance^(−i/(C−1))
forward and imbalance^(i/(C−1)) backward. Those papers leave out test samples; here each counts by
the ratio of its class's shares, which has the same mean and less noise.

Each method is measured as it is, and with the mix known: its probabilities are then multiplied by
the share of each class over the share that they assume, as `tailproof predict --prior` does. What
they assume is fitted on tune.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tailproof.evaluation import bootstrap
from tailproof.evaluation.method import Method
from tailproof.evaluation.prior_shift import fit_prior_strength, prior_shares
from tailproof.evaluation.probabilities import Prediction, evenly
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.evaluation.weighted_samples import ratio

IMBALANCES = (50, 25, 10, 5, 2)
UNIFORM = "uniform"
MIXES = {
    **{f"forward {imbalance}": float(imbalance) for imbalance in IMBALANCES},
    UNIFORM: 1.0,
    **{f"backward {imbalance}": 1 / imbalance for imbalance in reversed(IMBALANCES)},
}
"""The share of the class with the most training samples over that of the one with the fewest."""

PLAIN, KNOWN, GAINED = "top1", "known_top1", "gained_top1"
"""The accuracy as it is, with the mix known, and what is gained."""

_BLOCK = 2**22

Array = np.ndarray
Rows = dict[str, dict[str, list[Array]]]


def mix_shares(train_counts: Array, first_over_last: float) -> Array:
    """Return the class shares [C] of a mix; equally frequent classes keep their order.

    Args:
        train_counts: training samples of each class, [C].
        first_over_last: share of the most frequent class in train over that of the rarest.
    """
    classes = len(train_counts)
    position = np.empty(classes)
    position[np.argsort(-train_counts, kind="stable")] = np.arange(classes)
    shares = first_over_last ** (-position / max(classes - 1, 1))
    return shares / shares.sum()


def assumed_shares(method: Method, task: Task) -> dict[str, Array]:
    """Return the class shares [C] that the probabilities of each seed assume, fitted on tune."""
    shares = {}
    for seed, predictions in method.predictions.items():
        (seen,) = evenly([predictions[FITTED_ON]])
        strength = fit_prior_strength(seen.log_p, seen.labels, task.train_counts).value
        shares[seed] = prior_shares(task.train_counts, strength)
    return shares


def measure_class_mixes(
    method: Method, split: str, counts: Array, task: Task, assumed: Mapping[str, Array]
) -> Rows:
    """Return the top-1 accuracy under every mix: {mix: {PLAIN or KNOWN: [1 + B] of each seed}}.

    Args:
        method: an expert or ensemble.
        split: the split to measure on. A class without samples there is left out of the mixes.
        counts: integers [1 + B, N], how often each resample holds each sample.
        task: the classification task.
        assumed: from `assumed_shares`.
    """
    values: Rows = {mix: {PLAIN: [], KNOWN: []} for mix in MIXES}
    shares = np.array([mix_shares(task.train_counts, ends) for ends in MIXES.values()])
    for seed, predictions in method.predictions.items():
        prediction = predictions[split]
        correct = {
            PLAIN: np.broadcast_to(prediction.correct, (len(MIXES), len(prediction.labels))),
            KNOWN: _correct(prediction, np.log(shares / assumed[seed])),
        }
        observed = np.bincount(prediction.labels, minlength=len(assumed[seed]))
        weights = (shares / np.maximum(observed, 1))[:, prediction.labels]
        for kind, right in correct.items():
            for mix, rows in zip(MIXES, _accuracies(counts, weights, right), strict=True):
                values[mix][kind].append(rows)
    return values


def _correct(prediction: Prediction, shifts: Array) -> Array:
    """Return whether each sample is right with log-probabilities moved by M shifts, [M, N]."""
    correct = np.zeros((len(shifts), len(prediction.labels)), bool)
    for rows, log_p in prediction.blocks():
        for shift, right in zip(shifts, correct, strict=True):
            right[rows] = (log_p + shift).argmax(axis=1) == prediction.labels[rows]
    return correct


def _accuracies(counts: Array, weights: Array, correct: Array) -> Array:
    """Return the weighted accuracy [M, 1 + B] for M rows of weights and of hits [M, N]."""
    step = max(1, _BLOCK // counts.shape[1])
    parts = []
    for start in range(0, len(counts), step):
        drawn = counts[start : start + step].astype(float)
        parts.append(ratio(drawn @ (weights * correct).T, drawn @ weights.T))
    return np.concatenate(parts).T


def summarise_class_mixes(values: Rows) -> dict[str, Any]:
    """Return {mix: {metric: mean over seeds with its interval, and what is gained}}."""
    return {
        mix: {
            **{kind: bootstrap.over_seeds(rows) for kind, rows in kinds.items()},
            GAINED: bootstrap.difference(kinds[KNOWN], kinds[PLAIN]),
        }
        for mix, kinds in values.items()
    }


def class_mix_rows(mixes: dict[str, dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of class_mixes.csv.

    Args:
        mixes: {split: {method: what `summarise_class_mixes` returns}}.
    """
    for split, methods in mixes.items():
        for method, measured in methods.items():
            for mix, kinds in measured.items():
                for kind in (PLAIN, KNOWN):
                    yield (split, method, mix, kind, *kinds[kind].values())
