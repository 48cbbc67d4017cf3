"""Reads and writes YAML without its traps: names that become other values, and duplicate keys.

PyYAML follows YAML 1.1, in which yes, no, on and off are truth values, 012 is ten, 12:30 is 750,
2024-01-01 is a date, and 1e-4 is text. Classes have such names. Here, as in YAML 1.2, only true
and false are truth values, numbers are decimal, and all else is text; 012 is text too.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if (key.tag, key.value) in seen:
                where = f"{self.name}, line {key.start_mark.line + 1}"
                raise TailproofError(f"{where}: the key '{key.value}' occurs twice: keep one")
            seen.add((key.tag, key.value))
        return node


SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""How a value of each kind is written, and its first characters."""
KEPT = {"null", "merge", "value"}
"""Kinds that are written as in YAML 1.1; dates are not a kind."""
PREFIX = "tag:yaml.org,2002:"

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in kinds if tag.removeprefix(PREFIX) in KEPT]
    for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for kind, (written, first) in SCALARS.items():
    _Loader.add_implicit_resolver(PREFIX + kind, re.compile(f"(?:{written})$"), list(first))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def yaml_text(value: Any) -> str:
    """Return plain values as YAML that `read_yaml` reads as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; yes, 012 and dates are text, and duplicate keys are errors.

    Raises:
        TailproofError: the file is missing, unreadable or not YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist: create it, or correct its name") from None
    except IsADirectoryError:
        raise TailproofError(f"{path} is a folder, expected a YAML file: name the file") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except UnicodeDecodeError:
        raise TailproofError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: str | Path) -> Any:
    """Return the value of a YAML text as `read_yaml` does.

    Args:
        text: the text.
        path: the file that contains it, for messages.

    Raises:
        TailproofError: it is not YAML.
    """
    try:
        loader = _Loader(text)
        loader.name = str(path)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise TailproofError(
            f"{path}, line {line}: not valid YAML: {error.problem}; check its indentation, "
            "and put text with ': ' or ' #' in quotes"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TailproofError(
            f"{path}, line {line}: YAML does not allow the character U+{error.character:04X}: "
            "remove it, or save the file as plain UTF-8 text"
        ) from None
    except RecursionError:
        raise TailproofError(f"{path} is nested too deeply: use fewer levels") from None
