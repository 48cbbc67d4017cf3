"""Configuration of a sweep: recipes that are compared on the split val."""

import re
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

from pydantic import Field, ValidationError, model_validator

from tailproof.config.base import NAME, Count, Strict
from tailproof.config.merge import merged_recipe
from tailproof.config.messages import explain_errors
from tailproof.config.recipe import EXECUTION_FIELDS, Recipe
from tailproof.runtime.errors import suggestion

WINNER = "winner"
RESERVED = re.compile(rf"{WINNER}|rung-\d+-place-\d+")
LONGEST = 100  # characters in the name of a point, which is part of file names
NOT_SWEPT = {
    **dict.fromkeys(EXECUTION_FIELDS, "affects how a run is executed, not what it learns"),
    "monitor": "is the metric that points are compared by",
    "resume_from": "refers to the state of one run",
}


class Halving(Strict):
    """Successive halving: all points train briefly, and after each rung only the best continue.

    After Jamieson & Talwalkar 2016, algorithm 1. The learning-rate schedule of every point is that
    of its full training.
    """

    rungs: list[Count] = Field(
        min_length=1, description="Epochs after which points are compared, in increasing order."
    )
    eta: int = Field(
        2, ge=2, description="After each rung the best 1/eta of the points continue, rounded up."
    )

    @model_validator(mode="after")
    def _rising(self) -> "Halving":
        if sorted(set(self.rungs)) != self.rungs:
            raise ValueError(
                f"rungs should increase, found {self.rungs}: write {sorted(set(self.rungs))}"
            )
        return self


