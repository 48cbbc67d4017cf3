"""Parses a command line of timm's train.py; every argument is accounted for."""

import math
import re
import shlex
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from tailproof.config.yaml_reader import read_yaml
from tailproof.from_timm.arguments import ALIASES, ARGUMENTS, Argument
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

_SCRIPTS = {"train.py", "distributed_train.sh"}
_SHELL = re.compile(r"&&|\|\|?|;|&|[12&]?>>?.*|<")
_NUMBER = re.compile(r"-(\d|\.\d)")
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
_PROGRAMS = re.compile(r"python[\d.]*|torchrun|bash|sh|srun|nohup|time|exec|sudo|env")
_KINDS: dict[Callable[[str], Any], str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Given:
    """An argument of the command: its name, its text and its value."""

    name: str
    text: str
    value: Any


@dataclass
class Command:
    """The arguments of a command, in their order.

    Attributes:
        given: arguments of train.py.
        ignored: parts that are not arguments of train.py, and why they are ignored.
        unknown: arguments that train.py does not have.
    """

    given: list[Given] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        return any(argument.name == name for argument in self.given)

    def __getitem__(self, name: str) -> Any:
        """Return the value of an argument, the last one if repeated, or timm's default."""
        values = [argument.value for argument in self.given if argument.name == name]
        return values[-1] if values else ARGUMENTS[name].default


def read_command(text: str) -> Command:
    """Parse a command line.

    Args:
        text: the command as typed into a shell: launcher, train.py and its arguments.

    Raises:
        TailproofError: the command does not run train.py, or a value cannot be parsed.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise TailproofError(
            f"the command is not a valid shell command ({error}): check its quotes"
        ) from None
    scripts = [place for place, word in enumerate(words) if PurePath(word).name in _SCRIPTS]
    if not scripts:
        raise TailproofError(
            "the command does not run train.py, expected a command such as "
            "'python train.py /data/imagenet --model resnet50'"
        )
    command = Command()
    before, script, after = words[: scripts[0]], words[scripts[0]], words[scripts[0] + 1 :]
    start = max(
        (place for place, word in enumerate(before, 1) if _SHELL.fullmatch(word)), default=0
    )
    end = next((place for place, word in enumerate(after) if _SHELL.fullmatch(word)), len(after))
    for rest in (before[:start], after[end:]):
        if rest:
            command.ignored.append((" ".join(rest), "it belongs to the shell, not to train.py"))
    launcher, queue = deque(before[start:]), deque(after[:end])
    if script.endswith(".sh"):
        processes = [queue.popleft()] if queue else []
        _add(command, "--nproc-per-node", shlex.join([script, *processes]), processes)
    _read_launcher(command, launcher)
    _read_arguments(command, queue)
    return command


def _read_launcher(command: Command, words: deque[str]) -> None:
    while words:
        word = words.popleft()
        name, equals, inline = word.partition("=")
        if _VARIABLE.match(word):
            _ignore(command, [word], "it is an environment variable: set it for snakemake")
        elif _is_option(word):
            name = name.replace("_", "-")
            values = [inline] if equals else []
            shown = [word]
            if not equals and words and not _is_option(words[0]):
                values = [words.popleft()]
                shown += values
            if name in ("--nproc-per-node", "--nnodes"):
                _add(command, name, shlex.join(shown), values)
            else:
                _ignore(command, shown, "Tailproof starts the processes")
        elif not _PROGRAMS.fullmatch(PurePath(word).name):
            command.unknown.append(shlex.quote(word))


def _read_arguments(command: Command, words: deque[str]) -> None:
    while words:
        word = words.popleft()
        if not _is_option(word):
            if "DIR" in command:
                command.unknown.append(shlex.quote(word))
            else:
                _add(command, "DIR", shlex.quote(word), [word])
            continue
        name, inline = _split(word)
        if name == "--config":
            path = inline or (words.popleft() if words else "")
            if not path:
                raise TailproofError("--config names no file, expected a YAML file of arguments")
            _read_file(command, path)
            continue
        argument = ARGUMENTS.get(name)
        values = [] if inline is None else [inline]
        limit = _most(argument) if inline is None else 0
        while words and len(values) < limit and not _is_option(words[0]):
            values.append(words.popleft())
        shown = [word] if inline is not None else [word, *values]
        if argument is None:
            command.unknown.append(shlex.join(shown))
        else:
            _add(command, name, shlex.join(shown), values)


def _read_file(command: Command, path: str) -> None:
    """Read a file given by ``--config``, whose entries timm uses as argument defaults."""
    entries = read_yaml(path)
    if not isinstance(entries, dict):
        raise TailproofError(f"{path} has no arguments of train.py, expected lines 'name: value'")
    command.ignored.append((f"--config {path}", "its entries are listed one by one"))
    from_file = Command()
    for key, value in entries.items():
        if value is None or value is False or value in ("", [], {}):
            continue
        name = "DIR" if key == "data" else "--" + str(key).replace("_", "-")
        text = f"{path}: {key} {value}"
        if name not in ARGUMENTS:
            from_file.unknown.append(text)
        elif isinstance(value, dict):
            _add(from_file, name, text, [f"{option}={word}" for option, word in value.items()])
        else:
            words = value if isinstance(value, list) else [value] * (value is not True)
            _add(from_file, name, text, [str(word) for word in words])
    command.given[:0] = from_file.given
    command.unknown += from_file.unknown


def _split(word: str) -> tuple[str, str | None]:
    """Return the full name of an option, and the value if it is part of the same word."""
    name, equals, value = word.partition("=")
    if word in ALIASES:
        return ALIASES[word], None
    if not word.startswith("--"):
        return (ALIASES[word[:2]], word[2:]) if word[:2] in ALIASES else (word, None)
    inline = value if equals else None
    name = ALIASES.get(name, name)
    if name in ARGUMENTS or name == "--config":
        return name, inline
    names = {*ARGUMENTS, *ALIASES, "--config"}
    longer = sorted({ALIASES.get(full, full) for full in names if full.startswith(name)})
    if len(longer) > 1:
        raise TailproofError(f"'{name}' is ambiguous, expected one of {', '.join(longer)}")
    return (longer or [name])[0], inline


def _most(argument: Argument | None) -> float:
    """Return the maximum number of words of an argument; infinite for an unknown one."""
    if argument is None or argument.values in ("+", "*"):
        return float("inf")
    return 1 if argument.values == "?" else int(argument.values)


def _add(command: Command, name: str, text: str, words: list[str]) -> None:
    argument = ARGUMENTS[name]
    fewest = {"?": 0, "*": 0, "+": 1}.get(str(argument.values))
    fewest = int(argument.values) if fewest is None else fewest
    if not fewest <= len(words) <= _most(argument):
        counts = {"+": "at least 1 value", "?": "at most 1 value", 0: "no value"}
        expected = counts.get(argument.values) or quantity(fewest, "value")
        raise TailproofError(f"{text}: expected {expected} of {name}, found {len(words)}")
    values = [_parse(name, argument, word) for word in words]
    single = argument.values in (0, 1, "?")
    command.given.append(Given(name, text, (values or [True])[0] if single else values))


def _parse(name: str, argument: Argument, word: str) -> Any:
    try:
        value = argument.kind(word)
        if argument.kind is float and not math.isfinite(value):
            raise ValueError
    except ValueError:
        hint = ": write the variable's value" if "$" in word else ""
        raise TailproofError(
            f"{name} is '{word}', expected {_KINDS[argument.kind]}{hint}"
        ) from None
    return value


def _ignore(command: Command, words: list[str], why: str) -> None:
    command.ignored.append((shlex.join(words), why))


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)
