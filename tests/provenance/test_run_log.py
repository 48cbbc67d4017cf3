import json
import re
import shutil
import subprocess
from datetime import timedelta

import pytest

from tailproof.files import read_json
from tailproof.provenance.run_log import read_runs
from tailproof.report.log_page import write_log
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import read_record


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def ledger(finished, tmp_path):
    """A repository with the records of one whole run of the tiny experiment."""
    shutil.copytree(finished.results / "provenance", tmp_path / "results/tiny/provenance")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def rewrite(folder, job, later, **changes):
    """Write a record anew as if its job had run again so much later."""
    path = folder / "results/tiny/provenance" / f"{job}.json"
    record = read_record(path)
    shift = timedelta(hours=later)
    times = {"started": record.started + shift, "ended": record.ended + shift}
    record = record.model_copy(update=times | changes)
    record.write(path)
    return record


def recipe(folder, **changes):
    record = read_record(folder / "results/tiny/provenance/train/logit_adjustment-0.json")
    return {"recipe": record.parameters["recipe"] | changes}


LATE = {
    "kind": "best_against_last",
    "severity": "warning",
    "title": "Best epoch is 1",
    "change": {"export": "best", "loss": {"name": "logit_adjustment", "tau": 3}},
    "expects": "the weights of epoch 1 are kept",
}


def diagnosed(folder, findings):
    """Write the diagnosis of the history that the newest run of logit_adjustment wrote."""
    train = read_record(folder / "results/tiny/provenance/train/logit_adjustment-0.json")
    history = [file for file in train.outputs if file.path.endswith("history.csv")]
    return rewrite(
        folder, "diagnose/logit_adjustment-0", 1, inputs=history, results={"findings": findings}
    )


def run_again(folder, digest, monitored, **changes):
    """Train logit_adjustment again, to another history."""
    path = "train/logit_adjustment-0"
    train = read_record(folder / f"results/tiny/provenance/{path}.json")
    outputs = [
        file.model_copy(update={"sha256": digest * 64})
        if file.path.endswith("history.csv")
        else file
        for file in train.outputs
    ]
    results = train.results | {"monitored": monitored}
    rewrite(folder, path, 1, outputs=outputs, results=results, parameters=recipe(folder, **changes))


def of_expert(runs, expert):
    return [run for run in runs if run.record.wildcards["expert"] == expert]


def test_records_hold_the_numbers_that_the_files_hold(finished):
    folder = finished.results / "experts/logit_adjustment/seed-0"
    training = read_json(folder / "training.json")
    found = read_record(finished.results / "provenance/train/logit_adjustment-0.json").results
    assert (found["best_epoch"], found["monitored"]) == (
        training["best"]["epoch"],
        training["best"]["value"],
    )
    header, *_, last = (folder / "history.csv").read_text().splitlines()
    row = dict(zip(header.split(","), last.split(","), strict=True))
    assert found["last"] == {key: float(row[key]) for key in row if key.startswith("val_")}
    assert (found["epochs"], found["attempts"]) == (2, 1)
    metrics = read_json(finished.results / "evaluation/metrics.json")
    tested = read_record(finished.results / "provenance/evaluate/evaluate.json").results["test"]
    assert list(tested) == [*metrics["experts"], *metrics["ensembles"]]
    stacked = metrics["ensembles"]["stacked"]["over_seeds"]["test"]
    assert tested["stacked"]["top1"] == stacked["top1"]["mean"]


def test_runs_that_were_overwritten_are_found_in_git(ledger):
    for hours, epochs in ((1, 3), (2, 4)):
        record = rewrite(
            ledger, "train/logit_adjustment-0", 1, parameters=recipe(ledger, epochs=epochs)
        )
        git(ledger, "commit", "-qam", f"after {hours} h")
    found = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")
    assert [run.record.parameters["recipe"]["epochs"] for run in found] == [4, 3, 2]
    assert found[0].record == read_record(ledger / record.path)
    assert found[0].changes == {"epochs": ("3", "4")}
    assert found[0].follows == found[1].name
    assert found[2].follows is None
    assert found[2].changes == {
        "model.name": ("cifar_resnet32", "cifar_resnet20"),
        "loss.name": ("cross_entropy", "logit_adjustment"),
        "loss.tau": (None, "2.0"),
        "epochs": ("200", "2"),
        "batch_size": ("128", "64"),
    }


