"""Ensembles of experts with the same seed."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

from tailproof.evaluation.probabilities import Prediction


def combine(name: str, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Prediction:
    """Combine the calibrated logits of E experts on N samples.

    Args:
        name: mean_logits (softmax of the mean logits), mean_probabilities (mean of the softmaxes)
            or stacked (softmax of the weighted sum of logits).
        logits: [E, N, C].
        labels: N class indices.
        weights: [E], from `stack`; only stacked uses them.
    """
    if name == "mean_logits":
        return Prediction.from_logits(logits.mean(axis=0, dtype=np.float64), labels)
    if name == "mean_probabilities":
        log_p = log_softmax(logits.astype(np.float64), axis=2)
        return Prediction(logsumexp(log_p, axis=0) - np.log(len(logits)), labels)
    return Prediction.from_logits(np.tensordot(weights, logits, 1), labels)


def stack(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit the weights a_e ≥ 0 of softmax(Σ_e a_e · z_e).

    The objective is the summed NLL plus Σ_e (a_e − 1/E)² / 2: a normal prior of standard deviation
    1 around the mean of logits. For a few hundred samples the prior is negligible. If all of a few
    samples are classified correctly, the NLL alone would send the weights to infinity. The
    objective is strictly convex in a (a log-sum-exp of linear functions, minus a linear function,
    plus squares), so L-BFGS-B finds the unique minimum. The weights need not sum to 1: their sum
    acts as an inverse temperature.

    Args:
        logits: [E, N, C], calibrated logits of the split tune.
        labels: N class indices; every sample counts the same.
    """
    experts, samples, _ = logits.shape
    logits = logits.astype(np.float64)
    truth = logits[:, np.arange(samples), labels]

    def objective(a: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.tensordot(a, logits, 1)
        loss = (logsumexp(mixed, axis=1) - a @ truth).sum()
        slope = np.einsum("nc,enc->e", softmax(mixed, axis=1), logits) - truth.sum(axis=1)
        away = a - 1 / experts
        return (loss + away @ away / 2) / samples, (slope + away) / samples

    optimum = minimize(
        objective,
        np.full(experts, 1 / experts),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * experts,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    )
    return optimum.x
