"""history.csv: what is written is read again, and one best epoch for everybody."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.readers import read_history
from tailproof.history import COLUMNS, History, write_history
from tailproof.runtime.errors import TailproofError
from tailproof.training.early_stopper import EarlyStopper

VALUES = st.lists(st.floats(0, 1, width=16) | st.sampled_from([math.nan, None]), min_size=1)
FULL = dict.fromkeys(COLUMNS, 0.5)


def history_of(folder, column, values):
    """Write and read a history; None is an epoch without validation."""
    rows = [
        {name: value for name, value in {**FULL, "epoch": epoch, column: value}.items()
         if value is not None}
        for epoch, value in enumerate(values, 1)
    ]  # fmt: skip
    write_history(folder / "history.csv", rows)
    return History.read(folder / "history.csv")


@given(values=VALUES, column=st.sampled_from(["val_loss", "val_accuracy"]))
def test_everybody_finds_the_best_epoch_of_training(tmp_path_factory, values, column):
    history = history_of(tmp_path_factory.mktemp("best"), column, values)
    stopper = EarlyStopper(Recipe(monitor=column))
    for epoch, value in enumerate(values, 1):
        if value is not None:
            stopper.update(epoch, value, {})
    best = history.best(column)
    assert (best and best["epoch"]) == stopper.epoch
    curve = RunHistory.read(history.path).curve(column)
    assert (int(curve.epochs[curve.best]) if len(curve) else None) == stopper.epoch


def test_a_history_is_written_and_read_again(tmp_path):
    history = history_of(tmp_path, "val_accuracy", [0.1, None, math.nan])
    assert history.columns == COLUMNS
    assert [row.get("val_accuracy", "absent") for row in history.rows[:2]] == [0.1, "absent"]
    assert math.isnan(history.last["val_accuracy"])
    assert history.at(2)["epoch"] == 2
    before = history.path.read_bytes()
    write_history(history.path, list(history.rows))
    assert history.path.read_bytes() == before


def test_our_reader_and_the_foreign_one_agree(tmp_path):
    path = history_of(tmp_path, "val_loss", [0.5, math.nan, None, math.inf]).path
    ours, foreign = RunHistory.read(path), read_history(path)
    assert (ours.name, ours.passed, list(ours.columns)) == (
        foreign.name, foreign.passed, list(foreign.columns),
    )  # fmt: skip
    for name, values in ours.columns.items():
        assert values.tolist() == pytest.approx(foreign.columns[name].tolist(), nan_ok=True)


@pytest.mark.parametrize(
    "text",
    ["", "epoch,val_loss\n", "a\n1\n", "epoch,a\n1,x\n", "epoch,a\n1\n", "epoch,a\n2,1\n1,1\n",
     "epoch,a\n1.5,1\n", "epoch,a\n,1\n"],
)  # fmt: skip
def test_what_training_did_not_write_is_an_error(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(TailproofError):
        History.read(path)


def test_a_missing_column_is_an_error(tmp_path):
    history = history_of(tmp_path, "val_loss", [0.5])
    with pytest.raises(TailproofError):
        history.best("val_auroc")
