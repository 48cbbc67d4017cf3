"""Ensembles of experts with the same seed."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.logits import BLOCK


def combine(name: str, logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return log-probabilities [N, C] of an ensemble from the logits of E experts on N samples.

    Args:
        name: mean_logits (softmax of the mean logits), mean_probabilities (mean of the softmaxes)
            or stacked (softmax of the weighted sum of logits).
        logits: [E, N, C].
        weights: [E], from `stack`; only stacked uses them.
    """
    if name == "mean_logits":
        return log_probabilities(logits.mean(axis=0, dtype=np.float64))
    if name == "mean_probabilities":
        log_p = np.stack([log_probabilities(of_expert) for of_expert in logits])
        largest = log_p.max(axis=0)
        return largest + np.log(np.exp(log_p - largest).mean(axis=0))
    return log_probabilities(np.tensordot(weights, logits, 1))


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
    experts, samples, classes = logits.shape
    step = max(1, BLOCK // classes)

    def objective(a: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = 0.0, np.zeros(experts)
        for start in range(0, samples, step):
            part = logits[:, start : start + step].astype(np.float64)
            truth = part[:, np.arange(part.shape[1]), labels[start : start + step]]
            mixed = np.tensordot(a, part, 1)
            loss += (logsumexp(mixed, axis=1) - a @ truth).sum()
            slope += np.einsum("nc,enc->e", softmax(mixed, axis=1), part) - truth.sum(axis=1)
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
