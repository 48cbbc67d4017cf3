"""Faults while the real pipeline runs: what it must refuse, keep or do again."""

import os
import signal
import subprocess
import time
from copy import deepcopy

import numpy as np
import pytest
from PIL import Image

from tailproof.runtime.job_logging import ATTEMPT
from tests.project import TINY
from tests.workflow.test_staleness import expected_jobs

EXPERT = "results/tiny/experts/cross_entropy/seed-0"
SHARD = "results/tiny/shards/test/part-00000.parquet"


@pytest.mark.parametrize(
    "code", [f"open({SHARD!r}, 'rb').read()", f"pyarrow.parquet.read_table({SHARD!r})"]
)
def test_a_stage_that_opens_test_without_declaring_it_fails(twin, code):
    script = twin.folder / "workflow" / "scripts" / "calibrate.py"
    script.write_text(f"{script.read_text()}    import pyarrow.parquet\n    {code}\n")
    done = twin.snakemake("--", f"{EXPERT}/calibration.json")
    assert done.returncode == 1
    assert f"calibrate must not open {SHARD}" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    audit = twin.tailproof("audit", "tiny")
    assert audit.returncode == 1
    assert f"missing   {EXPERT}/calibration.json" in audit.stdout


def test_an_image_replaced_by_one_with_an_older_time_is_prepared_again(project):
    rng = np.random.default_rng(0)
    for number in range(90):
        path = project.folder / "photos" / ("cat" if number % 3 else "dog") / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(path)
    data = {"source": {"name": "image_folder", "root": "photos"}}
    project.write("config/experiments/tiny.yaml", {**TINY, "data": data})
    target = "results/tiny/splits.json"
    assert project.snakemake("--", target).returncode == 0
    old = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(0, old.st_mtime_ns - 10**12))
    done = project.snakemake("-n", "--", target)
    assert f"photos/{path.parent.name}/89.bmp" in done.stdout + done.stderr
    assert "prepare" in expected_jobs(done)
    assert project.snakemake("--", target).returncode == 0
    assert expected_jobs(project.snakemake("-n", "--", target)) == set()


def train_for_a_while(twin) -> subprocess.Popen:
    """Start a long training; return Snakemake, in a group of its own, in the middle of it."""
    value = deepcopy(TINY)
    value["recipe"] |= {"epochs": 60, "checkpoint": {"steps": 1}}
    twin.write("config/experiments/tiny.yaml", value)
    log = twin.folder / "logs" / "tiny" / "train" / "cross_entropy-0.log"
    log.unlink()
    process = twin.start("--", f"{EXPERT}/history.csv")
    while not log.exists() or log.read_text().count("val_loss") < 3:
        assert process.poll() is None
        time.sleep(0.1)
    return process


def test_a_kill_in_the_middle_of_training_keeps_the_log(twin):
    process = train_for_a_while(twin)
    log = twin.folder / "logs" / "tiny" / "train" / "cross_entropy-0.log"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = log.read_text().splitlines()[:4]
    assert twin.snakemake("--unlock").returncode == 0
    again = twin.snakemake("--rerun-incomplete", "--", f"{EXPERT}/history.csv")
    assert again.returncode == 0, again.stderr
    lines = log.read_text().splitlines()
    assert lines[:4] == first
    assert sum(line.startswith(ATTEMPT) for line in lines) == 2
    assert any("resumes in epoch" in line for line in lines)
