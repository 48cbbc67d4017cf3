"""The pipeline on a GPU: `make bench-gpu` runs these tests, and they fail without one."""

import csv
import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tests.project import Project

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory):
    """The tiny experiment, trained on the GPU."""
    assert torch.cuda.is_available()
    project = Project.fresh(tmp_path_factory.mktemp("gpu") / "project")
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_the_records_name_the_gpu_and_all_is_proven(on_gpu):
    records = (on_gpu.results / "provenance").glob("train/*.json")
    devices = {json.loads(path.read_text())["machine"]["device"] for path in records}
    assert devices == {torch.cuda.get_device_name(0)}
    assert on_gpu.tailproof("audit", "tiny").returncode == 0


def test_a_second_run_gives_the_same_numbers_within_the_noise(on_gpu):
    done = on_gpu.tailproof("reproduce", "tiny", "--jobs", "40")
    report = json.loads((on_gpu.folder / "reproduction/tiny/reproduction.json").read_text())
    verdicts = {job["job"]: job["verdict"] for job in report["jobs"]}
    assert done.returncode == 0, verdicts


def test_probabilities_and_decisions_are_those_of_the_processor(on_gpu, tmp_path, monkeypatch):
    for number, pixels in enumerate(load_digits().images[:200]):
        Image.fromarray((pixels * 15).astype(np.uint8)).save(tmp_path / f"{number:03}.png")
    expert = str(on_gpu.results / "experts/balanced_softmax/seed-0")
    answers = []
    for devices in (os.environ.get("CUDA_VISIBLE_DEVICES", "0"), ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
        done = on_gpu.tailproof("predict", expert, str(tmp_path), "--csv")
        assert done.returncode == 0, done.stderr
        answers.append(list(csv.DictReader(io.StringIO(done.stdout))))
    on, off = answers
    assert len(on) == len(off) == 200
    for one, other in zip(on, off, strict=True):
        assert one["decision"] == other["decision"]
        assert abs(float(one["probability"]) - float(other["probability"])) < 1e-3
