"""How far runs are, from the lines of their logs and from the files of finished ones."""

import fcntl
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.validation import load_experiment
from tailproof.diagnosis.training_log import TrainingLog
from tailproof.files import write_json
from tailproof.history import write_history
from tailproof.project import Paths
from tailproof.report.training_progress import read_all_progress, read_progress, training_jobs
from tailproof.runtime.errors import Interrupted
from tailproof.runtime.job_logging import job_logging, kept_log
from tailproof.runtime.signals import StopRequest
from tests.watch.running_project import (
    GONE,
    KEY,
    begins,
    epoch,
    header,
    line,
    resumes,
    write_attempts,
    write_log,
    write_project,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    return tmp_path


def progress(folder, now=NOON, number=0):
    experiment = load_experiment("config/experiments/study.yaml")
    job = training_jobs(experiment, folder / "results" / "study")[number]
    return read_progress(job, "study", Paths(), now)


def test_nothing_has_begun(study):
    experiment = load_experiment("config/experiments/study.yaml")
    runs = list(read_all_progress(experiment, "study", Paths()))
    assert [run.job.name for run in runs] == [
        "train/plain-0", "train/plain-1", "train/adjusted-0", "train/adjusted-1",
    ]  # fmt: skip
    assert {(run.state, run.done, run.history) for run in runs} == {("waiting", 0, None)}


def test_a_run_on_another_machine_trains_and_then_is_silent(study):
    log = [header(host="node7"), begins("12:00:10")]
    log += [epoch(f"12:0{number}:10", number, f"0.{number}") for number in (1, 2, 3)]
    write_log(study, *log)
    run = progress(study, NOON + timedelta(minutes=4))
    assert (run.state, run.done, run.seconds) == ("training", 3, 60)
    assert run.history.best("val_accuracy")["epoch"] == 3
    assert run.end == NOON + timedelta(minutes=6, seconds=10)  # 3 epochs of a minute are left
    assert progress(study, NOON + timedelta(minutes=20)).state == "silent"


def signalled() -> str:
    """What a process logs that a signal reaches before it trains."""
    request = StopRequest()
    request.note("SIGTERM")
    with pytest.raises(Interrupted) as error:
        request.check()
    return str(error.value)


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ("", "killed"),
        (line("12:03:00", "the loss is not finite in epoch 3, step 4", "ERROR"), "failed"),
        (line("12:03:00", "interrupted by SIGTERM in epoch 3, step 4", "ERROR"), "interrupted"),
        (line("12:03:00", "interrupted by SIGTERM", "ERROR") + header("12:04:00"), "killed"),
        (line("12:03:00", signalled(), "ERROR"), "interrupted"),
        (line("12:03:00", "something odd", "WARNING"), "killed"),
    ],
)
def test_a_run_of_this_machine_whose_process_is_gone(study, last, state):
    write_log(study, header(), begins("12:00:10"), epoch("12:01:10", 1), epoch("12:02:10", 2), last)
    write_attempts(study, "SIGTERM", "killed")
    (study / f".state/train/{KEY}/epoch-000003-step-000000006.0a1b.pt").touch()
    (study / f".state/train/{KEY}/epoch-000002-step-000000009.0a1b.pt").touch()
    run = progress(study)
    assert (run.state, run.end, run.saved) == (state, None, (3, 6))
    assert (run.error != "") == (state in ("failed", "interrupted"))
    assert [one["reason"] for one in run.attempts] == ["SIGTERM", "killed"]
    assert [row["epoch"] for row in run.history.rows] == [1, 2]


def test_the_process_that_a_log_names_runs(study):
    start = datetime.now(UTC) - timedelta(seconds=1)
    write_log(study, header(process=os.getpid()), begins("12:00:10"))
    assert progress(study).state == "killed", "a process of this id began after the attempt"
    text = f"=== attempt of {start.isoformat(' ', 'seconds')}, process {os.getpid()} on "
    write_log(study, text + os.uname().nodename + "\n")
    if datetime.now(UTC).timestamp() > start.timestamp():
        assert progress(study, start).state in ("starting", "killed")