def test_a_run_that_is_not_committed_counts_and_one_that_is_counts_once(ledger):
    assert len(read_runs(ledger).by_experiment["tiny"]) == 3
    rewrite(ledger, "train/logit_adjustment-0", 1)
    found = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")
    assert len(found) == 2
    assert found[0].changes == {}


def test_without_git_there_is_what_lies_there(ledger):
    shutil.rmtree(ledger / ".git")
    assert len(read_runs(ledger).by_experiment["tiny"]) == 3


def test_a_record_that_was_deleted_is_remembered(ledger):
    git(ledger, "rm", "-rq", "results")
    git(ledger, "commit", "-qm", "gone")
    assert len(read_runs(ledger).by_experiment["tiny"]) == 3


def test_a_run_on_a_branch_that_was_merged_is_remembered(ledger):
    git(ledger, "checkout", "-qb", "side")
    rewrite(ledger, "train/logit_adjustment-0", 1)
    git(ledger, "commit", "-qam", "side")
    git(ledger, "checkout", "-q", "-")
    rewrite(ledger, "train/logit_adjustment-0", 2)
    git(ledger, "commit", "-qam", "main")
    git(ledger, "merge", "-q", "-s", "ours", "side")
    found = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")
    assert len(found) == 3


def test_code_and_data_that_changed_are_named(ledger):
    record = read_record(ledger / "results/tiny/provenance/train/logit_adjustment-0.json")
    code = record.code.model_copy(update={"closure": "1" * 64})
    inputs = [file.model_copy(update={"sha256": "2" * 64}) for file in record.inputs]
    rewrite(ledger, "train/logit_adjustment-0", 1, code=code, inputs=inputs)
    run = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0]
    assert list(run.changes) == ["code", "data"]
    assert run.changes["code"] == (record.code.closure, "1" * 64)


def test_each_run_has_the_test_result_of_the_evaluation_that_followed(ledger):
    path = ledger / "results/tiny/provenance/evaluate/evaluate.json"
    first = read_record(path).results["test"]["logit_adjustment"]
    rewrite(ledger, "train/logit_adjustment-0", 1)
    git(ledger, "commit", "-qam", "trained again")
    assert of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0].tested == {}
    second = {"balanced_accuracy": 0.25, "top1": 0.5}
    rewrite(ledger, "evaluate/evaluate", 1, results={"test": {"logit_adjustment": second}})
    found = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")
    assert [run.tested for run in found] == [second, first]


def test_names_tell_the_slurm_job(ledger):
    record = read_record(ledger / "results/tiny/provenance/train/logit_adjustment-0.json")
    machine = record.machine.model_copy(update={"slurm_job": "4711"})
    rewrite(ledger, "train/logit_adjustment-0", 1, machine=machine)
    run = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0]
    assert re.fullmatch(r"\d{8}_\d{6}_j4711", run.name)


