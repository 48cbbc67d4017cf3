"""Configuration as few words as possible: what differs from the defaults, or from before."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tailproof.config.calibration import Calibration
from tailproof.config.data import Data
from tailproof.config.evaluation import Evaluation
from tailproof.config.recipe import Recipe
from tailproof.config.sweep import Sweep

Settings = dict[str, str]
"""Values by dotted key, written as JSON but for text, which is itself."""

MODELS = {
    "data": Data,
    "recipe": Recipe,
    "sweep": Sweep,
    "calibration": Calibration,
    "evaluation": Evaluation,
}


def settings(value: Any, key: str = "") -> Settings:
    """Return every value of nested mappings by its dotted key; lists are values."""
    if not isinstance(value, dict) or (key and not value):
        return {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
    found: Settings = {}
    for name, child in value.items():
        found |= settings(child, f"{key}.{name}" if key else str(name))
    return found


def chosen(parameters: dict[str, Any]) -> Settings:
    """Return what a job's parameters say that the defaults do not.

    Sections of the configuration go by their own names without the section's, others as they are;
    an expert of a whole experiment is compared with the experiment's own recipe.
    """
    found: Settings = {}
    for name, value in parameters.items():
        if name == "experiment":
            found |= _chosen_of_experiment(value)
        elif name in MODELS:
            found |= beyond(settings(value), defaults(MODELS[name]))
        else:
            found |= settings(value, name)
    return found


def beyond(found: Settings, base: Settings) -> Settings:
    """Return the settings that `base` has not, or not so."""
    return {key: value for key, value in found.items() if base.get(key) != value}


def defaults(model: type[BaseModel]) -> Settings:
    """Return the settings of a section of the configuration in which nothing is set."""
    fields = model.model_fields.items()
    return settings(
        {
            name: to_jsonable_python(field.get_default(call_default_factory=True))
            for name, field in fields
            if not field.is_required()
        }
    )


def _chosen_of_experiment(value: dict[str, Any]) -> Settings:
    found: Settings = {}
    for name in (name for name in MODELS if value.get(name)):
        own = beyond(settings(value[name]), defaults(MODELS[name]))
        found |= {f"{name}.{key}": text for key, text in own.items()}
    for expert, recipe in value.get("experts", {}).items():
        own = beyond(settings(recipe), settings(value.get("recipe", {})))
        found |= {f"experts.{expert}.{key}": text for key, text in own.items()}
    return found
