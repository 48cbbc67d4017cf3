"""Training histories as people have them: read right, or refused with one sentence."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailproof.diagnosis.command import diagnose_files
from tailproof.diagnosis.readers import read_histories
from tailproof.runtime.errors import TailproofError

HISTORIES = Path(__file__).parent / "histories"
FAMILIES = HISTORIES / "families"

TRAIN_LOSS = [2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6]
VAL_LOSS = [2.1, 1.83, 1.62, 1.47, 1.38, 1.35, 1.38, 1.47]
ACCURACY = [0.1, 0.19, 0.28, 0.37, 0.46, 0.55, 0.64, 0.73]


def read(*paths, columns=None):
    """Return the one reading of files."""
    (reading,) = read_histories([HISTORIES / path for path in paths], columns)
    return reading


def last(reading):
    return {name: values[-1] for name, values in reading.history.columns.items()}


def kinds(*paths):
    diagnosis = diagnose_files([str(HISTORIES / path) for path in paths])
    return {finding.kind for findings in diagnosis.findings.values() for finding in findings}


def refusal(*paths, columns=None):
    with pytest.raises(TailproofError) as error:
        read_histories([HISTORIES / path for path in paths], columns)
    assert "\n" not in str(error.value)
    return str(error.value)


def write(folder, name, rows, separator=","):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return path


def table(**columns):
    return [tuple(columns), *zip(*columns.values(), strict=True)]


EPOCHS = list(range(8))


# What each case of the field stands for.


def test_a_bare_auc_next_to_that_of_val_is_of_train():
    reading = read("keras-auc-of-train/training.log")
    values = last(reading)
    assert values["train_auroc"] > 0.99 and values["val_auroc"] == pytest.approx(0.76, abs=0.005)
    assert "best_against_last" in kinds("keras-auc-of-train/training.log")


def test_units_are_decided_for_each_column():
    percent, share = (read(f"percent-beside-shares/{name}.csv") for name in ("metrics", "shares"))
    for name, values in share.history.columns.items():
        assert percent.history.columns[name] == pytest.approx(values, abs=1e-5)
    units = {column.read_as: column.unit for column in percent.columns}
    assert units["val_accuracy"] == "percent" and units["val_macro_f1"] == "share"
    assert "best_against_last" in kinds("percent-beside-shares/metrics.csv")


def test_metrics_of_ultralytics_are_of_val():
    path = "ultralytics-classify/results.csv"
    assert read(path).history.columns["val_accuracy"][-1] == pytest.approx(0.923, abs=0.001)
    assert "overconfidence" in kinds(path) and "overfitting" not in kinds(path)


def test_two_rows_an_epoch_are_its_splits():
    path = "phase-column/metrics.csv"
    history = read(path).history
    assert list(history.passed) == list(range(30))
    assert last(read(path))["train_loss"] == pytest.approx(0.2055, abs=1e-4)
    assert last(read(path))["val_loss"] == pytest.approx(1.182, abs=1e-3)
    assert {"overconfidence", "widening_gap"} <= kinds(path)
    assert "repeated_epochs" not in kinds(path)


@pytest.mark.parametrize("name", ["results.csv", "model_metrics.json"])
def test_a_table_of_results_is_no_history(name):
    assert "not a history" in refusal(f"no-history-at-all/{name}")


def test_test_stands_in_for_val_where_there_is_none():
    path = "deit-log/log.txt"
    assert last(read(path))["val_accuracy"] == pytest.approx(0.7975, abs=1e-4)
    assert any("val" in column.why for column in read(path).columns)
    assert kinds(path) & {"overconfidence", "overfitting"}


def test_a_time_of_day_is_no_metric():
    reading = read("time-of-day-column/history.csv")
    assert set(reading.history.metrics) == {"train_loss", "val_loss"}
    assert not reading.not_judged and kinds("time-of-day-column/history.csv") == set()


def test_keras_names_of_accuracy():
    assert "overconfidence" in kinds("keras-binary-accuracy/training.log")


def test_a_percentage_that_never_exceeds_one_is_no_share():
    reading = read("percent-never-above-one/summary.csv")
    assert last(reading)["val_accuracy"] == pytest.approx(0.001, rel=0.3)
    assert last(reading)["val_top5_accuracy"] == pytest.approx(0.005, rel=0.3)


def test_a_loss_that_is_nan_from_an_epoch_on(recwarn):
    values = read("hf-nan-grad/trainer_state.json").history.columns["val_loss"]
    assert np.isinf(values).tolist() == [False] * 3 + [True] * 5
    assert "not_finite" in kinds("hf-nan-grad/trainer_state.json")
    assert not recwarn.list


def test_columns_by_row_number():
    assert last(read("pandas-to-json/history.json"))["val_loss"] == pytest.approx(1.182, abs=1e-3)


def test_decimal_commas():
    assert last(read("decimal-commas/history.csv"))["val_loss"] == pytest.approx(1.182, abs=1e-3)


def test_validations_without_an_epoch_are_of_the_epoch_before():
    without, usual = (
        read(f"validation-rows-without-epoch/{name}.csv").history
        for name in ("metrics", "with-epoch")
    )
    assert list(without.epochs) == list(range(12))
    assert without.columns["val_loss"][0] == pytest.approx(2.2)
    assert without.columns["val_loss"].tolist() == usual.columns["val_loss"].tolist()


@pytest.mark.parametrize("both", [True, False], ids=["files", "folder"])
def test_the_folder_names_the_split_of_a_file(both):
    folder = "dvclive-tsv/dvclive"
    files = [f"{folder}/plots/metrics/{part}/loss.tsv" for part in ("train", "val")]
    reading = read(*(files if both else [folder]))
    assert last(reading)["train_loss"] == pytest.approx(0.2055, abs=1e-4)
    assert last(reading)["val_loss"] == pytest.approx(1.182, abs=1e-3)
    alone = read(files[1])
    assert "train_loss" not in alone.history.columns


@pytest.mark.parametrize("name", ["history.csv", "plurals.json"])
def test_names_in_camel_case_and_plural(name):
    reading = read(f"camel-case/{name}")
    assert last(reading)["val_loss"] == pytest.approx(1.182, abs=1e-3)
    assert last(reading)["val_accuracy"] == pytest.approx(0.7975, abs=1e-3)
    assert kinds(f"camel-case/{name}") & {"overconfidence", "overfitting"}


def test_a_loss_that_is_blank_to_the_end_is_not_finite():
    columns = read("nan-written-as-blanks/history.csv").history.columns
    for name in ("train_loss", "val_loss"):
        assert np.isinf(columns[name]).tolist() == [False] * 18 + [True] * 12
    assert "not_finite" in kinds("nan-written-as-blanks/history.csv")


# The files of well-known trainers and loggers, all of the same run.

FILES = {
    "keras/training.log": 0,
    "keras/history.json": 1,
    "keras/history.txt": 1,
    "fastai/history.csv": 0,
    "timm/summary.csv": 0,
    "lightning/metrics.csv": 0,
    "ultralytics/results.csv": 0,
    "deit/log.txt": 0,
    "hugging-face": 1,
    "openmmlab": 1,
    "openmmlab/vis_data/scalars.json": 1,
    "openmmlab-iterations": 1,
    "mmcls/20220101_000000.log.json": 1,
    "detectron2/metrics.json": 1,
    "wandb/history.csv": 0,
    "wandb/wandb-history.jsonl": 0,
    "mlflow/history.csv": 0,
    "mlruns": 0,
    "dvclive": 0,
    "tensorboard-csv": 0,
    "tensorboard-pytorch": 0,
    "tensorboard-keras": 0,
    "tensorboard-scalars": 0,
    "r/keras.csv": 1,
    "r/table.txt": 1,
    "r/table2.csv": 1,
}
"""Paths, and the number of the first epoch."""
AVERAGED = {"tensorboard-pytorch": 0.02}
"""By how much the mean over the batches of an epoch differs from its first value."""
SCALED = {"tensorboard-keras": 0.9}
"""The share of the accuracy that val reached."""
NO_VAL_LOSS = {
    "openmmlab",
    "openmmlab/vis_data/scalars.json",
    "openmmlab-iterations",
    "mmcls/20220101_000000.log.json",
}
NO_ACCURACY = {"detectron2/metrics.json", "tensorboard-scalars"}


@pytest.mark.parametrize("path", FILES)
def test_every_trainer_s_files_say_the_same(path):
    charts = path == "tensorboard-csv"
    paths = sorted((FAMILIES / path).iterdir()) if charts else [FAMILIES / path]
    (reading,) = read_histories(paths)
    history = reading.history
    assert list(history.epochs) == list(range(FILES[path], FILES[path] + 8))
    train = [loss + AVERAGED.get(path, 0) for loss in TRAIN_LOSS]
    assert history.columns["train_loss"] == pytest.approx(train, abs=1e-6)
    if path not in NO_VAL_LOSS:
        assert history.columns["val_loss"] == pytest.approx(VAL_LOSS, abs=1e-6)
    if path not in NO_ACCURACY:
        accuracy = [SCALED.get(path, 1) * value for value in ACCURACY]
        assert history.columns["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_each_evaluation_set_of_a_trainer_is_read():
    readings = read_histories([FAMILIES / "hugging-face-sets" / "trainer_state.json"])
    losses = {r.history.name.rpartition("=")[2]: r.history.columns["val_loss"] for r in readings}
    assert losses["seen"] == pytest.approx(VAL_LOSS)
    assert losses["far_away"] == pytest.approx([loss + 1 for loss in VAL_LOSS])
    assert [reading.repeats for reading in readings] == [False, True]


def test_charts_hold_several_runs():
    readings = read_histories(sorted((FAMILIES / "wandb-chart").iterdir()))
    assert [reading.history.name for reading in readings] == ["fox-1", "owl-2"]
    for reading in readings:
        assert reading.history.columns["val_accuracy"] == pytest.approx(ACCURACY)
        assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)


def test_a_detector_s_parts_of_the_loss_are_read_and_not_judged():
    path = "families/ultralytics-detect/results.csv"
    reading = read(path)
    assert reading.history.columns["val_map50_b"] == pytest.approx(ACCURACY)
    assert reading.judged == [] and len(reading.not_judged) >= 10
    chosen = read(path, columns="val_loss=val/cls_loss,train_loss=train/cls_loss")
    assert chosen.history.columns["val_loss"] == pytest.approx(VAL_LOSS)


def test_a_list_of_runs_is_no_history():
    assert "run_id" in refusal("families/mlflow/search_runs.csv")


# The same numbers in other forms.

CURVES = {
    "epoch": EPOCHS, "train_loss": TRAIN_LOSS, "val_loss": VAL_LOSS, "val_acc": ACCURACY
}  # fmt: skip


def columns_of(path, columns=None):
    (reading,) = read_histories([path], columns)
    return reading.history


def assert_same(history):
    assert list(history.epochs) == EPOCHS
    assert history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert history.columns["val_loss"] == pytest.approx(VAL_LOSS)
    assert history.columns["val_accuracy"] == pytest.approx(ACCURACY)


NAMES = {
    "epoch": ["epoch", "Epoch", "EPOCH", "ep", "current_epoch", "<epoch>"],
    "train_loss": [
        "train_loss",
        "Loss/train",
        "TrainLoss",
        "training loss",
        "tr_loss",
        "trainloss",
    ],
    "val_loss": ["val_loss", "valid/loss", "ValLoss", "validation_loss", "dev.loss", "evalLoss"],
    "val_acc": ["val_acc", "Valid Accuracy", "ValAcc", "eval_accuracy", "val-acc@1", "acc_val"],
}
FORMS = [
    lambda value: f"{value}",
    lambda value: f"{value:.6e}",
    lambda value: f" {value} ",
    lambda value: f"+{value}",
    lambda value: f"tensor({value})",
    lambda value: f"\"tensor({value}, device='cuda:0')\"",
    lambda value: f"np.float32({value})",
]


@settings(max_examples=60, deadline=None)
@given(
    names=st.fixed_dictionaries({key: st.sampled_from(names) for key, names in NAMES.items()}),
    order=st.permutations(list(CURVES)),
    form=st.sampled_from(FORMS),
    separator=st.sampled_from(",;\t|"),
    newest_first=st.booleans(),
    percent=st.sampled_from(["", "value", "sign", "name"]),
    comma=st.booleans(),
    crlf=st.booleans(),
    header_again=st.booleans(),
    epochs=st.sampled_from(["{}", "{}/8", "Epoch {}", "[{}/8]"]),
)
def test_spelling_order_and_units_change_nothing(
    tmp_path_factory, names, order, form, separator, newest_first, percent, comma, crlf,
    header_again, epochs,
):  # fmt: skip
    if comma and separator == ",":
        separator = ";"
    cells = {
        "epoch": [epochs.format(epoch) for epoch in EPOCHS],
        **{key: [form(value) for value in CURVES[key]] for key in ("train_loss", "val_loss")},
    }
    scale = 100 if percent else 1
    sign = "%" if percent == "sign" else ""
    cells["val_acc"] = [f"{scale * value:.6g}{sign}" for value in ACCURACY]
    header = [f"{names[key]} (%)" if (percent, key) == ("name", "val_acc") else names[key]
              for key in order]  # fmt: skip
    rows = list(zip(*(cells[key] for key in order), strict=True))
    if comma:
        rows = [[cell.replace(".", ",") if "(" not in cell else cell for cell in row]
                for row in rows]  # fmt: skip
    rows = rows[::-1] if newest_first else rows
    if header_again:
        rows.insert(4, header)
    text = "".join(separator.join(row) + ("\r\n" if crlf else "\n") for row in [header, *rows])
    path = tmp_path_factory.mktemp("spelling") / "history.csv"
    path.write_bytes(("\ufeff" + text).encode() if crlf else text.encode())
    assert_same(columns_of(path))


@pytest.mark.parametrize("orient", ["columns", "index", "records", "split", "table"])
def test_all_orients_of_pandas(tmp_path, orient):
    pd.DataFrame(CURVES).to_json(tmp_path / "h.json", orient=orient)
    assert_same(columns_of(tmp_path / "h.json"))


def test_rows_without_names_are_refused(tmp_path):
    pd.DataFrame(CURVES).to_json(tmp_path / "h.json", orient="values")
    with pytest.raises(TailproofError, match="records"):
        columns_of(tmp_path / "h.json")


@pytest.mark.parametrize("value", ["nan", "NaN", "-nan(ind)", "1.#QNAN", "inf", "-Infinity", "∞"])
def test_spellings_of_what_is_not_finite(tmp_path, value):
    rows = table(epoch=[1, 2, 3], train_loss=[1, value, value])
    history = columns_of(write(tmp_path, "h.csv", rows))
    assert np.isinf(history.columns["train_loss"]).tolist() == [False, True, True]


# Several runs, splits and batches in one table.


@pytest.mark.parametrize("name", ["fold_idx", "Random Seed", "model", "run_id", "setup"])
def test_a_column_of_runs_makes_several_runs(tmp_path, name):
    rows = table(**CURVES)
    value = {"fold_idx": "{}", "Random Seed": "{}"}.get(name, "run-{}")
    long = [(name, *rows[0]), *((value.format(n), *row) for n in range(3) for row in rows[1:])]
    readings = read_histories([write(tmp_path, "h.csv", long)])
    assert len(readings) == 3
    for reading in readings:
        assert_same(reading.history)
        assert list(reading.history.passed) == EPOCHS


@pytest.mark.parametrize("name", ["phase", "split", "mode", "Set"])
@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Training", "Validation")])
def test_a_column_of_splits(tmp_path, name, train, val):
    rows = [("epoch", name, "loss")]
    for epoch in EPOCHS:
        rows += [(epoch, train, TRAIN_LOSS[epoch]), (epoch, val, VAL_LOSS[epoch])]
    history = columns_of(write(tmp_path, "h.csv", rows))
    assert history.columns["val_loss"] == pytest.approx(VAL_LOSS)
    assert history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)


def test_a_column_of_runs_and_splits(tmp_path):
    rows = [("run", "tag", "step", "value")]
    for run in ("fox", "owl"):
        for part, losses in (("train", TRAIN_LOSS), ("validation", VAL_LOSS)):
            rows += [(f"{run}/{part}", "epoch_loss", *point) for point in enumerate(losses)]
    readings = read_histories([write(tmp_path, "scalars.csv", rows)])
    assert len(readings) == 2
    for reading in readings:
        assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
        assert reading.history.columns["val_loss"] == pytest.approx(VAL_LOSS)


@pytest.mark.parametrize("counted", [(), ("batch",)])
def test_batches_are_no_epochs(tmp_path, counted):
    rows = [("epoch", *counted, "loss")]
    rows += [(epoch, *([batch] if counted else []), TRAIN_LOSS[epoch] + batch / 10)
             for epoch in EPOCHS for batch in (0, 1, 2)]  # fmt: skip
    history = columns_of(write(tmp_path, "h.csv", rows))
    assert list(history.passed) == EPOCHS
    assert history.columns["train_loss"] == pytest.approx([loss + 0.1 for loss in TRAIN_LOSS])


@pytest.mark.parametrize(
    ("names", "counted"),
    [(("train.csv", "val.csv"), True), (("log_train.csv", "log_valid.csv"), True),
     (("train/h.csv", "test/h.csv"), True), (("a_training.csv", "a_testing.csv"), False)],
)  # fmt: skip
def test_one_file_for_each_split(tmp_path, names, counted):
    for name, losses in zip(names, (TRAIN_LOSS, VAL_LOSS), strict=True):
        columns = {"epoch": EPOCHS} if counted else {}
        write(tmp_path, name, table(**columns, loss=losses, acc=ACCURACY))
    (reading,) = read_histories([tmp_path / name for name in names])
    assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert reading.history.columns["val_loss"] == pytest.approx(VAL_LOSS)


def test_steps_of_batches_next_to_steps_of_epochs(tmp_path):
    steps = range(400)
    write(
        tmp_path, "run-a-tag-train_loss.csv", table(Step=steps, Value=[2 - s / 400 for s in steps])
    )
    write(tmp_path, "run-a-tag-val_loss.csv", table(Step=EPOCHS, Value=VAL_LOSS))
    (reading,) = read_histories(sorted(tmp_path.iterdir()))
    history = reading.history
    assert list(history.epochs) == EPOCHS
    assert history.columns["val_loss"] == pytest.approx(VAL_LOSS)
    assert history.columns["train_loss"][0] == pytest.approx(2 - 24.5 / 400)
    assert any("400" in note for note in reading.notes)


# Decisions that a name alone does not make.


def test_two_columns_for_one_name_are_not_decided_by_their_order(tmp_path):
    for names in (("val_auc", "val_roc_auc"), ("val_roc_auc", "val_auc")):
        columns = dict(zip(names, (ACCURACY, ACCURACY[::-1]), strict=True))
        path = write(tmp_path, "h.csv", table(epoch=EPOCHS, val_loss=VAL_LOSS, **columns))
        with pytest.raises(TailproofError, match="--columns"):
            read_histories([path])
        chosen = columns_of(path, "val_auroc=val_auc")
        assert chosen.columns["val_auroc"] == pytest.approx(columns["val_auc"])
    same = write(tmp_path, "h.csv", table(epoch=EPOCHS, val_auc=ACCURACY, val_roc_auc=ACCURACY))
    assert columns_of(same).columns["val_auroc"] == pytest.approx(ACCURACY)


def test_a_bare_metric_without_a_twin_is_not_guessed(tmp_path):
    path = write(tmp_path, "h.csv", table(epoch=EPOCHS, loss=TRAIN_LOSS, val_loss=VAL_LOSS,
                                          f1=ACCURACY))  # fmt: skip
    (reading,) = read_histories([path])
    assert set(reading.history.metrics) == {"train_loss", "val_loss"}
    assert [column.name for column in reading.not_judged] == ["f1"]


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        ({"train_acc": [100 * a for a in ACCURACY], "val_acc": ACCURACY}, "share"),
        ({"train_acc": [0.1, 0.4, 0.9, 1.5, 2.5, 3.5, 4.5, 5.5], "val_acc": ACCURACY}, "percent"),
        ({"val_top5": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2], "val_acc": ACCURACY}, "percent"),
        ({"train_acc": [38 + 8 * e for e in range(8)], "val_acc": [0.1] * 8}, ""),
        ({"train_acc": ACCURACY, "val_acc": [100 * a for a in ACCURACY]}, "percent"),
        ({"val_acc": ACCURACY}, "share"),
    ],
)
def test_the_unit_of_a_rate_that_does_not_exceed_one(tmp_path, columns, unit):
    path = write(tmp_path, "h.csv", table(epoch=EPOCHS, val_loss=VAL_LOSS, **columns))
    (reading,) = read_histories([path])
    column = next(column for column in reading.columns if column.name == "val_acc")
    assert (column.unit, bool(column.read_as)) == (unit, unit != "")
    assert bool(column.read_as) or column in reading.not_judged


def test_next_to_losses_of_guessing_an_accuracy_may_be_a_percentage(tmp_path):
    flat = [6.91, 6.9, 6.92, 6.91, 6.9, 6.91, 6.92, 6.9]
    columns = {"train_loss": flat, "val_loss": flat, "val_acc": [0.1, 0.11, *[0.1] * 6]}
    path = write(tmp_path, "h.csv", table(epoch=EPOCHS, **columns))
    (reading,) = read_histories([path])
    assert [column.name for column in reading.not_judged] == ["val_acc"]
    chosen = columns_of(path, "val_accuracy=val_acc:percent").columns["val_accuracy"]
    assert chosen[0] == pytest.approx(0.001)


@pytest.mark.parametrize("blank", [1, 2, 4])
def test_blanks_at_the_end(tmp_path, blank):
    """One blank may be a validation that has not run yet, several are not."""
    losses = [*VAL_LOSS[:-blank], *[""] * blank]
    path = write(tmp_path, "h.csv", table(epoch=EPOCHS, train_loss=TRAIN_LOSS, val_loss=losses))
    values = columns_of(path).columns["val_loss"][-blank:]
    assert all(map(math.isnan if blank == 1 else math.isinf, values))


def test_blanks_in_a_table_with_several_rows_an_epoch(tmp_path):
    rows = [("epoch", "step", "train_loss", "val_loss")]
    for epoch in EPOCHS:
        broken = epoch > 4
        rows.append((epoch, 10 * epoch, "" if broken else TRAIN_LOSS[epoch], ""))
        rows.append((epoch, 10 * epoch, "", "" if broken else VAL_LOSS[epoch]))
    history = columns_of(write(tmp_path, "metrics.csv", rows))
    assert list(history.epochs) == EPOCHS
    for name in ("train_loss", "val_loss"):
        assert np.isinf(history.columns[name]).tolist() == [False] * 5 + [True] * 3


def test_an_epoch_in_progress_is_not_broken(tmp_path):
    rows = [("epoch", "step", "train_acc", "train_loss_epoch", "val_loss")]
    for epoch in EPOCHS:
        rows.append((epoch, 10 * epoch, ACCURACY[epoch], "", ""))
        if epoch < 7:
            rows.append((epoch, 10 * epoch, "", "", VAL_LOSS[epoch]))
            rows.append((epoch, 10 * epoch, "", TRAIN_LOSS[epoch], ""))
    history = columns_of(write(tmp_path, "metrics.csv", rows))
    assert list(history.epochs) == EPOCHS
    assert np.isnan(history.columns["train_loss"][-1]) and np.isnan(history.columns["val_loss"][-1])


def test_val_may_be_measured_less_often_than_train(tmp_path):
    write(tmp_path, "train/loss.tsv", table(step=EPOCHS, loss=TRAIN_LOSS), "\t")
    write(tmp_path, "val/loss.tsv", table(step=EPOCHS[:5], loss=VAL_LOSS[:5]), "\t")
    history = columns_of(tmp_path)
    assert history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert history.columns["val_loss"][:5] == pytest.approx(VAL_LOSS[:5])


# What is no history.


@pytest.mark.parametrize(
    "columns",
    [
        {"C": [1, 10, 100], "train_accuracy": [0.5, 0.6, 0.7], "val_accuracy": [0.5, 0.6, 0.7]},
        {"class": ["a", "b", "c"], "precision": [0.5, 0.6, 0.7], "f1": [0.5, 0.6, 0.7]},
        {"model": ["a", "b", "c"], "epochs": [50, 50, 50], "val_loss": [0.5, 0.6, 0.7]},
        {"lr": [0.1, 0.2, 0.3], "epochs": [50, 50, 50], "val_loss": [0.5, 0.6, 0.7]},
        {"lr": [1e-5, 1e-4, 1e-3], "train_loss": [0.5, 0.6, 0.7]},
        {"fold": [1, 2, 3], "epoch": [50, 50, 50], "val_loss": [0.5, 0.6, 0.7]},
        {"threshold": [0.1, 0.2, 0.3], "accuracy": [0.5, 0.6, 0.7]},
        {"id": [1, 2, 3], "label": [0, 1, 0], "loss": [0.5, 0.6, 0.7]},
    ],
)
def test_tables_of_results_are_refused(tmp_path, columns):
    with pytest.raises(TailproofError, match="not a history"):
        read_histories([write(tmp_path, "h.csv", table(**columns))])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("h.csv", b"epoch,train_loss\n1," + b"1" * 5000 + b"\n"),
        ("h.csv", b"epoch,train_loss\n" + b"1" * 5000 + b",1\n"),
        ("h.json", b'{"loss": [1, ' + b"1" * 5000 + b"]}"),
        ("h.json", b'{"loss": [1, ' + b"1" * 4000 + b"]}"),
        ("h.json", b"[" * 100_000),
        ("h.json", b'{"a":' * 900 + b"1" + b"}" * 900),
        ("h.json", b"{'a':" * 5000),
        ("h.csv", bytes(range(256)) * 9),
        ("h.csv", b"epoch,train_loss\n1,\x00\n"),
        ("h.csv", b"epoch,train_loss\n1,(" + b" " * 100_000 + b"x\n"),
        ("h.csv", b"epoch,train_loss\n1000000000000000000,1\n"),
        ("h.csv", b"epoch,loss,loss\n1,2,3\n2,1,2\n"),
        ("h.csv", b"1,2.0\n2,1.0\n"),
        ("events.out.tfevents.1", b""),
        ("events.out.tfevents.1", b"no event file at all"),
        ("events.out.tfevents.1", bytes(4000)),
    ],
)  # fmt: skip
def test_junk_gets_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TailproofError) as error:
        read_histories([tmp_path / name])
    assert name in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 1817), bit=st.integers(0, 7))
def test_a_damaged_event_file_is_refused_or_says_the_same(tmp_path_factory, place, bit):
    content = bytearray(
        (FAMILIES / "tensorboard-keras/train/events.out.tfevents.1.host").read_bytes()
    )
    content[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("events") / "events.out.tfevents.1"
    path.write_bytes(content)
    with pytest.raises(TailproofError):
        read_histories([path])


def test_an_event_file_that_is_being_written(tmp_path):
    content = (FAMILIES / "tensorboard-keras/train/events.out.tfevents.1.host").read_bytes()
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(content[:-5])
    (reading,) = read_histories([path])
    assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert [item.count for item in reading.passed_over] == [1]


def test_what_is_in_a_folder_and_no_history_is_counted(tmp_path):
    write(tmp_path, "run/history.csv", table(**CURVES))
    write(tmp_path, "run/notes.txt", [["words"]])
    write(tmp_path, "run/metrics.json", [["{}"]])
    os.mkfifo(tmp_path / "run" / "metrics.csv")
    (reading,) = read_histories([tmp_path])
    assert_same(reading.history)
    assert sum(item.count for item in reading.passed_over) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(TailproofError, match="empty"):
        read_histories([tmp_path / "empty"])


# Whatever a file holds, it is read or refused.

WORDS = st.sampled_from(
    ["epoch", "step", "loss", "val_loss", "train_loss", "acc", "val_acc", "lr", "fold", "phase",
     "train", "val", "test", "history", "columns", "data", "value", "tag", "0", "1", "epoch_2",
     "eval_a_runtime", "eval_a_loss", "metrics/x", "time", ""]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**30), st.floats(), st.text(max_size=5),
    st.sampled_from(["nan", "1/3", "Epoch 2", "50%", "train", "val", "0,5", "tensor(1)"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=30,
)
CELLS = st.sampled_from(
    ["", "1", "2", "0.5", "nan", "inf", "-1", "50%", "1,5", "1e400", "Epoch 2", "train", "val",
     "x", "tensor(0.1)", "3/9", "NA", '"', "1" * 500]
)  # fmt: skip


def is_read_or_refused(path):
    try:
        readings = read_histories([path])
    except TailproofError as error:
        assert "\n" not in str(error)
        return
    for reading in readings:
        epochs = list(reading.history.epochs)
        assert epochs == sorted(set(epochs)) and len(reading.columns) > 0


@settings(max_examples=150, deadline=None)
@given(value=VALUES, lines=st.booleans())
def test_any_json_is_read_or_refused(tmp_path_factory, value, lines):
    path = tmp_path_factory.mktemp("json") / "history.json"
    values = value if lines and isinstance(value, list) else [value]
    path.write_text("\n".join(json.dumps(item) for item in values))
    is_read_or_refused(path)


@settings(max_examples=150, deadline=None)
@given(
    head=st.lists(WORDS, min_size=1, max_size=6),
    rows=st.lists(st.lists(CELLS, min_size=6, max_size=6), max_size=8),
    separator=st.sampled_from(",;\t| "),
)
@example(head=["loss", "epoch", "lr"], rows=[["1", "", "50%"]], separator=",")
def test_any_table_is_read_or_refused(tmp_path_factory, head, rows, separator):
    path = tmp_path_factory.mktemp("table") / "history.csv"
    lines = [head, *(row[: len(head)] for row in rows)]
    path.write_text("\n".join(separator.join(line) for line in lines))
    is_read_or_refused(path)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("history", "events.out.tfevents.1"):
        (folder / name).write_bytes(content)
        is_read_or_refused(folder / name)
