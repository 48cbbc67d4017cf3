"""What somebody adds to Tailproof from outside the package, used for real."""

import importlib
import json
import sys

import pytest

from tailproof.config.data import SOURCE_CONFIGS, Data
from tailproof.config.splits import SPLITS
from tailproof.config.validation import parse_experiment
from tailproof.data.manifest import write_manifest
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw
from tailproof.data.shards import shard
from tailproof.data.sources import SOURCES
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet

STRIPES = '''
"""A source of striped images: one row of a text file per image."""

from pathlib import Path
from typing import Literal

import numpy as np

from tailproof.config.base import Count
from tailproof.config.data import SourceConfig
from tailproof.data.images import encode_png
from tailproof.data.sources import Sample, Source, register_source


class Stripes(SourceConfig):
    name: Literal["stripes"]
    root: str
    side: Count = 8


@register_source(Stripes)
class StripesSource(Source):
    classes = {"class": ["across", "down"]}

    def __init__(self, config):
        self.config, self.root = config, Path(config.root)
        self.rows = (self.root / "rows.txt").read_text().split()

    def files(self):
        return [self.root / "rows.txt"]

    def __len__(self):
        return len(self.rows)

    def samples(self):
        for row, name in enumerate(self.rows):
            yield Sample(f"stripe-{row}", {"class": name}, "rows.txt", row)

    def read(self, path, row):
        image = np.full((self.config.side, self.config.side), row, np.uint8)
        image[::2] = 255
        return encode_png(image if self.rows[row] == "across" else image.T)
'''


@pytest.fixture
def sources():
    """Forget the sources that a test registers."""
    registries = [(registry, dict(registry)) for registry in (SOURCES, SOURCE_CONFIGS)]
    yield
    for registry, before in registries:
        registry.clear()
        registry.update(before)


def test_a_source_from_outside_the_package(tmp_path, monkeypatch, sources):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "rows.txt").write_text("across down " * 60)
    (tmp_path / "stripes_source.py").write_text(STRIPES)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("stripes_source")
    monkeypatch.delitem(sys.modules, "stripes_source")

    source = {"name": "stripes", "root": str(tmp_path / "raw")}
    experiment = parse_experiment(
        {
            "title": "Stripes",
            "data": {"source": source, "shards_per_split": 2},
            "experts": {"a": {}},
        }
    )
    config = Data(**experiment.data.model_dump(mode="json"))  # as a job gets it
    assert config == experiment.data and config.source.side == 8

    samples, splits = tmp_path / "samples.parquet", tmp_path / "splits.parquet"
    prepare(config, samples)
    list_raw(config, samples, tmp_path / "raw.parquet")
    split(samples, config, splits, tmp_path / "splits.json")
    facts = {name: [tmp_path / f"{name}-{part}.json" for part in range(2)] for name in SPLITS}
    for name, paths in facts.items():
        for part, path in enumerate(paths):
            shard(samples, splits, config, name, part, path.with_suffix(".parquet"), path)
    write_manifest(samples, facts, config, tmp_path / "manifest.json")

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["classes"] == {"class": ["across", "down"]}
    assert (manifest["height"], manifest["width"]) == (8, 8)
    assert sum(part["rows"] for part in manifest["splits"].values()) == 120
    assert read_parquet(tmp_path / "raw.parquet")["path"].to_pylist() == ["rows.txt"]
