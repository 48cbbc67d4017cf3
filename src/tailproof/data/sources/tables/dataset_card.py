"""Reads what the card of a Hugging Face dataset, its README.md, says of classes and splits.

Format: https://huggingface.co/docs/hub/datasets-manual-configuration. The card begins with YAML
between two lines ``---``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailproof.config.yaml_reader import parse_yaml
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_text

FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?\n)---[ \t]*(\r?\n|$)", re.DOTALL)
LARGEST = 16 * 2**20  # bytes


@dataclass(frozen=True)
class DatasetCard:
    """What a card says.

    Attributes:
        names: the class names of each column of class labels, in the order of their numbers.
        splits: patterns of the files of each split; empty if the card names none.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    splits: Mapping[str, list[str]] = field(default_factory=dict)


def read_card(file: Path) -> DatasetCard:
    """Read a card.

    Args:
        file: the card; if it does not exist, it says nothing.

    Raises:
        TailproofError: its YAML is invalid, or describes several datasets.
    """
    if not file.exists():
        return DatasetCard()
    match = FRONT_MATTER.match(read_text(file, limit=LARGEST))
    card = parse_yaml(f"\n{match[1]}", file) if match else None
    if not isinstance(card, dict):
        return DatasetCard()
    configs, infos = _list(card.get("configs")), _list(card.get("dataset_info"))
    config = _default(configs, file, "configs")
    names = [one.get("config_name") for one in infos]
    if len(infos) > 1 and config.get("config_name") in names:
        infos = [infos[names.index(config["config_name"])]]
    info = _default(infos, file, "dataset_info")
    columns = (column for column in _list(info.get("features")) if "name" in column)
    classes = {str(column["name"]): _class_names(column, file) for column in columns}
    return DatasetCard(
        {name: names for name, names in classes.items() if names}, _splits(config.get("data_files"))
    )


def _list(value: Any) -> list[dict[str, Any]]:
    """Return the mappings of a list, or a mapping as a list."""
    values = value if isinstance(value, list) else [value]
    return [value for value in values if isinstance(value, dict)]


def _default(configs: list[dict[str, Any]], file: Path, section: str) -> dict[str, Any]:
    """Return the configuration of a dataset that is read if none is asked for."""
    if len(configs) < 2:
        return configs[0] if configs else {}
    for config in configs:
        if config.get("default") is True or config.get("config_name") == "default":
            return config
    names = ", ".join(f"'{config.get('config_name')}'" for config in configs)
    raise TailproofError(
        f"{file}: '{section}' describes several datasets ({names}): copy the one to read into a "
        "folder without this file and set data.source.root to that folder, or mark one with "
        "`default: true`"
    )


def _class_names(column: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    """Return the names of a column of class labels; empty for another column."""
    kind = column.get("dtype")
    label = kind.get("class_label") if isinstance(kind, dict) else column.get("class_label")
    names = label.get("names") if isinstance(label, dict) else None
    if isinstance(names, dict):
        numbered = {str(number): str(name) for number, name in names.items()}
        if sorted(numbered) != sorted(map(str, range(len(numbered)))):
            raise TailproofError(
                f"{file}: the class names of '{column['name']}' have the numbers "
                f"{', '.join(list(numbered)[:5])}, …, expected 0 to {len(numbered) - 1}: correct "
                "dataset_info"
            )
        return tuple(numbered[str(number)] for number in range(len(numbered)))
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _splits(files: Any) -> dict[str, list[str]]:
    """Return the patterns of each split; those without a split are for training."""
    if isinstance(files, str):
        return {"train": [files]}
    if isinstance(files, dict):
        return {str(split): _texts(paths) for split, paths in files.items()}
    if not isinstance(files, list):
        return {}
    if all(isinstance(one, str) for one in files):
        return {"train": files}
    return {str(one["split"]): _texts(one.get("path")) for one in _list(files) if "split" in one}


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value])]
