"""A clone starts warm: real git, DVC and Snakemake; damage and edits are found."""

import re

import pytest

from tailproof.digests import digest_of
from tailproof.files import json_text, read_json
from tests.workflow.test_staleness import AFTERWARDS, expected_jobs, flip, of_experts

RAW_LOGITS = "results/tiny/experts/{}/seed-0/raw_logits/calib.parquet"


@pytest.fixture(scope="module")
def pulled(published, tmp_path_factory):
    """A clone after `dvc pull`, as a colleague would have it; not to be changed."""
    checkout = published.clone(tmp_path_factory.mktemp("pulled") / "clone")
    checkout.told("dvc", "pull", "--quiet")
    return checkout


@pytest.fixture
def clone(pulled, tmp_path):
    """A copy of that clone, to be changed."""
    return pulled.copy(tmp_path / "clone")


def planned(checkout) -> set[str]:
    done = checkout.snakemake("--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    return expected_jobs(done)


def restored(checkout) -> str:
    done = checkout.tailproof("restore", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_clone_has_nothing_to_do_and_holds(clone):
    assert re.fullmatch(r"[\d,]+ files .*\n", restored(clone))
    assert planned(clone) == set()
    done = clone.tailproof("audit", "tiny")
    assert done.returncode == 0, done.stdout
    assert not clone.told("git", "status", "--porcelain")
    again = clone.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr


def test_damaged_and_missing_artefacts_are_made_again_with_what_follows(clone):
    experts = ("logit_adjustment", "cross_entropy")
    damaged, missing = map(RAW_LOGITS.format, experts)
    flip(clone.folder / damaged, 777)
    (clone.folder / missing).unlink()
    lines = restored(clone)
    assert re.search(rf"^.*  {damaged}  SHA-256 ", lines, re.M)
    assert re.search(rf"^.*  {missing}  .", lines, re.M)
    again = of_experts("infer", "calibrate", "export", experts=experts)
    assert planned(clone) == again | AFTERWARDS


def test_a_module_edited_in_the_clone_makes_stale_what_reaches_it(clone):
    module = clone.folder / "src/tailproof/calibration/export.py"
    module.write_text(module.read_text() + "\nEDITED = 1\n")
    restored(clone)
    assert planned(clone) == {
        *(f"export {name}" for name in ("cross_entropy", "balanced_softmax", "logit_adjustment")),
        *AFTERWARDS,
    }


def test_a_record_of_other_inputs_is_made_again(clone):
    """A merge of two branches can bring the records of one and the experts of the other."""
    path = clone.folder / "results/tiny/provenance/evaluate/evaluate.json"
    record = {name: value for name, value in read_json(path).items() if name != "seal"}
    record["inputs"][0]["sha256"] = "0" * 64
    path.write_text(json_text(record | {"seal": digest_of(record)}))
    lines = restored(clone)
    assert re.search(rf"provenance/evaluate/evaluate\.json  .*{record['inputs'][0]['path']}", lines)
    assert planned(clone) == AFTERWARDS - {"inspect", "guarantee"}


def test_a_record_that_is_gone_or_edited_is_not_taken_for_proof(clone):
    folder = clone.folder / "results/tiny/provenance"
    (folder / "export/cross_entropy-0.json").unlink()
    edited = folder / "calibrate/logit_adjustment-0.json"
    edited.write_text(
        edited.read_text().replace('"weighting": "like_tune"', '"weighting": "class_balanced"')
    )
    restored(clone)
    assert planned(clone) == {
        "export cross_entropy",
        "calibrate logit_adjustment",
        "export logit_adjustment",
        *AFTERWARDS,
    }


def test_what_cannot_be_restored_is_told_in_a_sentence(clone, project):
    done = project.tailproof("restore", "tiny")
    assert done.returncode == 1
    assert done.stderr.startswith("tailproof: results/tiny/provenance ")
    assert done.stderr.count("\n") == 1
    locks = clone.folder / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("x")
    done = clone.tailproof("restore", "tiny")
    assert done.returncode == 1
    assert "`snakemake --unlock`" in done.stderr and ".snakemake/locks" in done.stderr
