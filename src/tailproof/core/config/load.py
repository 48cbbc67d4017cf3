"""Reading configuration files, with errors that name the file, the field and the remedy."""

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tailproof.core.config.experiment import Experiment
from tailproof.core.digests import canonical_json
from tailproof.core.errors import TailproofError, suggestion


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-4 for text and a repeated key without a word; this loader does neither."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=deep)
            if name in seen:
                line = key.start_mark.line + 1
                raise TailproofError(f"{self.name}, line {line}: the key '{name}' is given twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    __import__("re").compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; numbers like 1e-4 are numbers, and no key may stand twice."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except yaml.YAMLError as error:
        raise TailproofError(f"{path} is not valid YAML: {error}") from None


def load_experiment(path: str | Path) -> Experiment:
    """Read and check ``config/experiments/NAME.yaml``.

    Raises:
        TailproofError: one line a mistake, with the field, what was found and a suggestion.
    """
    return parse_experiment(read_yaml(path), str(path))


def parse_experiment(value: Any, origin: str = "the configuration") -> Experiment:
    """Check a plain value against the model of an experiment."""
    if not isinstance(value, dict):
        raise TailproofError(f"{origin} holds {type(value).__name__}, expected a mapping of keys")
    try:
        return Experiment.model_validate(value)
    except ValidationError as error:
        lines = dict.fromkeys(_explain(item) for item in error.errors())
        raise TailproofError(f"{origin}: " + "\n".join(lines)) from None


def warnings(experiment: Experiment) -> list[str]:
    """Name what is allowed but hardly meant: experts that differ in nothing but their name."""
    seen: dict[str, str] = {}
    found = []
    for name, recipe in experiment.experts.items():
        key = canonical_json(same_function(recipe.model_dump(mode="json")))
        if key in seen:
            found.append(f"experts '{seen[key]}' and '{name}' differ in nothing but name and seed")
        seen.setdefault(key, name)
    return found


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


def _explain(item: dict[str, Any]) -> str:
    model, path = _locate(item["loc"])
    field = ".".join(str(part) for part in path)
    kind = item["type"]
    if kind == "extra_forbidden":
        known = list(model.model_fields) if model else []
        return f"unknown key '{field}'{suggestion(str(path[-1]), known)}"
    if kind == "missing":
        return f"'{field}' is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = item["ctx"].get("tag", "nothing")
        names = [name.strip("' ") for name in item["ctx"].get("expected_tags", "").split(",")]
        known = f"; known: {', '.join(names)}" if names != [""] else ""
        discriminator = item["ctx"]["discriminator"].strip("'")
        return f"'{field}.{discriminator}' is '{tag}'{suggestion(str(tag), names)}{known}"
    message = item["msg"].removeprefix("Value error, ")
    found = item["input"]
    shown = f", found {found!r}" if not isinstance(found, dict | list | BaseModel) else ""
    return f"'{field}': {message[0].lower()}{message[1:]}{shown}" if field else message + shown


def _locate(location: tuple[Any, ...]) -> tuple[type[BaseModel] | None, list[Any]]:
    """Walk the models along an error's location; leave out the tags of unions."""
    model: Any = Experiment
    path, owner = [], None
    for part in location:
        options = _variants(model)
        tagged = [o for o in options if part in _tags(o)]
        if len(options) > 1 and tagged:
            model = tagged[0]
            owner = model
            continue
        path.append(part)
        owner = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if owner and part in owner.model_fields:
            model = owner.model_fields[part].annotation
        elif not owner:
            inner = get_args(model)
            model = inner[-1] if inner else None
    return owner, path


def _variants(annotation: Any) -> list[Any]:
    if isinstance(annotation, type):
        return [annotation]
    found = []
    for inner in get_args(annotation):
        found += [inner] if isinstance(inner, type) and issubclass(inner, BaseModel) else []
        if not isinstance(inner, type):
            found += [o for o in _variants(inner) if isinstance(o, type)]
    return [o for o in found if isinstance(o, type) and issubclass(o, BaseModel)]


def _tags(model: Any) -> tuple[str, ...]:
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ()
    for key in ("name", "kind"):
        if key in model.model_fields:
            return get_args(model.model_fields[key].annotation)
    return ()
