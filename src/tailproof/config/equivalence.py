"""What a recipe comes to, however it is worded."""

from tailproof.config.recipe import Augmentation, Recipe


def bare_phases(recipe: Recipe) -> list[int]:
    """Return the phases, counted from 1, without augmentation beside others with some.

    A larger size at the end is to train on (Touvron et al. 2019, FixRes); with the transforms of
    evaluation such a phase learns its training images by heart.
    """
    bare = [phase.augmentation == Augmentation() for phase in recipe.timeline]
    return [] if all(bare) else [number for number, each in enumerate(bare, start=1) if each]


def same_function(recipe: Recipe, *, level: bool = False) -> Recipe:
    """Return the recipe with its loss in one canonical form.

    Args:
        recipe: how one expert is trained.
        level: all classes have the same number of training samples.
    """
    return recipe.model_copy(update={"loss": recipe.loss.canonical(level=level)})
