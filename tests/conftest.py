"""Real data, small: the digits, prepared, split and sharded once a session."""

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import settings

import tailproof.models  # noqa: F401 - lets timm be imported
from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.manifest import write_manifest
from tailproof.data.prepare import prepare
from tailproof.data.shards import shard
from tailproof.data.splits import split
from tests.project import Project

# A machine that is busy or slow fails no test: pytest's own limit is the only one.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

LONGEST = ("workflow", "provenance", "training")


def pytest_collection_modifyitems(items):
    """The folders of the longest files first, so that no process is left alone with one."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


DIGITS = {
    "source": {"name": "digits"},
    "long_tail": {"kind": "exponential", "imbalance": 20},
    "shards_per_split": 2,
}


def build_data(config: Data, folder: Path) -> Path:
    """Run the stages prepare to shard in `folder`; return the manifest's path."""
    samples, splits = folder / "samples.parquet", folder / "splits.parquet"
    prepare(config, samples)
    split(samples, config, splits, folder / "splits.json")
    facts = {}
    for name in SPLITS:
        for part in range(config.shards_per_split):
            path = folder / "shards" / name / f"part-{part:05d}.parquet"
            facts.setdefault(name, []).append(path.with_suffix(".json"))
            shard(samples, splits, config, name, part, path, path.with_suffix(".json"))
    write_manifest(samples, facts, config, folder / "shards" / "manifest.json")
    return folder / "shards" / "manifest.json"


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The manifest of the sharded digits, imbalance 20, two parts a split."""
    return build_data(Data(**DIGITS), tmp_path_factory.mktemp("digits"))


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh project, nothing run yet."""
    return Project.fresh(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose tiny experiment has been run whole; not to be changed.

    It is run once, however many processes run the tests; each has a copy.
    """
    mine = tmp_path_factory.mktemp("finished")
    shared = mine.parents[1] if "PYTEST_XDIST_WORKER" in os.environ else mine
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "original").exists():
            project = Project.fresh(shared / "unfinished")
            done = project.snakemake()
            assert done.returncode == 0, done.stdout + done.stderr
            project.folder.rename(shared / "original")
    return Project(shared / "original").copy(mine / "project")


@pytest.fixture
def twin(finished, tmp_path) -> Project:
    """A copy of the finished project, to be changed."""
    return finished.copy(tmp_path / "twin")
