"""Writes the JSON schema of an experiment: ``python -m tailproof.config.json_schema FILE``."""

import sys
from typing import Any

from tailproof.config.experiment import Experiment
from tailproof.files import write_json


def schema() -> dict[str, Any]:
    """Return the JSON schema of ``config/experiments/NAME.yaml``, which rejects unknown keys."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_closed(Experiment.model_json_schema()),
    }


def _closed(node: Any) -> Any:
    """Forbid keys that do not match the key pattern of a mapping; pydantic allows them."""
    if isinstance(node, list):
        return [_closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(part) for key, part in node.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in node else closed


if __name__ == "__main__":
    write_json(sys.argv[1], schema())
