"""Translates a training command of timm's train.py to an experiment and a list of differences."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_writer import comment, dump_yaml
from tailproof.from_timm.arguments import ARGUMENTS
from tailproof.from_timm.command import Command, read_command
from tailproof.from_timm.data import data_settings
from tailproof.from_timm.keys import BY_DESIGN, Key, nest
from tailproof.from_timm.rules import Setting, recipe_settings
from tailproof.runtime.errors import TailproofError


@dataclass(frozen=True)
class Translation:
    """A translated command; every argument is in `translated`, `ignored` or `unknown`.

    Attributes:
        experiment: the experiment as plain values.
        defaults: arguments that the command omits, with timm's defaults: (argument, key, value).
        translated: translated arguments: (argument, key, value).
        ignored: arguments without an equivalent: (argument, reason).
        unknown: arguments that timm does not have.
    """

    experiment: dict[str, Any]
    defaults: list[tuple[str, str, Any]]
    translated: list[tuple[str, str, Any]]
    ignored: list[tuple[str, str]]
    unknown: list[str]

    @property
    def name(self) -> str:
        """The name of the experiment: that of the model, as a valid file name."""
        return re.sub(r"[^A-Za-z0-9_-]+", "_", self.experiment["recipe"]["model"]["name"])


def translate(command: str) -> Translation:
    """Translate a training command of timm's train.py into an experiment.

    timm's defaults are written out where Tailproof's differ.

    Args:
        command: the command as typed into a shell, with launcher and environment variables.

    Raises:
        TailproofError: the command does not run train.py, a value cannot be parsed, arguments
            contradict each other, or timm does not have the model.
    """
    timm = read_command(command)
    _check_together(timm)
    settings = [*data_settings(timm), *recipe_settings(timm)]
    experiment = _experiment(timm, settings)
    parse_experiment(experiment, "the experiment translated from this command")
    last = {argument.name: argument for argument in timm.given}
    translated, ignored = [], list(timm.ignored)
    for argument in timm.given:
        rows = [setting for setting in settings if argument.name in setting.source]
        if argument is not last[argument.name]:
            ignored.append((argument.text, "it is given again later"))
        elif rows:
            translated += [(argument.text, setting.key, setting.value) for setting in rows]
        else:
            ignored.append((argument.text, ARGUMENTS[argument.name].unused))
    defaults = [
        (setting.source[0], setting.key, setting.value)
        for setting in settings
        if setting.source and not any(name in last for name in setting.source)
    ]
    return Translation(experiment, defaults, translated, ignored, timm.unknown)


def render(translation: Translation) -> str:
    """Return the text of the experiment file: comments on the translation, then the keys."""
    lines = ["Translated from a training command of timm's train.py.", ""]
    for title, rows in (
        ("Arguments of the command", translation.translated),
        ("timm's defaults, not all of which are Tailproof's", translation.defaults),
    ):
        lines += [
            f"{title}:",
            *(f"  {name} -> {key}: {_short(value)}" for name, key, value in rows),
        ]
        lines.append("")
    for title, sentences in (
        (
            "Without an equivalent or an effect:",
            [f"{name}: {why}" for name, why in translation.ignored],
        ),
        ("Unknown, and left out:", translation.unknown),
        ("Different from timm, by design:", BY_DESIGN),
    ):
        lines += [title, *(f"  {sentence}" for sentence in sentences), ""] if sentences else []
    return "\n".join(map(comment, lines)) + "\n" + dump_yaml(translation.experiment)


def _check_together(timm: Command) -> None:
    contradictions = {
        "--torchscript and --torchcompile exclude each other: keep one": (
            "--torchscript" in timm and "--torchcompile" in timm
        ),
        "--jsd-loss needs --aug-splits 2 or more: give both or neither": (
            "--jsd-loss" in timm and "--aug-splits" not in timm
        ),
        "--split-bn and --sync-bn exclude each other: keep one": (
            "--split-bn" in timm and "--sync-bn" in timm
        ),
        "--amp needs --model-dtype float32: leave one of them out": (
            "--amp" in timm and timm["--model-dtype"] not in (None, "float32")
        ),
    }
    for sentence, applies in contradictions.items():
        if applies:
            raise TailproofError(f"the command contradicts itself: {sentence}")


def _experiment(timm: Command, settings: list[Setting]) -> dict[str, Any]:
    values: dict[str, Any] = {
        Key.TITLE: f"{timm['--model']}, trained as by timm",
        Key.EXPERTS: {"cross_entropy": {}},
    }
    for setting in settings:
        if setting.key == Key.TRANSFORMS:
            values.setdefault(setting.key, []).append(setting.value)
        else:
            values[setting.key] = setting.value
    return nest(values)


def _short(value: Any) -> str:
    if isinstance(value, dict):  # a transform; its options are in the file below
        return value["name"]
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
