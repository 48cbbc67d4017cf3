"""Writes YAML that `yaml_reader` reads as exactly the same values, with comments for people."""

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML would read as another value, such as 1e4, and control characters."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return a node that the configuration loader reads as exactly this text."""
        if text.isprintable() and not _is_number(text):
            return self.represent_str(text)
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _Dumper.represent_text)


def dump_yaml(value: Any, *, flow: bool | None = None) -> str:
    """Return plain values as YAML.

    Args:
        value: the values.
        flow: whether all mappings and lists are on one line; None: those of plain values are.
    """
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=2**20 if flow else WIDTH,
    )


def dump_commented(value: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Return an experiment as YAML, with a comment above a section or above a key of it.

    Args:
        value: sections by name.
        comments: sentences by the name of a section, or as ``section.key``.
    """
    lines = []
    for section, content in value.items():
        lines += _comments(comments, section, "")
        if not isinstance(content, Mapping) or not content:
            lines += _entry(section, content, "")
            continue
        lines.append(f"{section}:")
        for key, inner in content.items():
            lines += _comments(comments, f"{section}.{key}", "  ")
            lines += _entry(key, inner, "  ")
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, indent: str) -> list[str]:
    """Return a key with its value, on one line if it is short enough."""
    line = indent + dump_yaml({key: value}, flow=True).strip()[1:-1]
    is_simple = "\n" not in line and not line.lstrip().startswith("?")
    if is_simple and len(line) <= WIDTH:
        return [line]
    inner = isinstance(value, Mapping | list) and value
    text = dump_yaml({key: value}, flow=None if inner else False)
    return textwrap.indent(text, indent).splitlines()


def comment(line: str) -> str:
    """Return a line as comment lines, without unprintable characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in line)
    indent = "#   " if line.startswith("  ") else "# "
    return (
        textwrap.fill(
            printable.strip(),
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )
        or "#"
    )


def _comments(comments: Mapping[str, str], key: str, indent: str) -> list[str]:
    text = comments.get(key)
    return [f"{indent}{line}" for line in comment(text).splitlines()] if text else []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
