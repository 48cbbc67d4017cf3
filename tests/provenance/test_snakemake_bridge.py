import os

import pytest

from tailproof.provenance.snakemake_bridge import plan
from tailproof.runtime.errors import TailproofError


def test_where_snakemake_could_not_write_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / ".snakemake").mkdir()
    # As on a disk that is mounted read-only: permissions do not bind the root user.
    monkeypatch.setattr(os, "access", lambda path, _: path.name != ".snakemake")
    with pytest.raises(TailproofError, match=r"\.snakemake cannot be written"):
        plan("results/tiny/report/index.html")


def test_a_folder_without_workflow_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TailproofError, match="holds no Snakefile"):
        plan("anything")
