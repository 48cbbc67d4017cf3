"""A user's project: its folders, and what `tailproof init` writes."""

import subprocess
import sys

import pytest
import yaml

from tailproof.config.validation import load_config, load_experiment
from tailproof.project import EXAMPLE, PIPELINE, Paths, init_project, project_paths
from tailproof.runtime.errors import TailproofError

TIMM = "python train.py raw/birds --model resnet18 --epochs 5 --lr 0.1 -b 64"


def init(folder, *arguments):
    command = [sys.executable, "-m", "tailproof.cli", "init", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_project_holds_what_its_user_may_change_and_loads(tmp_path):
    done = init(tmp_path, "study")
    assert done.returncode == 0, done.stderr
    study = tmp_path / "study"
    written = {line.removeprefix("wrote ") for line in done.stdout.splitlines() if "wrote" in line}
    files = {path.relative_to(tmp_path).as_posix() for path in study.rglob("*") if path.is_file()}
    assert written == files
    assert {
        "study/Snakefile",
        "study/.gitignore",
        "study/dvc.yaml",
        "study/profiles/default/config.yaml",
        "study/slurm/config.yaml",
        f"study/config/experiments/{EXAMPLE}.yaml",
    } <= files
    assert load_config(study / "config" / "config.yaml").experiments == [EXAMPLE]
    assert load_experiment(study / "config" / "experiments" / f"{EXAMPLE}.yaml").title


def test_results_have_another_name_by_one_setting(tmp_path):
    init_project(tmp_path / "study", results="out")
    paths = project_paths(tmp_path / "study")
    assert paths == Paths(results="out")
    assert paths.record("a", "train", "x-0") == "out/a/provenance/train/x-0.json"
    assert paths.inside("out/a/shards/test/part-00000.parquet")[:2] == ("a", "shards")
    assert paths.inside("results/a/audit.json") is None
    stages = yaml.safe_load((tmp_path / "study" / "dvc.yaml").read_text())["stages"]
    kept = [path for stage in stages.values() for out in stage["outs"] for path in out]
    assert all(path.startswith("${results}/") for path in kept)
    assert "out/*/*" in (tmp_path / "study" / ".gitignore").read_text().splitlines()


def test_results_lie_on_another_disk_by_one_setting(tmp_path):
    disk = str(tmp_path / "disk")
    init_project(tmp_path / "study", results=disk)
    paths = project_paths(tmp_path / "study")
    assert paths.page("a") == f"{disk}/a/report/index.html"
    assert paths.inside(f"{disk}/a/audit.json") == ("a", "audit.json")
    ignored = (tmp_path / "study" / ".gitignore").read_text()
    assert disk not in ignored


def test_the_manual_of_a_project_links_to_nothing_that_it_lacks(tmp_path):
    init_project(tmp_path / "study")
    manual = (tmp_path / "study" / "config" / "README.md").read_text()
    assert "data.source" in manual and "](../" not in manual


def test_without_the_setting_results_are_in_results(tmp_path):
    assert project_paths(tmp_path) == Paths()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("experiments: [a]\n")
    assert project_paths(tmp_path) == Paths()


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TailproofError, match="not an empty folder"):
        init_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert init(tmp_path).returncode == 1


def test_a_command_of_timm_is_an_experiment_of_a_new_project_or_of_one_that_is_there(tmp_path):
    assert init(tmp_path, "birds", "--from-timm", TIMM).returncode == 0
    birds = tmp_path / "birds"
    assert load_config(birds / "config" / "config.yaml").experiments == ["resnet18"]
    assert load_experiment(birds / "config" / "experiments" / "resnet18.yaml").recipe.epochs == 5
    again = init(birds, "--from-timm", TIMM)
    assert again.returncode == 1
    assert "resnet18.yaml" in again.stderr
    other = init(birds, "--from-timm", TIMM.replace("resnet18", "resnet34"))
    assert other.returncode == 0, other.stderr
    assert (birds / "config" / "experiments" / "resnet34.yaml").is_file()


def test_the_pipeline_is_where_the_package_says():
    assert (PIPELINE / "Snakefile").is_file()
    assert (PIPELINE / "workflow" / "scripts" / "train.py").is_file()


def test_what_leads_out_of_the_results_is_not_inside(tmp_path):
    paths = Paths(results="results")
    assert paths.inside("results/tiny/a.json") == ("tiny", "a.json")
    assert paths.inside("features/key/a") == ("features", "key", "a")
    for path in ("results/../x", "results/tiny/../../x", "features/../x", "../results/x", "/etc/x"):
        assert paths.inside(path) is None
    outside = Paths(results="../results")
    assert outside.inside("../results/tiny/a.json") == ("tiny", "a.json")


def test_no_command_writes_among_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "results" / "tiny")
    paths = Paths(results="results")
    for path in ("", "results/x", "features/x", "weights/x", "link/x", "a/../results/x"):
        with pytest.raises(TailproofError, match="--output"):
            paths.check_output("--output", path)
    paths.check_output("--output", "elsewhere/results/x")
