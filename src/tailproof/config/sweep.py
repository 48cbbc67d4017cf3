"""Configuration of a sweep: recipes that are tried against one another on val."""

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
LONGEST = 100  # characters of a point's name, which is part of file names
NOT_SWEPT = {
    **dict.fromkeys(EXECUTION_FIELDS, "says how a run is carried out, not what it learns"),
    "monitor": "is what points are compared by",
    "resume_from": "names the state of one run",
}


class Halving(Strict):
    """Successive halving: all points train a little, and only the best go on each time.

    After Jamieson & Talwalkar 2016, algorithm 1. All points keep the schedule of their full length.
    """

    rungs: list[Count] = Field(
        min_length=1, description="Epochs after which points are compared, rising."
    )
    eta: int = Field(2, ge=2, description="One in so many goes on, rounded up.")

    @model_validator(mode="after")
    def _rising(self) -> "Halving":
        if sorted(set(self.rungs)) != self.rungs:
            raise ValueError(f"rungs should rise, found {self.rungs}")
        return self


class Sweep(Strict):
    """A grid over keys of the recipe, or a list of points; each is trained, the best evaluated."""

    grid: dict[str, list[Any]] | None = Field(
        None, description="Values by dotted key, e.g. {optimizer.weight_decay: [0, 1e-4]}."
    )
    points: list[dict[str, Any]] | None = Field(
        None, description="What each point changes, by dotted key; 'name' names the point."
    )
    halving: Halving | None = None

    @model_validator(mode="after")
    def _grid_or_points(self) -> "Sweep":
        if (self.grid is None) == (self.points is None):
            raise ValueError("give 'grid' or 'points', exactly one of them")
        if not self.grid and not self.points:
            raise ValueError("there is no point in it")
        for key, values in (self.grid or {}).items():
            if not values:
                raise ValueError(f"grid.{key} has no value")
        return self

    @property
    def keys(self) -> list[str]:
        """The dotted keys that any point changes, in the order they are named in."""
        return list(dict.fromkeys(key for changes in self._changes() for key in changes))

    def rounds(self, names: list[str]) -> list[list[str]]:
        """Return who is trained in each round: the points, then places for the best of them."""
        found = [names]
        for rung in range(2, len(self.halving.rungs) + 2 if self.halving else 2):
            left = -(-len(found[-1]) // self.halving.eta)
            found.append([f"rung-{rung}-place-{place}" for place in range(1, left + 1)])
        return found

    def expand(self, recipe: Recipe) -> dict[str, Recipe]:
        """Return the recipe of every point by its name.

        Raises:
            ValueError: a key or value that the recipe does not take, or points that cannot be told
                apart or compared.
        """
        known = list(_known(Recipe.model_json_schema()))
        for key in self.keys:
            _check_key(key, known)
        base, found = recipe.model_dump(mode="json"), {}
        for name, changes in zip(self._names(), self._changes(), strict=True):
            _check_name(name, found)
            found[name] = _recipe(base, name, changes)
        self._check_comparable(found)
        return found

    def _changes(self) -> list[dict[str, Any]]:
        if self.grid is not None:
            return [
                dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
            ]
        return [{key: own[key] for key in own if key != "name"} for own in self.points]

    def _names(self) -> list[str]:
        short = short_names(self.keys)
        made = [_name(changes, short) for changes in self._changes()]
        given = [own.get("name") for own in self.points or []] or [None] * len(made)
        return [str(name or other) for name, other in zip(given, made, strict=True)]

    def _check_comparable(self, points: dict[str, Recipe]) -> None:
        first = next(iter(points.values()))
        for name, recipe in points.items():
            if recipe.export != "best":
                raise ValueError(
                    "points are compared by their best epochs, whose weights must be the ones "
                    "kept: set 'weights: best' in the recipe"
                )
            if recipe.monitor == "val_loss" and recipe.loss != first.loss:
                raise ValueError(
                    "val_loss of different losses does not compare: choose another 'monitor'"
                )
            for rung in self.halving.rungs if self.halving else ():
                if rung >= recipe.epochs or rung % recipe.validate_every:
                    raise ValueError(
                        f"halving.rungs holds {rung}, expected less than the {recipe.epochs} "
                        f"epochs of '{name}' and one that is validated, every "
                        f"{recipe.validate_every}"
                    )


def values_at(recipe: Recipe, keys: list[str]) -> dict[str, Any]:
    """Return, as plain values, what stands in a recipe under dotted keys; None for nothing."""
    whole = recipe.result_fields()
    found = {}
    for key in keys:
        value: Any = whole
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        found[key] = value
    return found


def _recipe(base: dict[str, Any], name: str, changes: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(merged_recipe(base, _nested(changes)))
    except ValidationError as error:
        raise ValueError(f"in '{name}' {'; '.join(explain_errors(error, Recipe))}") from None


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in changes.items():
        *way, last = key.split(".")
        place = found
        for part in way:
            place = place.setdefault(part, {})
        place[last] = value
    for one, other in combinations(changes, 2):
        if f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}."):
            raise ValueError(f"'{one}' and '{other}' are given together: give one of them")
    return found


def _check_key(key: str, known: list[str]) -> None:
    reason = NOT_SWEPT.get(key.split(".", maxsplit=1)[0])
    if reason:
        raise ValueError(f"'{key}' cannot be swept: it {reason}")
    free = [name.removesuffix("*") for name in known if name.endswith("*")]
    if key in known or key.startswith(tuple(free)):
        return
    known = [name for name in known if name.split(".")[0] not in NOT_SWEPT]
    last = [name for name in known if name.split(".")[-1] == key.rsplit(".", maxsplit=1)[-1]]
    near = f" (did you mean '{last[0]}'?)" if last else suggestion(key, known)
    raise ValueError(f"the recipe has no key '{key}'{near}")


def _known(schema: dict[str, Any], node: dict[str, Any] | None = None, at: str = "") -> Iterator:
    """Yield every dotted key of a model's schema, and ``KEY.*`` for mappings of free keys."""
    node = schema if node is None else node
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    for option in [*node.get("anyOf", []), *node.get("oneOf", [])]:
        yield from _known(schema, option, at)
    for name, child in node.get("properties", {}).items():
        yield at + name
        yield from _known(schema, child, f"{at}{name}.")
    if node.get("additionalProperties") is True:
        yield f"{at}*"


def _check_name(name: str, taken: dict[str, Recipe]) -> None:
    if name in taken:
        raise ValueError(f"two points are called '{name}': list them as 'points', each with a name")
    if RESERVED.fullmatch(name):
        raise ValueError(f"'{name}' is a name that sweeps use themselves: choose another")
    if not re.fullmatch(NAME, name) or len(name) > LONGEST:
        raise ValueError(
            f"'{name}' is no name for a point, expected {LONGEST} letters, digits, '_', '-' and "
            "'.' at most: list the points as 'points', each with a name"
        )


def short_names(keys: list[str]) -> dict[str, str]:
    """Return what each key is called in names: its last word that says something, if unique."""
    words = {key: [part for part in key.split(".") if part != "name"][-1:] for key in keys}
    short = {key: found[0] if found else key for key, found in words.items()}
    called = list(short.values())
    return {key: word if called.count(word) == 1 else key for key, word in short.items()}


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
