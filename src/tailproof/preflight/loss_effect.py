"""What the losses that are trained make of head and tail before anything is learnt."""

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
VALUES = 4_000_000  # random logits at most


def untrained_losses(
    recipe: Recipe, counts: dict[str, int], classes: list[str]
) -> dict[str, dict[str, float]]:
    """Return the mean loss of a sample of some classes at logits of 0 and at random ones.

    Random logits are standard normal, 2,000 draws of one seed, fewer where there are more than
    2,000 classes.

    Args:
        recipe: with its loss.
        counts: training samples of every class.
        classes: those asked for.
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
    """Return them in float64; weights for other classes weigh nothing, `outputs_differ` says so."""
    try:
        values = loss.class_values(sizes)
    except TailproofError:
        return None
    return None if values is None else values.double()


def _loss_of_class(
    loss: Loss, logits: torch.Tensor, column: int, values: torch.Tensor | None
) -> float:
    """Return the mean over N logits of what a sample of a class adds to the sum of the losses."""
    target = torch.full((len(logits),), column)
    total = loss.mean(functional, logits, target, values) * loss.reduction_weight(target, values)
    return float(total) / len(logits)


def loss_effect(facts: ExperimentFacts) -> list[Finding]:
    """Report what the rebalancing losses do to head and tail, next to those that do nothing."""
    head, tail = facts.head, facts.tail
    if facts.imbalance <= SOME_TAIL or head == tail:
        return []
    losses = {}
    for name, recipe in facts.recipes.items():
        untrained = untrained_losses(recipe, facts.train, [head, tail])["random"]
        losses[name] = {"head": untrained[head], "tail": untrained[tail]}
    return weighed_tail(facts, losses)
