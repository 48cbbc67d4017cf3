"""Features of a frozen backbone in the real pipeline: what makes them stale, and what not.

The files are those that heads read; no head is trained here.
"""

import re
from copy import deepcopy

import pytest
import torch
from safetensors.torch import save_file

from tailproof.files import read_json
from tailproof.models import build_model
from tests.project import TINY, Project

EXPERIMENT = {
    **TINY,
    "recipe": {
        "model": {"name": "cifar_resnet20", "weights": "start.safetensors"},
        "features": {"size": 8},
    },
}


def write_weights(project: Project, seed: int) -> None:
    torch.manual_seed(seed)
    network = build_model("cifar_resnet20", classes=3, channels=3, options={})
    save_file(network.state_dict(), project.folder / "start.safetensors")


def records(project: Project) -> set[str]:
    folder = project.folder / "features" / "provenance" / "embed"
    return {path.name for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    project = Project.fresh(tmp_path_factory.mktemp("project"))
    write_weights(project, 0)
    project.write("config/experiments/tiny.yaml", EXPERIMENT)
    done = project.run("snakemake", "--cores", "2", "--until", "embed")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def twin(embedded, tmp_path):
    return embedded.copy(tmp_path / "twin")


def planned(project: Project) -> list[str]:
    """Return the rules of the jobs up to embed that Snakemake would run."""
    done = project.plan("--until", "embed")
    assert done.returncode == 0, done.stdout + done.stderr
    stats = (done.stdout + done.stderr).partition("Job stats:")[2].partition("total")[0]
    return re.findall(r"^(\w+) +\d+$", stats, flags=re.M)


def changed(**recipe) -> dict:
    value = deepcopy(EXPERIMENT)
    value["recipe"] |= recipe
    return value


def test_one_job_embeds_for_all_experts(embedded):
    (name,) = records(embedded)
    assert planned(embedded) == []
    record = read_json(embedded.folder / "features" / "provenance" / "embed" / name)
    assert len(record["outputs"]) == 6 and record["results"]["samples"] > 1000
    assert not (embedded.folder / ".state" / "embed" / name.removesuffix(".json")).exists()


def test_a_loss_re_embeds_nothing(twin):
    experts = {**TINY["experts"], "cross_entropy": {"loss": {"name": "focal", "gamma": 1.0}}}
    twin.write("config/experiments/tiny.yaml", {**EXPERIMENT, "experts": experts})
    assert planned(twin) == []


def test_an_experiment_with_the_same_data_shares_the_folder(twin):
    before = records(twin)
    twin.write("config/experiments/a_first.yaml", {**EXPERIMENT, "title": "Sorted before"})
    twin.write("config/config.yaml", {"experiments": ["a_first", "tiny"], "results": "results"})
    assert "embed" not in planned(twin)
    done = twin.run("snakemake", "--cores", "2", "--until", "embed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(twin) == before


def test_other_weights_under_the_same_name_embed_again(twin):
    write_weights(twin, 1)
    assert set(planned(twin)) == {"fetch", "embed"}


@pytest.mark.parametrize(
    "recipe",
    [{"features": {"size": 16}}, {"features": {"size": 8, "views": 2}}, {"normalize": True}],
)
def test_other_features_have_a_folder_of_their_own(twin, recipe):
    twin.write("config/experiments/tiny.yaml", changed(**recipe))
    assert planned(twin) == ["embed"]
