"""The JSON schema of a record: ``python -m tailproof.provenance.record_schema FILE``."""

import sys
from typing import Any

from tailproof.files import write_json
from tailproof.runtime.records import Record


def schema() -> dict[str, Any]:
    """Return the JSON schema of ``results/EXPERIMENT/provenance/RULE/NAME.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Record.model_json_schema(mode="serialization"),
    }


if __name__ == "__main__":
    write_json(sys.argv[1], schema())
