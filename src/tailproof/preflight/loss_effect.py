"""What a loss makes of head and tail before anything is learnt, without torch."""

from typing import Any

import numpy as np

from tailproof.config.recipe import Recipe

DRAWS = 2000
VALUES = 4_000_000  # random logits at most


def rebalances(loss: dict[str, Any]) -> bool:
    """Tell whether a loss counts rare classes for more than their samples."""
    if loss["name"] == "logit_adjustment":
        return loss["tau"] > 0
    return loss["name"] == "balanced_softmax" or loss.get("class_weights") is not None


def effect(recipe: Recipe, counts: dict[str, int], classes: list[str]) -> dict[str, Any]:
    """Return the mean loss of a sample of some classes at logits of 0 and at random ones.

    Random logits are standard normal, 2,000 draws of one seed, fewer where there are more than
    2,000 classes.

    Args:
        recipe: with its loss.
        counts: training samples of every class.
        classes: those asked for.
    """
    loss = recipe.loss.model_dump(mode="json")
    sizes = np.maximum(np.array(list(counts.values()), float), 1)
    draws = max(16, min(DRAWS, VALUES // len(sizes)))
    logits = {
        "zero": np.zeros((1, len(sizes))),
        "random": np.random.default_rng(0).standard_normal((draws, len(sizes))),
    }
    columns = [list(counts).index(name) for name in classes]
    return {
        kind: dict(zip(classes, _losses(loss, sizes, each, columns), strict=True))
        for kind, each in logits.items()
    }


def _losses(
    loss: dict[str, Any], sizes: np.ndarray, logits: np.ndarray, columns: list[int]
) -> list[float]:
    """Return the mean loss [len(columns)] of logits [N, C], as `tailproof.losses` has it."""
    tau = {"balanced_softmax": 1.0}.get(loss["name"], loss.get("tau", 0.0))
    shifted = logits + tau * np.log(sizes / sizes.sum())
    top = shifted.max(axis=1, keepdims=True)
    log_p = shifted - top - np.log(np.exp(shifted - top).sum(axis=1, keepdims=True))
    own = -log_p[:, columns]
    if loss["name"] == "focal":
        own = own * (-np.expm1(-own)) ** loss["gamma"]
    smooth, weights = loss.get("label_smoothing", 0.0), _weights(loss, sizes)
    spread = (log_p * weights).mean(axis=1, keepdims=True)
    own = (1 - smooth) * own * weights[columns] - smooth * spread
    return [float(each) for each in own.mean(axis=0)]


def _weights(loss: dict[str, Any], sizes: np.ndarray) -> np.ndarray:
    given = loss.get("class_weights")
    if given == "balanced":
        return sizes.sum() / (len(sizes) * sizes)
    if given and len(given) == len(sizes):
        return np.array(given)
    return np.ones(len(sizes))
