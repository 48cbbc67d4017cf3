"""Raw data on disk: altered, removed, added, and on another machine not there at all."""

import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.project import TINY, Project
from tests.workflow.test_staleness import expected_jobs


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """An experiment on a folder of pictures, finished."""
    project = Project.fresh(tmp_path_factory.mktemp("photographs"))
    rng = np.random.default_rng(0)
    for number in range(90):
        path = project.folder / "my photos" / ("cät" if number % 3 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    experts = {"only": TINY["experts"]["cross_entropy"]}
    data = {"source": {"name": "image_folder", "root": "my photos"}}
    project.write(
        "config/experiments/tiny.yaml",
        {**TINY, "data": data, "experts": experts, "recipe": {**TINY["recipe"], "epochs": 1}},
    )
    done = project.snakemake()
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(photographs, tmp_path):
    return photographs.copy(tmp_path / "copy")


def planned(project) -> set[str]:
    done = project.snakemake("-n")
    assert done.returncode == 0, done.stderr
    return expected_jobs(done)


def add(folder):
    (folder / "dog" / "new.png").write_bytes((folder / "dog" / "0.png").read_bytes())


@pytest.mark.parametrize(
    ("change", "state", "name"),
    [
        (lambda folder: (folder / "dog/0.png").write_bytes(b"other"), "altered", "dog/0.png"),
        (lambda folder: (folder / "dog/0.png").unlink(), "missing", "dog/0.png"),
        (add, "orphan", "dog/new.png"),
    ],
)
def test_a_changed_folder_is_found_and_prepared_again(project, change, state, name):
    change(project.folder / "my photos")
    told = project.tailproof("audit", "tiny")
    assert told.returncode == 1
    assert f"{state:<10}my photos/{name}" in told.stdout
    assert re.search(r"results/tiny/samples\.parquet  .*my photos", told.stdout) or (
        "            results/tiny/samples.parquet" in told.stdout
    )
    assert f"my photos/{name}" in project.tailproof("restore", "tiny").stdout
    assert {"prepare", "split", "evaluate", "report"} <= planned(project)


def test_results_hold_where_the_raw_data_are_not(project):
    shutil.rmtree(project.folder / "my photos")
    told = project.tailproof("audit", "tiny")
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"^note +.*\b90\b.*my photos", told.stdout, re.M)
    assert planned(project) == set()
    project.tailproof("restore", "tiny")
    assert planned(project) == set()
    shutil.rmtree(project.folder / "results")
    done = project.snakemake("-n")
    assert "my photos is not a folder" in done.stdout + done.stderr


def test_a_root_that_is_mistyped_later_is_told_before_anything_runs(project):
    value = yaml.safe_load((project.folder / "config/experiments/tiny.yaml").read_text())
    value["data"]["source"]["root"] = "my photo"
    project.write("config/experiments/tiny.yaml", value)
    done = project.snakemake("-n")
    assert done.returncode != 0
    assert re.search("my photo does not exist.* my photos", done.stdout + done.stderr)
