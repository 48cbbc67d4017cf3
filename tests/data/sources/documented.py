"""The examples of the page on one's own images, to be run in tests."""

import re
from pathlib import Path

import yaml

PAGE = Path(__file__).resolve().parents[3] / "docs" / "your-own-images.md"


def documented_data(source: str) -> dict:
    """Return the section `data` of the first example of a source."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    sections = [(yaml.safe_load(block) or {}).get("data", {}) for block in blocks]
    return next(data for data in sections if data.get("source", {}).get("name") == source)
