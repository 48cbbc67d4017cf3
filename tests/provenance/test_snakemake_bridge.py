import inspect
import os
import subprocess
import sys

import pytest
from snakemake.api import SnakemakeApi  # noqa: F401 - its modules import each other in this order
from snakemake.dag import DAG
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.workflow import Workflow

from tailproof.preflight.slurm_resources import TRAIN_MINUTES
from tailproof.provenance.snakemake_bridge import plan, remember
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import read_record
from tests.project import TINY

MOVED = "Snakemake has moved a private part: adapt tailproof.provenance.snakemake_bridge"


def test_the_private_parts_of_snakemake_are_where_the_bridge_expects_them(tmp_path):
    """First of all: where this fails, restore, the audit and the order of jobs do not work."""
    dag = inspect.getsource(DAG)
    for name in ("_n_until_ready", "_ready_jobs", "_dependencies", "self.depending"):
        assert name in dag, f"{MOVED}: DAG.{name}"
    assert callable(getattr(DAG, "needrun_jobs", None)), f"{MOVED}: DAG.needrun_jobs"
    assert callable(getattr(FilePersistence, "_write_record", None)), f"{MOVED}: _write_record"
    assert "self._onstart(" in inspect.getsource(Workflow.execute), f"{MOVED}: Workflow._onstart"
    known = set(MetadataRecord.model_fields)
    written = {"rule", "input", "log", "params", "starttime", "endtime", "incomplete"}
    assert written | {"input_checksums"} <= known, f"{MOVED}: MetadataRecord"


def test_what_is_remembered_snakemake_reads_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remember({"results/a.json": {"rule": "train", "params": ["1"], "starttime": 1.0}})
    memory = FilePersistence(path=tmp_path / ".snakemake")
    assert memory._read_record("results/a.json").rule == "train", MOVED


def test_training_waits_for_the_preflight_and_asks_for_what_it_measured(finished):
    def record(stage, name):
        return read_record(finished.results / "provenance" / stage / f"{name}.json")

    preflight = record("preflight", "preflight")
    trained = [record("train", f"{expert}-0") for expert in TINY["experts"]]
    assert all(preflight.ended <= run.started for run in trained)
    assert all(run.running["runtime"] < TRAIN_MINUTES for run in trained)


SHARED = """
from tailproof.provenance.snakemake_bridge import before_jobs


before_jobs(workflow, lambda: print(f"{len(list(workflow.dag.needrun_jobs()))} jobs to run"))


rule made:
    output: "made.txt"
    shell: "touch {output}"
"""

OF_A_MODULE = """
onstart:
    print("the first block")


module shared:
    snakefile: "shared.smk"


use rule * from shared as shared_*


onstart:
    print("the last block")
"""


def test_a_module_acts_before_the_first_job_and_keeps_blocks_of_others(tmp_path):
    (tmp_path / "shared.smk").write_text(SHARED)
    (tmp_path / "Snakefile").write_text(OF_A_MODULE)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "made.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "made.txt").is_file()
    assert done.stdout.splitlines()[:2] == ["1 jobs to run", "the last block"]


def test_where_snakemake_could_not_write_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / ".snakemake").mkdir()
    # As on a disk that is mounted read-only: permissions do not bind the root user.
    monkeypatch.setattr(os, "access", lambda path, _: path.name != ".snakemake")
    with pytest.raises(TailproofError, match=rf"{tmp_path}/\.snakemake\b"):
        plan("results/tiny/report/index.html")


def test_a_folder_without_workflow_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TailproofError, match="Snakefile"):
        plan("anything")