class Sweep(Strict):
    """A grid over recipe keys or a list of points; all are trained, the best one is evaluated."""

    grid: dict[str, list[Any]] | None = Field(
        None,
        description="Values by dotted recipe key, e.g. {optimizer.weight_decay: [0, 1e-4]}; every "
        "combination is a point.",
    )
    points: list[dict[str, Any]] | None = Field(
        None, description="Changes of each point by dotted recipe key; 'name' names the point."
    )
    halving: Halving | None = Field(
        None,
        description=(
            "Train in rounds and drop the worst points after each. Default: train all points in "
            "full."
        ),
    )

    @model_validator(mode="after")
    def _grid_or_points(self) -> "Sweep":
        if (self.grid is None) == (self.points is None):
            count = "none" if self.grid is None else "both"
            raise ValueError(
                f"expected exactly one of 'grid' and 'points', found {count}: give one of them"
            )
        if not self.grid and not self.points:
            raise ValueError("it is empty: give at least one grid value or point")
        for key, values in (self.grid or {}).items():
            if not values:
                raise ValueError(f"grid.{key} is empty: give at least one value")
        return self

    @property
    def keys(self) -> list[str]:
        """The dotted keys that any point changes, in the order of the configuration."""
        return list(dict.fromkeys(key for changes in self._changes() for key in changes))

    def rounds(self, names: list[str]) -> list[list[str]]:
        """Return the names trained in each round: the points, then places for the promoted ones."""
        rounds = [names]
        if self.halving is None:
            return rounds
        for rung in range(2, len(self.halving.rungs) + 2):
            promoted = -(-len(rounds[-1]) // self.halving.eta)
            rounds.append([f"rung-{rung}-place-{place}" for place in range(1, promoted + 1)])
        return rounds

    def expand(self, recipe: Recipe) -> dict[str, Recipe]:
        """Return the recipe of every point by its name.

        Raises:
            ValueError: the recipe does not accept a key or value, two points have the same name, or
                the points cannot be compared.
        """
        valid_keys = list(_valid_keys(Recipe.model_json_schema()))
        for key in self.keys:
            _check_key(key, valid_keys)
        base, recipes = recipe.model_dump(mode="json"), dict[str, Recipe]()
        for name, changes in zip(self._names(), self._changes(), strict=True):
            _check_name(name, recipes)
            recipes[name] = _recipe(base, name, changes)
        self._check_comparable(recipes)
        return recipes

    def _changes(self) -> list[dict[str, Any]]:
        if self.grid is not None:
            return [
                dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
            ]
        return [{key: point[key] for key in point if key != "name"} for point in self.points or []]

    def _names(self) -> list[str]:
        short = short_names(self.keys)
        generated = [_name(changes, short) for changes in self._changes()]
        given = [point.get("name") for point in self.points or []] or [None] * len(generated)
        return [str(name or other) for name, other in zip(given, generated, strict=True)]

    def _check_comparable(self, points: dict[str, Recipe]) -> None:
        first_name, first = next(iter(points.items()))
        for name, recipe in points.items():
            if recipe.export != "best":
                raise ValueError(
                    f"export is '{recipe.export}', expected 'best', because points are compared by "
                    "their best epochs: set 'export: best' in the recipe"
                )
            if (recipe.features is None) != (first.features is None):
                raise ValueError(
                    f"one of '{name}' and '{first_name}' is a head on features, the other a "
                    "network, and one sweep cannot compare them: make a separate experiment for "
                    "each"
                )
            if recipe.monitor == "val_loss" and recipe.final_loss != first.final_loss:
                raise ValueError(
                    "monitor is 'val_loss', which is not comparable between points with different "
                    "losses: choose another monitor"
                )
            for rung in self.halving.rungs if self.halving else ():
                if rung >= recipe.epochs or rung % recipe.validate_every:
                    raise ValueError(
                        f"halving.rungs holds {rung}, expected a multiple of validate_every "
                        f"({recipe.validate_every}) below the {recipe.epochs} epochs of '{name}': "
                        "change the rungs"
                    )


def values_at(recipe: Recipe, keys: list[str]) -> dict[str, Any]:
    """Return, as plain values, the values of a recipe at dotted keys; None for an absent one."""
    fields = recipe.result_fields()
    values = {}
    for key in keys:
        value: Any = fields
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values[key] = value
    return values


def _recipe(base: dict[str, Any], name: str, changes: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(merged_recipe(base, _nested(changes)))
    except ValidationError as error:
        raise ValueError(f"point '{name}': {'; '.join(explain_errors(error, Recipe))}") from None


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, name = key.split(".")
        section = nested
        for parent in parents:
            section = section.setdefault(parent, {})
        section[name] = value
    for one, other in combinations(changes, 2):
        if f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}."):
            raise ValueError(f"'{one}' and '{other}' overlap: keep one of them")
    return nested


def _check_key(key: str, valid_keys: list[str]) -> None:
    reason = NOT_SWEPT.get(key.split(".", maxsplit=1)[0])
    if reason:
        raise ValueError(f"'{key}' cannot be swept: it {reason}; set it in the recipe")
    open_mappings = [name.removesuffix("*") for name in valid_keys if name.endswith("*")]
    if key in valid_keys or key.startswith(tuple(open_mappings)):
        return
    sweepable = [name for name in valid_keys if name.split(".")[0] not in NOT_SWEPT]
    last = [name for name in sweepable if name.split(".")[-1] == key.rsplit(".", maxsplit=1)[-1]]
    near = f" (did you mean '{last[0]}'?)" if last else suggestion(key, sweepable)
    raise ValueError(f"the recipe has no key '{key}'{near}")


def _valid_keys(
    schema: dict[str, Any], node: dict[str, Any] | None = None, at: str = ""
) -> Iterator[str]:
    """Yield every dotted key of a model's schema, and ``KEY.*`` for mappings with any keys."""
    node = schema if node is None else node
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    for option in [*node.get("anyOf", []), *node.get("oneOf", [])]:
        yield from _valid_keys(schema, option, at)
    for name, child in node.get("properties", {}).items():
        yield at + name
        yield from _valid_keys(schema, child, f"{at}{name}.")
    if node.get("additionalProperties") is True:
        yield f"{at}*"


def _check_name(name: str, taken: dict[str, Recipe]) -> None:
    if name in taken:
        raise ValueError(
            f"two points have the name '{name}': list the points under 'points', each with a "
            "'name' of its own"
        )
    if RESERVED.fullmatch(name):
        raise ValueError(f"'{name}' is reserved for sweeps: choose another name for the point")
    if not re.fullmatch(NAME, name) or len(name) > LONGEST:
        raise ValueError(
            f"'{name}' is not a valid name for a point, expected at most {LONGEST} letters, "
            "digits, '_', '-' and '.', the first a letter or digit: list the points under "
            "'points', each with a valid 'name'"
        )


def short_names(keys: list[str]) -> dict[str, str]:
    """Return the label of each key in point names: its last part other than ``name``, if unique."""
    last_parts = {key: [part for part in key.split(".") if part != "name"][-1:] for key in keys}
    short = {key: parts[0] if parts else key for key, parts in last_parts.items()}
    labels = list(short.values())
    return {key: label if labels.count(label) == 1 else key for key, label in short.items()}


def _name(changes: dict[str, Any], short: dict[str, str]) -> str:
    return "--".join(f"{short[key]}-{_text(value)}" for key, value in changes.items()) or "recipe"


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return "-".join(map(_text, parts)) or "none"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", str(value))
