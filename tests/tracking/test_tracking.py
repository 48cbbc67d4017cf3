"""What trackers show of runs that train, resume and have ended."""

import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tailproof.config.validation import load_experiment
from tailproof.diagnosis.readers import read_history
from tailproof.files import write_json
from tailproof.history import write_history
from tailproof.project import Paths
from tailproof.report.training_progress import read_all_progress
from tailproof.runtime.errors import TailproofError
from tailproof.tracking.events import tag_of, tracked
from tailproof.tracking.follow import follow, open_trackers
from tailproof.tracking.mlflow import MLflow
from tailproof.tracking.tensorboard import TensorBoard
from tests.watch.running_project import (
    KEY,
    begins,
    epoch,
    header,
    resumes,
    write_log,
    write_project,
)

FOLDER = f"board/study/plain-seed-0.{KEY}"


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path, experts={"plain": {}}, seeds=[0])
    return tmp_path


def run(**changes):
    (progress,) = read_all_progress(
        load_experiment("config/experiments/study.yaml"), "study", Paths()
    )
    return tracked("study", progress)


def scalars(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.wall_time, event.value) for event in events.Scalars(tag)]


def write_epochs(study, *numbers):
    lines = [epoch(f"12:{n:02}:00", n, f"0.{n}", "nan" if n == 2 else "1.25") for n in numbers]
    write_log(study, header(), begins("12:00:00"), *lines)


def finish(study, epochs):
    folder = study / "results/study/experts/plain/seed-0"
    folder.mkdir(parents=True)
    rows = [
        {"epoch": n, "learning_rate": 0.1, "val_accuracy": n / 10} for n in range(1, epochs + 1)
    ]
    write_history(folder / "history.csv", rows)
    write_json(folder / "training.json", {"state": KEY, "attempts": []})
    write_json(study / "results/study/provenance/train/plain-0.json", {})


def test_tags_group_train_and_val():
    assert [tag_of(name) for name in ("train_loss", "val_macro_f1", "learning_rate", "phase")] == [
        "train/loss", "val/macro_f1", "learning_rate", "phase",
    ]  # fmt: skip


def test_before_the_first_epoch_nothing_is_written(study):
    assert run() is None
    write_log(study, header(), begins("12:00:00"))
    assert run() is None


def test_a_process_that_follows_and_one_that_resumes_write_each_epoch_once(study):
    write_epochs(study, 1, 2)
    board = TensorBoard("board")
    board.write(run())
    board.write(run())
    write_epochs(study, 1, 2, 3)
    board.write(run())
    (part,) = (study / FOLDER).iterdir()
    part.write_bytes(part.read_bytes()[:-7])  # killed while it wrote
    again = TensorBoard("board")
    write_epochs(study, 1, 2, 3, 4)
    again.write(run())
    accuracy = scalars(study / FOLDER, "val/accuracy")
    assert [step for step, _, _ in accuracy] == [1, 2, 3, 4]
    assert [value for _, _, value in accuracy] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert accuracy[1][1] - accuracy[0][1] == 60, "the times are those of the log"
    losses = [value for _, _, value in scalars(study / FOLDER, "val/loss")]
    assert losses[0] == 1.25 and losses[1] != losses[1]


def test_epochs_that_are_trained_again_are_not_written_again(study):
    board = TensorBoard("board")
    log = [header(), begins("12:00:00"), epoch("12:01:00", 1), epoch("12:02:00", 2)]
    write_log(study, *log)
    board.write(run())
    write_log(study, *log, header("13:00:00"), resumes("13:00:00", 2), epoch("13:01:00", 2))
    board.write(run())
    write_log(
        study, *log, header("13:00:00"), resumes("13:00:00", 2), epoch("13:01:00", 2),
        epoch("13:02:00", 3),
    )  # fmt: skip
    board.write(run())
    assert [step for step, _, _ in scalars(study / FOLDER, "learning_rate")] == [1, 2, 3]


def test_a_run_of_another_recipe_has_a_folder_of_its_own(study):
    write_epochs(study, 1)
    TensorBoard("board").write(run())
    write_log(study, header(), begins("12:00:00", "f" * 16), epoch("12:01:00", 1))
    TensorBoard("board").write(run())
    assert sorted(path.name for path in (study / "board/study").iterdir()) == [
        f"plain-seed-0.{KEY}", f"plain-seed-0.{'f' * 16}",
    ]  # fmt: skip


def test_finished_runs_are_written_afterwards_and_read_by_the_diagnosis(study):
    finish(study, 5)
    before = sorted((study / "results").rglob("*"))
    assert follow("study", open_trackers("board", None), seconds=0) == 1
    history = read_history(next((study / FOLDER).iterdir()))
    assert history.columns["val_accuracy"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert sorted((study / "results").rglob("*")) == before


def test_a_tracker_that_fails_is_reported_once_and_catches_up(study, monkeypatch, capsys):
    write_epochs(study, 1, 2)
    (study / "board").write_text("not a folder")
    naps = []

    def sleep(_):
        naps.append(len(naps))
        if len(naps) == 3:
            (study / "board").unlink()
        if len(naps) == 5:
            finish(study, 5)

    monkeypatch.setattr("tailproof.tracking.follow.time.sleep", sleep)
    assert follow("study", open_trackers("board", None)) == 1
    assert capsys.readouterr().err.count("TensorBoard") == 2
    assert [step for step, _, _ in scalars(study / FOLDER, "val/accuracy")] == [1, 2, 3, 4, 5]


def test_a_tracker_that_fails_to_the_end_is_an_error(study, capsys):
    finish(study, 2)
    (study / "board").write_text("not a folder")
    with pytest.raises(TailproofError, match="TensorBoard"):
        follow("study", open_trackers("board", None), seconds=0)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_options_are_checked(study, monkeypatch):
    with pytest.raises(TailproofError, match="--mlflow"):
        open_trackers(None, None)
    with pytest.raises(TailproofError, match="results"):
        open_trackers("results/study/board", None)
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    with pytest.raises(TailproofError, match=r"tailproof\[tensorboard\]"):
        open_trackers("board", None)
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(TailproofError, match=r"tailproof\[mlflow\]"):
        open_trackers(None, "http://127.0.0.1:1")


def test_mlflow_has_a_run_for_each_run(study, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (study / "store").as_uri()
    write_epochs(study, 1, 2)
    first = MLflow(uri)
    first.write(run())
    first.write(run())
    write_epochs(study, 1, 2, 3)
    again = MLflow(uri)
    again.write(run())
    client = again._client
    experiment = client.get_experiment_by_name("study").experiment_id
    (stored,) = client.search_runs([experiment])
    assert stored.info.run_name == "plain-seed-0" and stored.info.status == "KILLED"
    assert stored.data.tags["tailproof.run"] == KEY and stored.data.params["epochs"] == "6"
    accuracy = client.get_metric_history(stored.info.run_id, "val/accuracy")
    assert [(metric.step, metric.value) for metric in accuracy] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert accuracy[1].timestamp - accuracy[0].timestamp == 60_000
    finish(study, 3)
    MLflow(uri).write(run())
    assert client.get_run(stored.info.run_id).info.status == "FINISHED"
    assert len(client.get_metric_history(stored.info.run_id, "learning_rate")) == 3
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