def test_the_log_is_written_as_page_and_markdown(ledger):
    record = read_record(ledger / "results/tiny/provenance/train/logit_adjustment-0.json")
    results = record.results | {"attempts": 3}
    results["seconds"] = 3 * 3600 + 240
    rewrite(
        ledger, "train/logit_adjustment-0", 1, parameters=recipe(ledger, epochs=3), results=results
    )
    diagnosed(ledger, [{**LATE, "title": "<b>late</b> | best in epoch 1"}])
    broken = ledger / "results/tiny/provenance/train/cross_entropy-0.json"
    broken.write_text(json.dumps(read_json(broken) | {"seeds": [7]}))
    (page, text), count = write_log(ledger)
    assert count == 4
    html, markdown = page.read_text(), text.read_text()
    assert "<b>late" not in html and "<b>late" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| 2")]
    assert len(rows) == count
    assert "epochs: 2 → 3" in rows[0]
    assert "&lt;b>late&lt;/b> \\| best in epoch 1" in rows[0]
    assert "3 h 04 min in 3 attempts" in rows[0]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert "1 version of records" in markdown and "1 version of records" in html
    tested = read_record(ledger / "results/tiny/provenance/evaluate/evaluate.json").results["test"]
    value = f"{100 * tested['cross_entropy']['balanced_accuracy']:.1f} %"
    assert f"test, mean over seeds: balanced\\_accuracy {value}" in markdown
    write_log(ledger)
    assert page.read_text() == html


def test_what_a_recommendation_did_is_told(ledger):
    run_again(ledger, "a", 0.5)
    diagnosed(ledger, [LATE, {**LATE, "kind": "overfitting", "change": None}])
    git(ledger, "commit", "-qam", "before")
    run_again(
        ledger, "b", 0.625, export="best", loss={"name": "logit_adjustment", "tau": 3.0}, epochs=3
    )
    newest, before, *_ = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")
    assert [each["kind"] for each in before.findings] == ["best_against_last", "overfitting"]
    assert newest.findings is None and before.followed == []
    (taken,) = newest.followed
    assert (taken.metric, taken.before, taken.after) == ("val_balanced_accuracy", 0.5, 0.625)
    assert taken.gone is None and taken.also_changed == ["epochs"]
    diagnosed(ledger, [LATE])
    assert (
        of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0].followed[0].gone
        is False
    )
    diagnosed(ledger, [])
    (page, text), _ = write_log(ledger)
    row = next(
        line for line in text.read_text().splitlines() if line.startswith("| best\\_against")
    )
    assert "val\\_balanced\\_accuracy 50.0 % → 62.5 % (+12.5 points)<br>the finding is gone" in row
    assert "also changed: epochs" in row and "the weights of epoch 1 are kept" in row
    assert "Effects of recommendations" in page.read_text()


def test_a_change_that_was_there_before_or_is_only_half_taken_is_none(ledger):
    run_again(ledger, "a", 0.5, loss={"name": "logit_adjustment", "tau": 3.0})
    diagnosed(ledger, [LATE, {**LATE, "change": {"epochs": 9, "batch_size": 8}}])
    git(ledger, "commit", "-qam", "before")
    run_again(ledger, "b", 0.6, epochs=9)
    assert of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0].followed == []


@pytest.mark.parametrize("expert", ["cross_entropy", "logit_adjustment"])
def test_recommendations_of_the_preflight_count_for_their_experts(ledger, expert):
    found = {**LATE, "kind": "no_schedule", "change": {"epochs": 3}, "experts": [expert]}
    rewrite(ledger, "preflight/preflight", 1, results={"findings": [found]})
    git(ledger, "commit", "-qam", "before")
    run_again(ledger, "c", 0.6, epochs=3)
    newest = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0]
    own = ["no_schedule"] if expert == "logit_adjustment" else []
    assert [each.finding["kind"] for each in newest.followed] == own


def test_names_of_findings_in_older_records_are_passed_over(ledger):
    rewrite(ledger, "diagnose/logit_adjustment-0", 1, results={"findings": "overfitting"})
    rewrite(ledger, "preflight/preflight", 0, results={"findings": ["no_schedule"]})
    newest = of_expert(read_runs(ledger).by_experiment["tiny"], "logit_adjustment")[0]
    assert newest.findings is None and newest.followed == []


def test_a_log_without_runs_is_refused(tmp_path):
    with pytest.raises(TailproofError, match="training run"):
        write_log(tmp_path)
    assert not (tmp_path / "results").exists()
