"""Parts of the configuration as plain values, for the parameters of rules."""

from typing import Any

from pydantic import BaseModel

from tailproof.config.data import Data


def config_section(section: BaseModel, *names: str) -> dict[str, Any]:
    """Return a section of the configuration, or only its named fields, as plain values."""
    return section.model_dump(mode="json", include=set(names) or None)


def data_section(data: Data, *names: str) -> dict[str, Any]:
    """Return named fields of the data section, and what says which pictures are unknown."""
    return config_section(data, *names, *(["target", "unknown"] if data.splits_of_unknown else []))
