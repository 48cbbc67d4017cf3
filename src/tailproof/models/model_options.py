"""The arguments that a model of timm's registry may be built with.

timm passes any argument on, also those that fetch weights or open files. A recipe and the folder of
an expert may set the shape of the network and nothing else.
"""

import math
import re
from typing import Any

RESERVED = {
    "cache_dir", "checkpoint_path", "exportable", "feature_cfg", "features_only", "kwargs_filter",
    "model_cfg", "model_cls", "model_name", "no_jit", "num_classes", "out_indices", "scriptable",
    "variant",
}  # fmt: skip
"""Arguments of timm's own functions; so are all that begin with ``pretrained``."""

LARGEST = 65_536
MOST_VALUES = 256
MOST_LEVELS = 5
_NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
_TEXT = re.compile(r"[\w-]{0,64}", re.ASCII)  # no path, address or expression


def check_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a model's arguments if each of them sets the shape of the network.

    Args:
        arguments: numbers, short words, and lists and mappings of these, by name.

    Raises:
        ValueError: an argument is reserved for timm, or has another kind of value.
    """
    values = [(arguments, 0)]
    for value, depth in values:
        if isinstance(value, dict):
            for name in value:
                _check_name(name)
            values += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            values += [(item, depth + 1) for item in value]
        else:
            _check_value(value)
        if depth > MOST_LEVELS or len(values) > MOST_VALUES:
            raise ValueError(
                f"has more than {MOST_LEVELS} levels or more than {MOST_VALUES} values"
            )
    return arguments


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"has {name!a:.80}, which is not the name of an argument")
    if name in RESERVED or name.startswith("pretrained"):
        raise ValueError(f"has '{name}', which does not set the shape of the network")


def _check_value(value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise ValueError(f"has {value!a:.80}, expected numbers up to {LARGEST}")
    elif not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise ValueError(f"has {value!a:.80}, expected numbers and words")
