"""What a recipe comes to, however it is worded."""

from typing import Any

from tailproof.config.recipe import Augmentation, Recipe


def bare_phases(recipe: Recipe) -> list[int]:
    """Return the phases, counted from 1, without augmentation beside others with some.

    A larger size at the end is to train on (Touvron et al. 2019, FixRes); with the transforms of
    evaluation such a phase learns its training images by heart.
    """
    bare = [phase.augmentation == Augmentation() for phase in recipe.timeline]
    return [] if all(bare) else [number for number, each in enumerate(bare, start=1) if each]


def same_function(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe with its loss in one canonical form.

    balanced_softmax is logit_adjustment at tau 1 up to a constant. logit_adjustment at tau 0 and
    focal at gamma 0 are cross_entropy.
    """
    loss = dict(recipe["loss"])
    plain = {"name": "cross_entropy", "class_weights": None, "label_smoothing": 0.0}
    if loss["name"] == "balanced_softmax":
        loss = {"name": "logit_adjustment", "tau": 1.0}
    if loss["name"] == "logit_adjustment" and loss["tau"] == 0:
        loss = plain
    if loss["name"] == "focal" and loss["gamma"] == 0:
        loss = {**plain, "class_weights": loss["class_weights"]}
    return {**recipe, "loss": loss}
