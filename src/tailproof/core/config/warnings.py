"""What a configuration allows but hardly means."""

from typing import Any

from tailproof.core.config.experiment import Experiment
from tailproof.core.config.recipe import Augmentation, Recipe
from tailproof.core.digests import canonical_json


def warnings(experiment: Experiment) -> list[str]:
    """Name recipes that differ in nothing but their name, and phases that lack augmentation."""
    return [
        *_alike("experts", experiment.experts),
        *_alike("points", experiment.points),
        *_bare_phases(experiment),
    ]


def _alike(what: str, recipes: dict[str, Recipe]) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for name, recipe in recipes.items():
        key = canonical_json(same_function(recipe.model_dump(mode="json")))
        if key in first:
            found.append(f"{what} '{first[key]}' and '{name}' differ in nothing but their name")
        first.setdefault(key, name)
    return found


def _bare_phases(experiment: Experiment) -> list[str]:
    """Name phases without augmentation beside others with some.

    A larger size at the end is to train on (Touvron et al. 2019, FixRes); with the transforms of
    evaluation such a phase learns its training images by heart.
    """
    found: dict[str, list[str]] = {}
    for name, recipe in (experiment.experts | experiment.points).items():
        bare = [phase.augmentation == Augmentation() for phase in recipe.timeline]
        for number, phase in enumerate(recipe.timeline, start=1):
            if bare[number - 1] and not all(bare):
                text = (
                    f"phase {number}, from epoch {phase.from_epoch}, trains without augmentation, "
                    "other phases with: to evaluate at another size, set 'evaluation_size'"
                )
                found.setdefault(text, []).append(f"'{name}'")
    return [
        f"expert{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}"
        for text, names in found.items()
    ]


def same_function(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe with its loss in one canonical form.

    balanced_softmax is logit_adjust at tau 1 up to a constant, and logit_adjust at tau 0, like
    focal at gamma 0, is cross_entropy.
    """
    loss = dict(recipe["loss"])
    plain = {"name": "cross_entropy", "class_weights": None, "label_smoothing": 0.0}
    if loss["name"] == "balanced_softmax":
        loss = {"name": "logit_adjust", "tau": 1.0}
    if loss["name"] == "logit_adjust" and loss["tau"] == 0:
        loss = plain
    if loss["name"] == "focal" and loss["gamma"] == 0:
        loss = {**plain, "class_weights": loss["class_weights"]}
    return {**recipe, "loss": loss}
