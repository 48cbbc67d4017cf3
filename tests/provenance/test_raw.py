"""Raw data on disk: altered, removed, added, and on another machine not there at all."""

import re
import shutil

import pytest
import yaml

from tests.workflow.test_staleness import expected_jobs


@pytest.fixture
def project(photographs, tmp_path):
    return photographs.copy(tmp_path / "copy")


def planned(project) -> set[str]:
    done = project.plan()
    assert done.returncode == 0, done.stderr
    return expected_jobs(done)


def add(folder):
    (folder / "dog" / "new.jpg").write_bytes((folder / "dog" / "100.jpg").read_bytes())


@pytest.mark.parametrize(
    ("change", "state", "name"),
    [
        (lambda folder: (folder / "dog/100.jpg").write_bytes(b"other"), "altered", "dog/100.jpg"),
        (lambda folder: (folder / "dog/100.jpg").unlink(), "missing", "dog/100.jpg"),
        (add, "orphan", "dog/new.jpg"),
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
    assert re.search(r"^note +.*\b150\b.*my photos", told.stdout, re.M)
    assert planned(project) == set()
    project.tailproof("restore", "tiny")
    assert planned(project) == set()
    shutil.rmtree(project.folder / "results")
    done = project.plan()
    assert "my photos is not a folder" in done.stdout + done.stderr


def test_a_root_that_is_mistyped_later_is_told_before_anything_runs(project):
    value = yaml.safe_load((project.folder / "config/experiments/tiny.yaml").read_text())
    value["data"]["source"]["root"] = "my photo"
    project.write("config/experiments/tiny.yaml", value)
    done = project.plan()
    assert done.returncode != 0
    assert re.search("my photo does not exist.* my photos", done.stdout + done.stderr)
