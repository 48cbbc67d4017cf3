"""The losses of head and tail samples before training, as a check of rebalancing losses."""

import numpy as np
import torch
from torch.nn import functional

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.losses import Loss
from tailproof.preflight.checks.rebalancing import SOME_TAIL, weighed_tail
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.runtime.errors import TailproofError

DRAWS = 2000
VALUES = 4_000_000  # maximum number of random logits


def untrained_losses(
    recipe: Recipe, counts: dict[str, int], classes: list[str]
) -> dict[str, dict[str, float]]:
    """Return the mean loss per sample of the given classes at zero logits and at random logits.

    Random logits are standard normal: 2,000 draws with a fixed seed, fewer for more than 2,000
    classes.

    Args:
        recipe: the recipe with the loss.
        counts: number of training samples per class.
        classes: the classes to return.
    """
    sizes = torch.tensor(list(counts.values())).clamp_min(1)
    draws = max(16, min(DRAWS, VALUES // len(sizes)))
    logits = {
        "zero": np.zeros((1, len(sizes))),
        "random": np.random.default_rng(0).standard_normal((draws, len(sizes))),
    }
    values = _class_values(recipe.loss, sizes)
    columns = {name: list(counts).index(name) for name in classes}
    return {
        kind: {
            name: _loss_of_class(recipe.loss, torch.from_numpy(drawn), column, values)
            for name, column in columns.items()
        }
        for kind, drawn in logits.items()
    }


def _class_values(loss: Loss, sizes: torch.Tensor) -> torch.Tensor | None:
    """Return the class values in float64, without class weights that do not fit the classes."""
    try:
        values = loss.class_values(sizes)
    except TailproofError:
        values = loss.model_copy(update={"class_weights": None}).class_values(sizes)
    return None if values is None else values.double()


def _loss_of_class(
    loss: Loss, logits: torch.Tensor, column: int, values: torch.Tensor | None
) -> float:
    """Return the mean contribution of a sample of a class to the summed loss, over N logits."""
    target = torch.full((len(logits),), column)
    total = loss.mean(functional, logits, target, values) * loss.reduction_weight(target, values)
    return float(total) / len(logits)


def loss_effect(facts: ExperimentFacts) -> list[Finding]:
    """Report the effect of rebalancing losses on head and tail, next to that of other losses."""
    head, tail = facts.head, facts.tail
    if facts.imbalance <= SOME_TAIL or head == tail:
        return []
    losses = {}
    for name, recipe in facts.recipes.items():
        untrained = untrained_losses(recipe, facts.train, [head, tail])["random"]
        losses[name] = {"head": untrained[head], "tail": untrained[tail]}
    return weighed_tail(facts, losses)
