"""The table of stages, against the rules that Snakemake reads and what stands elsewhere."""

import json
import re

import pytest
import yaml

from tailproof.project import PIPELINE as ROOT
from tailproof.runtime.ledger import maker_path
from tailproof.runtime.stages import STAGES, job_of, paths_by, script_of

SWEPT = "results/tiny/experts/{}/seed-0/{}"


def test_every_rule_with_a_script_is_a_stage_and_every_stage_a_rule():
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    named = re.findall(r"^rule (\w+):|^use rule \w+ as (\w+) with:", text, flags=re.M)
    assert {first or second for first, second in named} == set(STAGES)


def test_each_stage_runs_its_script():
    for name in STAGES:
        assert script_of(name).exists()


def test_the_record_of_a_file_is_that_of_its_job(finished):
    done = finished.run("tailproof.provenance.snakemake_bridge", "results/tiny/audit.json")
    for job in json.loads(done.stdout):
        (record,) = [path for path in job["outputs"] if "/provenance/" in path]
        made = [path for path in job["outputs"] if path != record]
        assert made and {maker_path(path) for path in made} == {record}


@pytest.mark.parametrize(
    ("path", "job"),
    [
        (SWEPT.format("winner", "history.csv"), ("winner", "winner-0")),
        (SWEPT.format("rung-2-place-1", "rung.csv"), ("rung", "rung-2-place-1-0")),
        (SWEPT.format("plain", "config.json"), ("train", "plain-0")),
        ("results/tiny/experts/winner/rung-1.json", ("promote", "rung-1")),
        ("results/tiny/experts/winner/points.csv", ("selection", "selection")),
        ("results/tiny/notes.txt", None),
    ],
)
def test_a_file_names_its_job(path, job):
    assert job_of(path) == job


def test_files_outside_of_the_results_have_no_job():
    assert maker_path("raw/images/a.png") is None
    assert maker_path("elsewhere/a.safetensors") is None


def test_weights_next_to_the_results_have_a_job():
    record = "weights/provenance/fetch/a.json"
    assert maker_path("weights/a.safetensors") == maker_path("weights/a.json") == record


def test_features_next_to_the_results_have_a_job():
    path = "features/net--8f--1a2b/train.parquet/part-00003.parquet"
    assert maker_path(path) == "features/provenance/embed/net--8f--1a2b-00003.json"


def test_paths_are_paired_by_wildcards_in_any_order():
    paths = [
        f"results/tiny/shards/{split}/part-{part}.json"
        for split, part in [("val", "00001"), ("train", "00000")]
    ]
    assert paths_by("shard", ("split", "part"), paths) == {
        ("val", "00001"): paths[0],
        ("train", "00000"): paths[1],
    }
    assert paths_by("shard", ("split",), paths) == {"val": paths[0], "train": paths[1]}
    with pytest.raises(ValueError, match=r"part-00001\.json.*\binfer\b"):
        paths_by("infer", ("split",), paths)


def test_short_stages_share_a_job_on_slurm():
    profile = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text())
    alone = {
        "preflight",
        "train",
        "rung",
        "infer",
        "shortcut_probe",
        "inspect",
        "promote",
        "selection",
        "winner",
        "fetch",
        "embed",
        "embed_unknown",
        "score_unknown",
    }
    assert set(profile["groups"]) == set(STAGES) - alone