HOLD = """
import sys
from pathlib import Path
from tailproof.training.checkpoint_store import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_lock_says_that_a_run_of_any_machine_trains(study):
    write_log(study, header(host="node7"), begins("12:00:10"), epoch("12:01:10", 1))
    states = study / ".state" / "train" / KEY
    late = NOON + timedelta(days=1)
    assert progress(study, late).state == "silent"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(states)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert progress(study, late).state == "training"
        with (states / "lock").open("r+b") as file, pytest.raises(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.communicate()
    assert progress(study, late).state == "silent"


def test_an_epoch_that_is_trained_again_counts_once(study):
    log = [header(), begins("12:00:00"), *(epoch(f"12:0{n}:00", n, "0.1") for n in (1, 2, 3))]
    log += [header("13:00:00", host="node7"), resumes("13:00:30", 2), epoch("13:01:00", 2, "0.2")]
    write_log(study, *log)
    run = progress(study, NOON + timedelta(hours=1, minutes=2))
    assert [row["val_accuracy"] for row in run.history.rows] == [0.1, 0.2]
    assert (run.done, run.seconds) == (2, 60), "an epoch that began before the log did has no time"


def test_a_run_of_another_recipe_begins_anew(study):
    log = [header(), begins("12:00:00", "f" * 16), epoch("12:01:00", 1), epoch("12:02:00", 2)]
    write_log(study, *log, header("13:00:00"), begins("13:00:00"), epoch("13:01:00", 1, "0.9"))
    run = progress(study)
    assert (run.key, [row["val_accuracy"] for row in run.history.rows]) == (KEY, [0.9])


def test_losses_that_are_not_finite_are_read(study):
    lines = [epoch("12:01:00", 1, "nan", "nan"), epoch("12:02:00", 2, "0.5", "inf")]
    log = write_log(study, header(), begins("12:00:00"), *lines)
    assert progress(study).done == 2
    history = TrainingLog.read(log).history("plain")
    assert list(history.columns["val_loss"]) == [float("inf")] * 2


@given(st.integers(0, 400))
def test_a_line_that_is_being_written_is_no_epoch(tmp_path_factory, size):
    whole = header() + begins("12:00:00") + epoch("12:01:00", 1) + epoch("12:02:00", 2)
    path = tmp_path_factory.getbasetemp() / "cut.log"
    path.write_text(whole[:size])
    log = TrainingLog.read(path)
    complete = whole[: whole.rfind("\n", 0, size) + 1]
    expected = complete.count("INFO epoch")
    assert len(log.epochs if log else []) == expected
    assert all(row.row["val_accuracy"] == 0.5 for row in (log.epochs if log else []))


@pytest.mark.parametrize(
    "message",
    [
        "epoch 7 learning_rate 0.1 val_accuracy",
        "epoch 7 learning_rate 0.1 val_accuracy x",
        "epoch x learning_rate 0.1",
        "epoch nan learning_rate 0.1",
        "epoch 1e400 learning_rate 0.1",
        "epoch 7 of the teacher val_accuracy 0.5",
        "  2026-01-01 12:00:00,000 INFO epoch 7 learning_rate 0.1 val_accuracy 0.5",
    ],
)
def test_what_only_looks_like_an_epoch_is_none(study, message):
    write_log(study, header(), begins("12:00:00"), epoch("12:01:00", 1), line("12:02:00", message))
    assert progress(study).done == 1


def test_epochs_of_another_phase_take_as_long_as_the_preflight_says(study):
    write_project(
        study,
        recipe={"epochs": 6, "phases": [{"from_epoch": 1}, {"from_epoch": 4, "image_size": 16}]},
    )
    timing = {"experts": {"plain": {"epoch": [10.0, 40.0]}}}
    write_json(study / "results/study/preflight_timing.json", timing)
    write_log(study, header(host="node7"), begins("12:00:00"), epoch("12:00:20", 1))
    run = progress(study, NOON + timedelta(seconds=30))
    assert run.left == 20 + 20 + 3 * 80  # twice as long as the preflight measured
    assert progress(study, number=2).seconds is None


def test_between_two_attempts_the_log_has_its_second_name_only(study):
    path = study / "logs/study/train/plain-0.log"
    with pytest.raises(SystemExit), job_logging("train", path):
        raise SystemExit
    path.write_text(header() + begins("12:00:00") + epoch("12:01:00", 1))
    path.unlink()
    assert kept_log(path).exists()
    assert progress(study).done == 1


def test_a_finished_run_is_read_from_its_history(study):
    folder = study / "results/study/experts/plain/seed-0"
    write_log(study, header(), begins("12:00:00"), epoch("12:01:00", 1), epoch("12:02:00", 2))
    folder.mkdir(parents=True)
    rows = [{"epoch": n, "learning_rate": 0.1, "val_accuracy": 0.123456789 * n} for n in (1, 2)]
    write_history(folder / "history.csv", rows)
    facts = {"state": KEY, "seconds_an_epoch": [3.0, 5.0], "attempts": [{"attempt": 1}]}
    write_json(folder / "training.json", facts)
    assert progress(study).state == "killed", "a job is done when its record exists"
    write_json(study / "results/study/provenance/train/plain-0.json", {})
    run = progress(study)
    assert (run.state, run.done, run.seconds, run.key) == ("finished", 2, 4, KEY)
    assert run.history.rows[1]["val_accuracy"] == pytest.approx(0.246913578)
    assert run.times[2] == NOON + timedelta(minutes=2)


def test_files_that_were_deleted_after_a_run_wait_to_be_made_again(study):
    write_log(study, header(), begins("12:00:00"), epoch("12:01:00", 1))
    write_attempts(study, "finished")
    assert progress(study).state == "waiting"
    write_json(study / f".state/train/{KEY}/attempts.json", [{"reason": "finished"}])
    assert progress(study).attempts == ()


def test_the_rounds_of_a_sweep_are_runs(study):
    halving = {"rungs": [2], "eta": 2}
    grid = {"grid": {"optimizer.weight_decay": [0.0, 1e-4]}, "halving": halving}
    write_project(study, sweep=grid, experts={}, seeds=[0], recipe={"epochs": 6, "export": "best"})
    experiment = load_experiment("config/experiments/study.yaml")
    jobs = training_jobs(experiment, study / "results" / "study")
    assert [(job.stage, job.epochs) for job in jobs] == [("rung", 2), ("rung", 2), ("train", None)]
    standing = study / "results/study/experts/winner/rung-2.json"
    recipe = experiment.points[jobs[0].expert].result_fields()
    write_json(standing, {"places": [{"recipe": recipe}]})
    assert training_jobs(experiment, study / "results" / "study")[2].epochs == 6
    assert GONE > 2**22
