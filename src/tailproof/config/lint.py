"""Warnings about configurations that are valid but probably unintended."""

from tailproof.config.equivalence import bare_phases, same_function
from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.digests import canonical_json


def warnings(experiment: Experiment) -> list[str]:
    """Return warnings about recipes of the same function, and phases without augmentation."""
    return [
        *_alike("experts", experiment.experts),
        *_alike("points", experiment.points),
        *_bare_phases(experiment),
    ]


def _alike(label: str, recipes: dict[str, Recipe]) -> list[str]:
    first: dict[str, str] = {}
    texts = []
    for name, recipe in recipes.items():
        key = canonical_json(same_function(recipe).model_dump(mode="json"))
        if key in first:
            texts.append(
                f"{label} '{first[key]}' and '{name}' train the same function: remove one of "
                "them, or change its recipe"
            )
        first.setdefault(key, name)
    return texts


def _bare_phases(experiment: Experiment) -> list[str]:
    names_by_text: dict[str, list[str]] = {}
    for name, recipe in (experiment.experts | experiment.points).items():
        for number in bare_phases(recipe):
            text = (
                f"phase {number}, from epoch {recipe.timeline[number - 1].from_epoch}, trains "
                "without augmentation, unlike other phases; to evaluate at another size, set "
                "'eval_image_size' instead"
            )
            names_by_text.setdefault(text, []).append(f"'{name}'")
    return [
        f"expert{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}"
        for text, names in names_by_text.items()
    ]
