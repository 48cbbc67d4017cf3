"""`tailproof diagnose`, as it is typed, outside of any project."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tailproof.config.recipe import Recipe
from tailproof.config.validation import parse_experiment
from tailproof.diagnosis.run_config import read_run_config
from tailproof.runtime.errors import TailproofError
from tests.project import TINY


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "tailproof.cli", "diagnose", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def findings(folder, *arguments):
    return json.loads(command(folder, *arguments, "--json").stdout)["findings"]


def write(path, val_loss, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"val_loss": val_loss, **more}
    lines = [",".join(["epoch", *columns])]
    lines += [
        ",".join(str(value) for value in (epoch, *row))
        for epoch, row in enumerate(zip(*columns.values(), strict=True), start=1)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def curves():
    rng = np.random.default_rng(0)
    epochs = np.arange(1, 31)
    fall = np.exp(-epochs / 5)
    return {
        "healthy": 0.5 + fall + rng.normal(0, 0.005, 30),
        "spoilt": 0.5 + fall + 0.03 * np.maximum(epochs - 12, 0) + rng.normal(0, 0.005, 30),
        "train": 0.4 + fall - 0.005 * epochs,
    }


def test_a_finding_is_shown_with_its_change_as_yaml(tmp_path, curves):
    write(tmp_path / "h.csv", curves["spoilt"], train_loss=curves["train"])
    done = command(tmp_path, "h.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning  Overfitting from epoch 1" in done.stdout
    assert "evidence: " in done.stdout and "cost: epochs wasted" in done.stdout
    patch = done.stdout[done.stdout.index("recipe:") :].split("\nwarning")[0].split("\ninfo")[0]
    assert yaml.safe_load("        " + patch)["recipe"]["early_stopping"] == {"patience": 3}


def test_the_recipe_is_that_of_the_expert_whose_history_it_is(tmp_path, curves):
    write(tmp_path / "history.csv", curves["spoilt"], train_loss=curves["train"])
    recipe = Recipe(augmentation={"flip": True, "crop_padding": 4}, epochs=30)
    facts = {"tailproof": {"recipe": recipe.result_fields()}}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    told = command(tmp_path, "history.csv").stdout
    assert "crop_padding" not in told and "weight_decay" in told
    for foreign in ("{}", "[]", "no json"):
        (tmp_path / "config.json").write_text(foreign)
        assert "crop_padding" in command(tmp_path, "history.csv").stdout


def test_only_anothers_state_can_have_been_resumed_badly(tmp_path, curves):
    """Attempts of one run leave its history as it is, so what they say changes no finding."""
    jump = curves["healthy"] + 2 * np.exp(-np.maximum(np.arange(30) - 14, 0)) * (np.arange(30) > 13)
    write(tmp_path / "history.csv", jump)

    def told(training):
        (tmp_path / "training.json").write_text(training)
        return findings(tmp_path, "history.csv")

    attempts = [{"first_epoch": 1, "last_epoch": 14}, {"first_epoch": 15, "last_epoch": 30}]
    own = told(json.dumps({"attempts": attempts, "resumed_from": None}))
    assert "bad_resume" not in {each["kind"] for each in own}
    state = {"key": "0123", "epoch": 15, "step": 0}
    bad = told(json.dumps({"attempts": attempts[:1], "resumed_from": state}))
    assert [each["epochs"] for each in bad if each["kind"] == "bad_resume"] == [[15]]
    for foreign in ("{}", "[]", "no json", '{"resumed_from": "elsewhere"}'):
        assert told(foreign) == own


def test_a_healthy_run_gets_nothing_found(tmp_path, curves):
    write(tmp_path / "h.csv", curves["healthy"], train_loss=curves["train"])
    assert command(tmp_path, "h.csv").stdout.endswith("\nnothing found\n")
    told = json.loads(command(tmp_path, "h.csv", "--json").stdout)
    assert told["findings"] == []
    (run,) = told["runs"]
    assert (run["run"], run["epochs"], run["not_judged"]) == ("h", [1, 30], [])
    assert {column["name"]: column["read_as"] for column in run["columns"]} == {
        "epoch": "epoch", "val_loss": "val_loss", "train_loss": "train_loss"
    }  # fmt: skip


def test_nothing_found_says_which_columns_were_not_judged(tmp_path, curves):
    write(tmp_path / "h.csv", curves["healthy"], train_loss=curves["train"],
          val_sharpness=curves["healthy"], elapsed=curves["healthy"])  # fmt: skip
    last = command(tmp_path, "h.csv").stdout.splitlines()[-1]
    assert "nothing found" in last and "val_sharpness" in last and "elapsed" not in last
    (run,) = json.loads(command(tmp_path, "h.csv", "--json").stdout)["runs"]
    assert run["not_judged"] == ["val_sharpness"]


def test_a_column_is_read_as_the_caller_says(tmp_path, curves):
    write(tmp_path / "h.csv", curves["healthy"], train_loss=curves["train"],
          quality=100 - 100 * curves["spoilt"])  # fmt: skip
    choice = ("--columns", "val_accuracy=quality:percent")
    assert findings(tmp_path, "h.csv") == []
    assert "best_against_last" in {each["kind"] for each in findings(tmp_path, "h.csv", *choice)}
    done = command(tmp_path, "h.csv", "--columns", "val_accuracy=qualty")
    assert done.returncode == 1 and "'quality'" in done.stderr


def test_a_pipe_among_the_files_does_not_hang(tmp_path, curves):
    write(tmp_path / "runs" / "history.csv", curves["healthy"])
    os.mkfifo(tmp_path / "runs" / "metrics.csv")
    done = command(tmp_path, "runs/history.csv", "runs/metrics.csv")
    assert done.returncode == 1 and "metrics.csv" in done.stderr and done.stderr.count("\n") == 1
    assert command(tmp_path, "runs").returncode == 0


def test_findings_as_json_and_several_runs_together(tmp_path, curves):
    for name in ("spoilt", "healthy"):
        write(tmp_path / "experts" / name / "seed-0" / "history.csv", curves[name],
              val_accuracy=0.7 + 0 * curves["train"])  # fmt: skip
    paths = [f"experts/{name}/seed-0/history.csv" for name in ("spoilt", "healthy")]
    found = findings(tmp_path, *paths)
    wanted = {"run", "kind", "title", "severity", "epochs", "evidence", "cost", "change"}
    assert all(wanted <= set(finding) for finding in found)
    assert {(each["run"], each["kind"]) for each in found} == {
        ("spoilt", "overconfidence"),
        (None, "experts_too_alike"),
    }
    assert "all runs" in command(tmp_path, *paths).stdout


def test_a_configuration_names_targets_and_the_length_of_the_run(tmp_path, curves):
    write(tmp_path / "h.csv", curves["healthy"], val_accuracy=1 - curves["healthy"])
    facts = {
        "recipe": {"epochs": 90, "monitor": "val_accuracy"},
        "classes": 10,
        "targets": {
            "val_accuracy": [{"at_least": 0.6, "at_epoch": 15}, {"at_least": 0.9}],
        },
    }
    (tmp_path / "facts.yaml").write_text(yaml.safe_dump(facts))
    found = findings(tmp_path, "h.csv", "--config", "facts.yaml")
    assert [each["kind"] for each in found] == ["target_missed"], "the run has 60 epochs to go"
    assert found[0]["epochs"] == [15]


def test_an_experiment_is_a_configuration_too(tmp_path):
    value = {**TINY, "targets": {"val_loss": [{"at_most": 0.1}]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(value))
    assert read_run_config(tmp_path / "tiny.yaml") == parse_experiment(value)


def test_an_experiment_is_named_as_in_other_commands(tmp_path, curves):
    write(tmp_path / "h.csv", curves["healthy"])
    file = tmp_path / "config" / "experiments" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump({**TINY, "targets": {"val_loss": [{"at_most": 0.1}]}}))
    by_name, by_file = (
        findings(tmp_path, "h.csv", "--config", each) for each in ("tiny", str(file))
    )
    assert by_name == by_file != findings(tmp_path, "h.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clases: 3\n", "'clases' is not a known key (did you mean 'classes'?)"),
        ("targets: {val_loss: [{at_mots: 3}]}\n", "did you mean 'at_most'?"),
        ("targets: {val_loss: [{at_epoch: 3}]}\n", "'gap_at_most'"),
        ("- 1\n", "no keys"),
    ],
)
def test_a_wrong_configuration_gets_one_sentence(tmp_path, text, words):
    (tmp_path / "facts.yaml").write_text(text)
    with pytest.raises(TailproofError) as error:
        read_run_config(tmp_path / "facts.yaml")
    assert words in str(error.value)


def test_what_is_no_history_ends_with_one_sentence(tmp_path):
    (tmp_path / "words.csv").write_text("some words\n")
    for name, words in (("words.csv", "is not a CSV table"), ("none.csv", "does not exist")):
        done = command(tmp_path, name)
        assert done.returncode == 1 and done.stdout == ""
        assert words in done.stderr and done.stderr.count("\n") == 1
