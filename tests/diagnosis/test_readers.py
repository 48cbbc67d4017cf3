"""Histories as others write them, and files that are none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.diagnosis.column_aliases import read_name
from tailproof.diagnosis.readers import read_histories, read_history
from tailproof.runtime.errors import TailproofError


def read_as(folder, name):
    """Return what a column is read as, next to another metric on val."""
    path = write(folder, "h.csv", f"number,{name},val_kappa\n1,1,2\n2,0.5,1\n")
    (reading,) = read_histories([path], None if name == "Epoch" else "epoch=number")
    return {column.name: column.read_as for column in reading.columns}[name]


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Valid/Acc", "val_accuracy"),
        ("validation_loss", "val_loss"),
        ("TrainLoss", "train_loss"),
        ("val_losses", "val_loss"),
        ("ValAcc", "val_accuracy"),
        ("valauc", "val_auroc"),
        ("Val Acc (%)", "val_accuracy"),
        ("test_acc1", "val_accuracy"),
        ("best_val_acc", ""),
        ("val_time", ""),
        ("Loss/train", "train_loss"),
        ("loss", "train_loss"),
        ("accuracy", "val_accuracy"),
        ("eval_f1", "val_macro_f1"),
        ("train_loss_epoch", "train_loss"),
        ("lr-AdamW/pg1", "learning_rate"),
        ("learning-rate", "learning_rate"),
        ("Epoch", "epoch"),
        ("global_step", "step"),
        ("val_auc", "val_auroc"),
        ("val_tpr_at_fpr_0.0001", "tpr_at_fpr_1e-4"),
        ("tpr_at_fpr_1e-4", "tpr_at_fpr_1e-4"),
        ("tpr_at_fpr_0", "tpr_at_fpr_0"),
        ("fpr_at_tpr_0.50", "fpr_at_tpr_0.5"),
        ("val_balanced_accuracy", "val_balanced_accuracy"),
        ("val_accuracy_genus", "val_accuracy_genus"),
    ],
)
def test_names_of_others_are_known(tmp_path, name, ours):
    assert read_as(tmp_path, name) == ours


@given(st.text(max_size=30))
def test_any_name_has_a_role(name):
    assert isinstance(read_name(name).metric, str)


def test_our_own_csv_with_epochs_that_were_not_validated(tmp_path):
    path = write(tmp_path, "history.csv", "epoch,train_loss,val_loss\n1,2.0,\n2,1.0,1.5\n")
    history = read_history(path)
    assert list(history.epochs) == [1, 2] and history.origin == 1
    assert np.isnan(history.columns["val_loss"][0])
    assert list(history.curve("val_loss").epochs) == [2]


def test_percentages_and_semicolons_and_epochs_from_zero(tmp_path):
    path = write(tmp_path, "h.csv", "Epoch;valid_acc;train_acc\n0;50;40\n1;61.5;70\n")
    history = read_history(path)
    assert history.origin == 0 and history.last == 1 and history.done == 2
    assert history.columns["val_accuracy"].tolist() == [0.5, 0.615]


def test_lightning_mixes_rows_of_steps_and_epochs(tmp_path):
    text = (
        "epoch,step,train_loss_step,train_loss_epoch,val_loss,valid_accuracy,lr-SGD\n"
        ",0,,,,,0.1\n"
        "0,49,2.0,,,,\n"
        "0,99,1.6,,,,\n"
        "0,99,,,1.7,0.4,\n"
        "0,99,,1.8,,,\n"
        "1,149,1.5,,,,\n"
        "1,199,,,1.5,0.5,\n"
        "1,199,,1.4,,,\n"
    )
    history = read_history(write(tmp_path, "metrics.csv", text))
    assert list(history.epochs) == [0, 1]
    assert history.columns["train_loss"].tolist() == [1.8, 1.4]
    assert history.columns["val_accuracy"].tolist() == [0.4, 0.5]
    assert history.columns["learning_rate"][0] == 0.1


def test_tensorboard_long_and_one_file_a_tag(tmp_path):
    long = write(
        tmp_path,
        "scalars.csv",
        "wall_time,tag,step,value\n"
        + "".join(f"1.0,Loss/train,{s},{3 - s / 100}\n" for s in range(10, 101, 10))
        + "2.0,Loss/val,50,2.6\n2.0,Loss/val,100,2.2\n",
    )
    history = read_history(long)
    assert list(history.epochs) == [1, 2]
    assert history.columns["val_loss"].tolist() == [2.6, 2.2]
    assert history.columns["train_loss"].tolist() == pytest.approx([2.7, 2.2])
    head = "Wall time,Step,Value\n"
    files = [
        write(tmp_path, "run-fox-tag-Loss_train.csv", head + "1,0,2.0\n1,1,1.0\n"),
        write(tmp_path, "run-fox-tag-Loss_val.csv", head + "1,0,2.5\n1,1,2.0\n"),
        write(tmp_path, "run-owl-tag-Loss_val.csv", head + "1,0,2.4\n1,1,1.9\n"),
    ]
    fox, owl = (reading.history for reading in read_histories(files))
    assert fox.columns["train_loss"].tolist() == [2.0, 1.0]
    assert fox.columns["val_loss"].tolist() == [2.5, 2.0]
    assert (fox.name, owl.name) == ("run-fox", "run-owl") or fox.name != owl.name
    assert list(fox.epochs) == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        '{"epoch": 1, "loss": 2.0, "val_loss": 1.5}\n{"epoch": 2, "loss": 1, "val_loss": null}\n',
        '[{"epoch": 1, "loss": 2.0, "val_loss": 1.5}, {"epoch": 2, "loss": 1.0}]',
        '{"what":"", "history": [{"epoch": 1, "loss": 2,"val_loss": 1.5},{"epoch": 2, "loss": 1}]}',
        '{"loss": [2.0, 1.0], "val_loss": [1.5, null]}',
        '{"epoch": 1, "loss": 2.0, "val_loss": 1.5}\n{"epoch": 2, "loss": 1.0}\n{"epoch": 3, "lo',
    ],
    ids=["lines", "list", "case", "keras", "being written"],
)
def test_json_in_its_forms(tmp_path, text):
    history = read_history(write(tmp_path, "h.json", text))
    assert list(history.epochs) == [1, 2]
    assert history.columns["train_loss"].tolist() == [2.0, 1.0]
    assert history.columns["val_loss"][0] == 1.5 and np.isnan(history.columns["val_loss"][1])


def test_a_trainer_that_counts_fractions_of_epochs(tmp_path):
    rows = [{"epoch": e / 4, "step": 10 * e, "loss": 3 - e / 4} for e in range(1, 9)]
    rows[4:4] = [{"epoch": 1.0, "step": 40, "eval_loss": 2.1}]
    rows += [{"epoch": 2.0, "step": 80, "eval_loss": 1.2}]
    history = read_history(write(tmp_path, "state.json", json.dumps({"log_history": rows})))
    assert list(history.epochs) == [1, 2]
    assert history.columns["val_loss"].tolist() == [2.1, 1.2]
    assert history.columns["train_loss"].tolist() == pytest.approx([2.375, 1.375])


@pytest.mark.parametrize("is_json", [False, True])
def test_a_printed_loss_that_is_not_finite_is_kept(tmp_path, is_json):
    """Of a run that diverges, the last epochs are what matters."""
    losses = [(0.9, 0.8), (0.7, 0.6), (float("nan"), float("nan")), (float("inf"), float("nan"))]
    shown = json.dumps if is_json else str
    rows = [
        line
        for epoch, (train, val) in enumerate(losses, 1)
        for line in (
            shown({"loss": train, "best": True, "epoch": float(epoch)}),
            shown({"eval_loss": val, "epoch": float(epoch)}),
        )
    ]
    text = "".join(f"INFO | {row}\n" for row in rows)
    history = read_history(write(tmp_path, "train.log", text))
    assert list(history.epochs) == [1, 2, 3, 4]
    assert np.isinf(history.columns["train_loss"]).tolist() == [False, False, True, True]
    assert np.isinf(history.columns["val_loss"]).tolist() == [False, False, True, True]


def test_a_loss_that_is_not_a_number_is_kept_and_a_missing_one_is_not(tmp_path):
    history = read_history(
        write(tmp_path, "h.csv", "epoch,train_loss,val_loss\n1,1.0,\n2,nan,\n3,inf,1\n")
    )
    assert np.isinf(history.columns["train_loss"]).tolist() == [False, True, True]
    assert np.isnan(history.columns["val_loss"]).tolist() == [True, True, False]


def test_a_row_in_the_midst_of_being_written_is_left_out(tmp_path):
    path = write(tmp_path, "h.csv", "epoch,train_loss,val_loss\n1,1.0,2.0\n2,0.9")
    assert list(read_history(path).epochs) == [1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("h.csv", "", "is empty"),
        ("h.csv", "  \n", "is empty"),
        ("h.csv", "epoch,train_loss\n", "no row"),
        ("h.csv", "just some words\nof a letter\n", "one column"),
        ("h.csv", "epoch,colour\n1,red\n", "none of its columns (epoch, colour)"),
        ("h.csv", "epoch,train_loss\n1,high\n", "row 1: train_loss is 'high', expected a number"),
        ("h.csv", "epoch,train_loss\none,2\n", "epoch is 'one'"),
        ("h.csv", "epoch,train_loss\n-1,2\n", "the epoch is -1"),
        ("h.csv", "epoch,train_loss\n1,\n2,\n", "none of its columns"),
        ("h.csv", "epoch,train_loss\n1,2,3\n2,1\n", "has 3 values, its header has 2"),
        ("h.csv", 'epoch,train_loss\n1,"2\n', "not a CSV table"),
        ("h.json", '{"a": 1}', "JSON without a list of epochs"),
        ("h.json", "[1, 2]", "none of its columns"),
        ("h.json", '[1, {"epoch": 1}]', "entry 1: expected a mapping"),
        ("h.json", "[]", "no row"),
        ("h.json", '{"epoch": 1, "loss": 1}\nnonsense\n{"epoch": 2}\n', "line 2 is not JSON"),
        ("h.json", '{"loss": [1, 2], "val_loss": [1]}', "different lengths"),
        ("h.json", "{" * 100_000, "line 1 is not JSON"),
    ],
)
def test_what_is_no_history_gets_one_sentence(tmp_path, name, text, words):
    with pytest.raises(TailproofError) as error:
        read_history(write(tmp_path, name, text))
    assert words in str(error.value)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "model.bin").write_bytes(bytes(range(200, 256)) * 9)
    for path in (tmp_path / "absent.csv", tmp_path, tmp_path / "model.bin"):
        with pytest.raises(TailproofError) as error:
            read_history(path)
        assert str(error.value).startswith(str(path))


def test_a_row_without_epoch_and_step_is_no_error_where_steps_of_val_are_epochs(tmp_path):
    rows = [{"epoch": n, "step": 100 * n, "loss": 2.0 - n / 4} for n in (1, 2, 3)]
    rows += [{"step": n, "val_accuracy": n / 4} for n in (1, 2, 3)]
    text = "\n".join(map(json.dumps, [*rows, {"lr": 0.1}]))
    (reading,) = read_histories([write(tmp_path, "h.json", text)])
    assert list(reading.history.columns["val_accuracy"]) == [0.25, 0.5, 0.75]
