"""Faults while the real pipeline runs: what it must refuse, keep or do again."""

import os

import numpy as np
import pytest
from PIL import Image

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
    wrong_clock = project.folder / "photos" / "cat" / "1.bmp"
    os.utime(wrong_clock, (4e9, 4e9))  # in the year 2096, as a camera may have it
    target = "results/tiny/splits.json"
    assert project.snakemake("--", target).returncode == 0
    assert expected_jobs(project.snakemake("-n", "--", target)) == set()
    assert wrong_clock.stat().st_mtime == 4e9, "raw files are never touched"
    old = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(0, old.st_mtime_ns - 10**12))
    done = project.plan("--", target)
    assert f"photos/{path.parent.name}/89.bmp" in done.stdout + done.stderr
    assert "prepare" in expected_jobs(done)
    assert project.snakemake("--", target).returncode == 0
    assert expected_jobs(project.plan("--", target)) == set()
