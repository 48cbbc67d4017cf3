"""Detects recipes that train the same function although they are written differently."""

from tailproof.config.augmentation import Augmentation
from tailproof.config.recipe import Recipe
from tailproof.losses import CrossEntropy


def bare_phases(recipe: Recipe) -> list[int]:
    """Return the numbers (from 1) of phases without augmentation, if other phases have some.

    A final phase at a larger size still trains (Touvron et al. 2019, FixRes); without augmentation
    it overfits the training images.
    """
    bare = [phase.augmentation == Augmentation() for phase in recipe.timeline]
    return [] if all(bare) else [number for number, is_bare in enumerate(bare, start=1) if is_bare]


def same_function(recipe: Recipe, *, level: bool = False) -> Recipe:
    """Return the recipe with its losses in canonical form; a head that is fitted has none.

    Args:
        recipe: the recipe of an expert.
        level: whether all classes have the same number of training samples. Every sampler then
            draws each sample once.
    """
    drawn = {"sampler": "instance"} if level else {}
    phases = [
        phase.model_copy(update={"loss": phase.loss and phase.loss.canonical(level=level)})
        for phase in recipe.phases
    ]
    loss = CrossEntropy() if recipe.is_fitted else recipe.loss.canonical(level=level)
    return recipe.model_copy(update={"loss": loss, "phases": phases, **drawn})
