"""The minimal diff of a configuration against its defaults or an earlier run."""

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
"""Values by dotted key: text as it is, everything else as JSON."""

MODELS: dict[str, type[BaseModel]] = {
    "data": Data,
    "recipe": Recipe,
    "sweep": Sweep,
    "calibration": Calibration,
    "evaluation": Evaluation,
}


def settings(value: Any, key: str = "") -> Settings:
    """Return every value of nested mappings by its dotted key; a list counts as one value."""
    if not isinstance(value, dict) or (key and not value):
        return {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
    flat: Settings = {}
    for name, child in value.items():
        flat |= settings(child, f"{key}.{name}" if key else str(name))
    return flat


def chosen(parameters: dict[str, Any]) -> Settings:
    """Return the parameters of a job that differ from the defaults.

    Keys of a configuration section are given without the section's name, other keys in full. In a
    whole experiment, an expert is compared with the experiment's recipe.
    """
    differing: Settings = {}
    for name, value in parameters.items():
        if name == "experiment":
            differing |= _chosen_of_experiment(value)
        elif name in MODELS:
            differing |= beyond(settings(value), defaults(MODELS[name]))
        elif value != {}:
            differing |= settings(value, name)
    return differing


def beyond(values: Settings, base: Settings) -> Settings:
    """Return the settings that `base` lacks or sets to another value."""
    return {key: value for key, value in values.items() if base.get(key) != value}


def defaults(model: type[BaseModel]) -> Settings:
    """Return the default settings of a section of the configuration."""
    fields = model.model_fields.items()
    return settings(
        {
            name: to_jsonable_python(field.get_default(call_default_factory=True))
            for name, field in fields
            if not field.is_required()
        }
    )


def _chosen_of_experiment(value: dict[str, Any]) -> Settings:
    differing: Settings = {}
    for name in (name for name in MODELS if value.get(name)):
        changes = beyond(settings(value[name]), defaults(MODELS[name]))
        differing |= {f"{name}.{key}": text for key, text in changes.items()}
    for expert, recipe in value.get("experts", {}).items():
        changes = beyond(settings(recipe), settings(value.get("recipe", {})))
        differing |= {f"experts.{expert}.{key}": text for key, text in changes.items()}
    return differing
