"""What a configuration allows but hardly means."""

from tailproof.config.equivalence import bare_phases, same_function
from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.digests import canonical_json


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
        key = canonical_json(same_function(recipe).model_dump(mode="json"))
        if key in first:
            found.append(f"{what} '{first[key]}' and '{name}' differ in nothing but their name")
        first.setdefault(key, name)
    return found


def _bare_phases(experiment: Experiment) -> list[str]:
    found: dict[str, list[str]] = {}
    for name, recipe in (experiment.experts | experiment.points).items():
        for number in bare_phases(recipe):
            text = (
                f"phase {number}, from epoch {recipe.timeline[number - 1].from_epoch}, trains "
                "without augmentation, other phases with: to evaluate at another size, set "
                "'eval_image_size'"
            )
            found.setdefault(text, []).append(f"'{name}'")
    return [
        f"expert{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}"
        for text, names in found.items()
    ]
