"""Real data, small: the digits, prepared, split and sharded once a session."""

import fcntl
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data.manifest import write_manifest
from tailproof.data.prepare import prepare
from tailproof.data.shards import shard
from tailproof.data.splits import split
from tailproof.runtime.process import limit_spinning
from tests.project import TINY, Project

# A machine that is busy or slow fails no test: pytest's own limit is the only one. Each run draws
# other examples, so that many runs find what a few of them miss.
settings.register_profile("tests", deadline=None, max_examples=30)
settings.load_profile("tests")

# Only the first of three processes waits for the finished project: the others have work without it.
LONGEST = (
    "test_installed.py",
    "test_resume.py",
    "test_distributed.py",
    "test_audit.py",
    "test_pipeline.py",
    "test_staleness.py",
    "test_preflight_pipeline.py",
    "test_restore.py",
    "test_raw.py",
    "test_signals.py",
)


def pytest_collectstart():
    """Let the tests import timm; the process that only distributes them need not.

    What is collected is kept: nobody looks for garbage in it.
    """
    gc.disable()
    limit_spinning()
    import tailproof.models  # noqa: F401


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process is left alone with one."""
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.name, len(LONGEST)))


def pytest_collection_finish():
    """See `pytest_collectstart`."""
    gc.freeze()
    gc.enable()


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
def finished(tmp_path_factory) -> Iterator[Project]:
    """A project whose tiny experiment has been run whole; not to be changed.

    It is run once, however many processes run the tests; each has a copy.
    """
    yield from run_once("finished", tmp_path_factory, lambda project: None)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Iterator[Project]:
    """A project whose experiment on a folder of photographs has been run whole.

    Mixed sizes, colour, no test set, a natural imbalance, streamed by workers. It is not to be
    changed, and run once like `finished`.
    """
    yield from run_once("photographs", tmp_path_factory, photograph)


def run_once(name: str, tmp_path_factory, change) -> Iterator[Project]:
    """A copy of a project that was changed and then run whole; no test may add files to it."""

    def make(folder: Path) -> None:
        project = Project.fresh(folder)
        change(project)
        done = project.snakemake()
        assert done.returncode == 0, done.stdout + done.stderr

    made = Project(make_once(name, tmp_path_factory, make))
    copy = made.copy(tmp_path_factory.mktemp(name) / "project")
    before = set((copy.folder / "results").rglob("*"))
    yield copy
    assert set((copy.folder / "results").rglob("*")) == before


def make_once(name: str, tmp_path_factory, make) -> Path:
    """Return a folder that is made by the first process to ask, of all that run the tests.

    It is not to be changed.
    """
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name).exists():
            make(shared / f"{name} unfinished")
            (shared / f"{name} unfinished").rename(shared / name)
    return shared / name


def photograph(project: Project) -> None:
    """Have the tiny experiment use a folder of colour photographs."""
    rng = np.random.default_rng(0)
    for number in range(150):
        name = ("cät", "dog", "emu & co")[0 if number < 80 else 1 if number < 120 else 2]
        side = 20 + number % 17
        pixels = rng.integers(0, 256, (side, 31, 3), dtype=np.uint8)
        pixels[..., len(name) % 3] //= 4
        path = project.folder / "my photos" / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    crop = {"name": "RandomResizedCrop", "options": {"size": [16, 16]}}
    changes = {
        "image_size": 16,
        "batch_size": 16,
        "workers": 1,
        "cache_gb": 0,
        "augmentation": {"albumentations": [crop]},
    }
    value = {
        **TINY,
        "data": {"source": {"name": "image_folder", "root": "my photos"}},
        "recipe": {**TINY["recipe"], **changes},
        "experts": {"only": {"loss": {"name": "cross_entropy", "class_weights": "balanced"}}},
    }
    project.write("config/experiments/tiny.yaml", value)


@pytest.fixture
def twin(finished, tmp_path) -> Project:
    """A copy of the finished project, to be changed."""
    return finished.copy(tmp_path / "twin")
