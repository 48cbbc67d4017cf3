"""Reads YAML without two of its traps: 1e-4 parsed as text, and duplicate keys."""

import re
from pathlib import Path
from typing import Any

import yaml

from tailproof.runtime.errors import TailproofError


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if (key.tag, key.value) in seen:
                where = f"{self.name}, line {key.start_mark.line + 1}"
                raise TailproofError(f"{where}: the key '{key.value}' is duplicate: keep one")
            seen.add((key.tag, key.value))
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; values such as 1e-4 are numbers, and duplicate keys are errors.

    Raises:
        TailproofError: the file is missing, unreadable or not YAML.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except OSError as error:
        raise TailproofError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TailproofError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise TailproofError(f"{path}, line {line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise TailproofError(f"{path} is not valid YAML: {error}") from None
