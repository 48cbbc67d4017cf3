"""Histories of further programs: all of one run, so each must say the same."""

import pytest

from tests.field.test_histories import TRAIN_LOSS, VAL_LOSS
from tests.field.test_history_shapes import (
    LOSSES,
    NUMBERED,
    WITH_BOTH,
    assert_says,
    per_epoch,
    read,
)

TRAIN, VAL = "{e},train,{t},{a}\n", "{e},val,{v},{a}\n"


@pytest.mark.parametrize(
    "rows",
    [
        "epoch,split,loss,acc\n" + per_epoch(TRAIN) + per_epoch(VAL),
        "epoch,split,loss,acc\n" + per_epoch(VAL) + per_epoch(TRAIN),
        "epoch,train_loss,train_acc,val_loss,val_acc\n"
        + per_epoch("{e},{t},{a},,\n")
        + per_epoch("{e},,,{v},{a}\n"),
        "epoch,step,split,loss,acc\n"
        + per_epoch("{e},{e}00,train,{t},{a}\n")
        + per_epoch("{e},{e}00,val,{v},{a}\n"),
    ],
    ids=["train first", "val first", "columns", "with steps"],
)
def test_all_rows_of_train_and_then_all_rows_of_val(tmp_path, rows):
    (reading,) = read(tmp_path, {"h.csv": rows})
    assert_says(reading, WITH_BOTH)
    assert list(reading.history.epochs) == list(NUMBERED)


def test_val_after_train_may_be_measured_less_often(tmp_path):
    of_val = [line for line in per_epoch("{e},val,{v}\n").splitlines(True) if int(line[0]) % 2]
    text = "epoch,split,loss\n" + per_epoch("{e},train,{t}\n") + "".join(of_val)
    (reading,) = read(tmp_path, {"h.csv": text})
    assert_says(reading, {"train_loss": TRAIN_LOSS})
    assert reading.history.columns["val_loss"][::2] == pytest.approx(VAL_LOSS[::2])


def test_the_same_metrics_again_are_a_restart(tmp_path):
    text = "epoch,train_loss,val_loss\n" + 2 * per_epoch("{e},{t},{v}\n")
    (reading,) = read(tmp_path, {"h.csv": text})
    assert reading.history.passed == (*NUMBERED, *NUMBERED)


def test_a_context_of_aim_is_a_split(tmp_path):
    series = {"loss": ("train", "t"), "val_loss": ("val", "v")}
    rows = "".join(
        per_epoch(f"abc,loss,\"{{{{'subset': '{part}'}}}}\",{{e}},{{{value}}},{{e}}\n")
        for part, value in series.values()
    )
    head = "run,metric.name,metric.context,step,value,epoch\n"
    (reading,) = read(tmp_path, {"aim.csv": head + rows})
    assert_says(reading, LOSSES)
