"""Crates of the tiny experiment, before the validators of those who define them."""

import hashlib
import json
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from tailproof.config.validation import load_experiment
from tailproof.provenance.export.ro_crate import LISTED_RAW, WorkflowRun, describe_run
from tailproof.runtime.ledger import Ledger, read_ledger
from tailproof.runtime.records import File
from tests.project import Project
from tests.provenance import validators

METADATA = "ro-crate-metadata.json"


@pytest.fixture(scope="module")
def crated(finished, tmp_path_factory) -> Project:
    """The finished project with a crate."""
    project = finished.copy(tmp_path_factory.mktemp("crated") / "project")
    done = project.tailproof("crate", "tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "results/tiny/ro-crate-metadata.json\n"
    return project


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """What the validator would fetch from the network."""
    path = tmp_path_factory.mktemp("cache") / "cache"
    filled = validators.run("python", Path(__file__).parent / "contexts.py", path)
    assert filled.returncode == 0, filled.stderr
    return path


def problems(crate: Path, cache: Path, report: Path) -> list[str]:
    """What the validator has against a crate, of all that the profile requires."""
    validators.run(
        "rocrate-validator",
        *("-y", "validate", "--offline", "--cache-path", cache, "--output-format", "json"),
        *("--profile-identifier", "provenance-run-crate", "--output-file", report, crate),
    )
    told = json.loads(report.read_text())
    assert told["statistics"]["total_checks"] >= 85
    assert told["statistics"]["total_skipped_checks"] == 0
    assert told["passed"] == (not told["issues"])
    return [issue["message"] for issue in told["issues"]]


def entities(crate: Path) -> dict[str, dict]:
    graph = json.loads((crate / METADATA).read_text())["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def ledger_of(project: Project) -> Ledger:
    with chdir(project.folder):
        return read_ledger("tiny")


def ids(references: dict | list) -> list[str]:
    listed = references if isinstance(references, list) else [references]
    return [reference["@id"] for reference in listed]


def test_a_crate_passes(crated, cache, tmp_path):
    assert problems(crated.results, cache, tmp_path / "whole.json") == []


def test_runcrate_lists_every_job(crated):
    listed = validators.run("runcrate", "report", crated.results)
    assert listed.returncode == 0, listed.stderr
    actions = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("action:")]
    jobs = [f"#run/{record.rule}/{record.name}" for record in ledger_of(crated)]
    assert actions[0] == "#run"
    assert sorted(actions[1:]) == sorted(jobs)
    assert len(jobs) > 20


def test_every_file_of_the_folder_is_described_as_it_is(crated):
    found = entities(crated.results)
    files = {path for path in crated.results.rglob("*") if path.is_file()}
    described = {crated.results / name for name in ids(found["./"]["hasPart"])}
    assert described == files - {crated.results / METADATA}
    for path in described:
        entity = found[path.relative_to(crated.results).as_posix()]
        assert entity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entity["contentSize"] == str(path.stat().st_size)


def test_an_action_tells_what_its_record_does(crated):
    found = entities(crated.results)
    record = ledger_of(crated).records["results/tiny/provenance/train/logit_adjustment-0.json"]
    action = found["#run/train/logit_adjustment-0"]
    assert action["instrument"] == {"@id": "code/workflow/scripts/train.py"}
    assert record.started.isoformat().startswith(action["startTime"][:23])
    assert found[ids(action["agent"])[0]]["name"] == record.machine.user
    read = ids(action["object"])
    assert read[: len(record.inputs)] == [
        file.path.removeprefix("results/tiny/") for file in record.inputs
    ]
    values = {found[this]["name"]: found[this]["value"] for this in read[len(record.inputs) :]}
    assert values["recipe.loss.tau"] == 2
    assert values["recipe.augmentation.flip"] is False
    assert values["recipe.augmentation.albumentations"] == "[]"
    assert values["expert"] == "logit_adjustment"
    tool = found["code/workflow/scripts/train.py"]
    software = {found[this]["name"]: found[this] for this in ids(tool["softwareRequirements"])}
    assert software["torch"]["softwareVersion"] == record.code.packages["torch"]
    assert record.code.closure in tool["version"]


def test_steps_come_after_those_whose_files_they_read(crated):
    steps = [entity for entity in entities(crated.results).values() if "position" in entity]
    place = {step["name"]: int(step["position"]) for step in steps}
    order = ["prepare", "split", "shard", "manifest", "train", "infer", "calibrate", "export"]
    order += ["evaluate", "report"]
    assert [place[rule] for rule in order] == sorted(place[rule] for rule in order)


def test_the_code_in_a_crate_is_the_code_that_ran(crated):
    copies = crated.results / "code"
    for name in ("Snakefile", "rules/training.smk", "src/tailproof/training/train.py"):
        assert (copies / name).read_bytes() == (crated.folder / name).read_bytes()
    found = load_experiment(copies / "config" / "experiments" / "tiny.yaml")
    with chdir(crated.folder):
        assert found == load_experiment("config/experiments/tiny.yaml")


def test_raw_files_and_weights_from_elsewhere_are_named_without_being_in_the_crate(
    crated, cache, tmp_path
):
    ledger = ledger_of(crated)
    path = "results/tiny/provenance/train/logit_adjustment-0.json"
    weights = File(path="results/other run/model.safetensors", sha256="0" * 64, bytes=3)
    record = ledger.records[path]
    record = record.model_copy(update={"inputs": [*record.inputs, weights]})
    raw = [{"path": f"cat/{n} ü.png", "sha256": f"{n:064x}", "bytes": n} for n in range(LISTED_RAW)]
    run = WorkflowRun("Cats", "", Ledger("tiny", ledger.records | {path: record}), [], raw)
    elsewhere = tmp_path / "crate"
    shutil.copytree(crated.results, elsewhere)
    code = [path for path in sorted((elsewhere / "code").rglob("*")) if path.is_file()]
    more = [
        File(path=f"results/tiny/{file.relative_to(elsewhere)}", sha256="0" * 64, bytes=0)
        for file in [*code, *sorted((elsewhere / "provenance").rglob("*.json"))]
    ]
    crate = describe_run(WorkflowRun(run.title, run.description, run.ledger, more, raw))
    (elsewhere / METADATA).write_text(json.dumps(crate))
    found = entities(elsewhere)
    assert "#results/other%20run/model.safetensors" in ids(
        found["#run/train/logit_adjustment-0"]["object"]
    )
    assert found["#raw/cat/7%20%C3%BC.png"]["sha256"] == f"{7:064x}"

    dropped = "#run/train/balanced_softmax-0"  # the one thing that is wrong with this crate
    crate["@graph"] = [entity for entity in crate["@graph"] if entity["@id"] != dropped]
    (elsewhere / METADATA).write_text(json.dumps(crate))
    wrong = problems(elsewhere, cache, tmp_path / "report.json")
    assert wrong
    assert all("ControlAction must reference the action" in message for message in wrong)

    many = describe_run(WorkflowRun("Cats", "", ledger, more, [*raw, raw[0]]))["@graph"]
    assert not [entity for entity in many if entity["@id"].startswith("#raw/")]
    assert "101 files" in next(e for e in many if e["@id"] == "#raw")["description"]


def test_writing_a_crate_again_gives_the_same_bytes(crated):
    names = (METADATA, "croissant.json")
    before = {name: (crated.results / name).read_bytes() for name in names}
    done = crated.tailproof("crate", "tiny")
    assert done.returncode == 0, done.stderr
    assert {name: (crated.results / name).read_bytes() for name in names} == before


def test_results_that_do_not_hold_get_no_crate(twin):
    history = twin.results / "experts" / "logit_adjustment" / "seed-0" / "history.csv"
    history.write_text(history.read_text() + "\n")
    done = twin.tailproof("crate", "tiny")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "seed-0/history.csv is altered): see `tailproof audit tiny`" in done.stderr
    assert not (twin.results / METADATA).exists()


def test_an_experiment_that_is_not_built_gets_no_crate(project):
    done = project.tailproof("crate", "tiny")
    assert done.returncode == 1
    assert "`snakemake --cores all results/tiny/report/index.html`" in done.stderr
