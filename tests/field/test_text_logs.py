"""What training programs print, as people save it: read right, or refused with one sentence."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.diagnosis.readers import read_histories
from tailproof.runtime.errors import TailproofError
from tests.field.test_histories import ACCURACY, HISTORIES, TRAIN_LOSS, VAL_LOSS

LOGS = HISTORIES / "text-logs"

FIRST_EPOCH = {
    "swin.txt": 0,
    "convnext-with-ema.txt": 0,
    "torchvision.log": 0,
    "pytorch-imagenet.log": 0,
    "pytorch-mnist.log": 1,
    "pytorch-tutorial.log": 0,
    "timm.log": 0,
    "mmcls.log": 1,
    "mmpretrain.log": 1,
    "mmcv-iterations.log": 1,
    "mmengine-iterations.log": 1,
    "keras-2.log": 1,
    "keras-3.log": 1,
    "hugging-face.log": 1,
    "fastai.txt": 0,
    "own-loop.log": 1,
}
NO_VAL_LOSS = {"mmcls.log", "mmpretrain.log", "mmcv-iterations.log", "mmengine-iterations.log"}
MEANS_OF_BATCHES = NO_VAL_LOSS | {"pytorch-mnist.log"}


def read_text(folder, text, name="train.log"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    (reading,) = read_histories([path])
    return reading


def refusal(folder, text):
    with pytest.raises(TailproofError) as error:
        read_text(folder, text)
    assert "\n" not in str(error.value)
    return str(error.value)


def counts(reading):
    return {item.reason: item.count for item in reading.passed_over}


@pytest.mark.parametrize("name", FIRST_EPOCH)
def test_every_log_says_the_same(name):
    (reading,) = read_histories([LOGS / name])
    history = reading.history
    assert list(history.epochs) == list(range(FIRST_EPOCH[name], FIRST_EPOCH[name] + 8))
    assert history.columns["train_loss"] == pytest.approx(TRAIN_LOSS, abs=1e-6)
    assert history.columns["val_accuracy"] == pytest.approx(ACCURACY, abs=1e-6)
    if name not in NO_VAL_LOSS:
        assert history.columns["val_loss"] == pytest.approx(VAL_LOSS, abs=1e-6)


@pytest.mark.parametrize("name", sorted(set(FIRST_EPOCH) - MEANS_OF_BATCHES))
def test_a_log_that_is_being_written_says_the_same(tmp_path, name):
    """Wherever it ends, the epochs that are read have their values, and only the last may lack."""
    text = (LOGS / name).read_bytes().decode()
    ends = [match.end() for match in re.finditer(r"[\r\n\x08]+", text)]
    for end in ends[len(ends) // 3 :: 7]:
        path = tmp_path / name
        path.write_bytes(text[:end].encode())
        try:
            (reading,) = read_histories([path])
        except TailproofError:
            continue  # one epoch of a loop of one's own is not enough
        columns, count = reading.history.columns, len(reading.history.epochs)
        known = {"train_loss": TRAIN_LOSS, "val_loss": VAL_LOSS, "val_accuracy": ACCURACY}
        for column, values in known.items():
            found = columns.get(column, np.full(count, np.nan))
            assert not np.isnan(found[:-1]).any()
            assert found[:-1] == pytest.approx(values[: count - 1])
            assert np.isnan(found[-1]) or found[-1] == pytest.approx(values[count - 1])


def test_a_detector_s_results_are_read_and_its_loss_is_of_train():
    (reading,) = read_histories([LOGS / "yolov5-results.txt"])
    assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert reading.history.columns["val_map_0.5"] == pytest.approx(ACCURACY)


def test_bars_of_lightning_say_what_to_give(tmp_path):
    with pytest.raises(TailproofError, match=r"lightning-bars\.log.*metrics\.csv"):
        read_histories([LOGS / "lightning-bars.log"])


def test_averaged_weights_and_evaluations_between_epochs_are_counted():
    (reading,) = read_histories([LOGS / "torchvision.log"])
    assert counts(reading) == {"lines about averaged weights (EMA)": 16}
    (reading,) = read_histories([LOGS / "convnext-with-ema.txt"])
    assert list(counts(reading).values()) == [8]


SWIN = (LOGS / "swin.txt").read_text()


def test_an_evaluation_before_training_belongs_to_no_epoch(tmp_path):
    before = "INFO Test: [0/11]\tLoss 9.9 (9.9)\tAcc@1 1.0 (1.0)\nINFO  * Acc@1 1.000 Acc@5 5.000\n"
    reading = read_text(tmp_path, before + SWIN)
    assert reading.history.columns["val_accuracy"] == pytest.approx(ACCURACY)
    assert sum(counts(reading).values()) == 1


def test_a_summary_of_train_is_not_taken_for_val(tmp_path):
    """Some loops print the same line after train and after val."""
    lines = (LOGS / "pytorch-imagenet.log").read_text().splitlines(keepends=True)
    doubled = [
        f" * Acc@1 99.000 Acc@5 99.900\n{line}" if line.startswith("Test: [ 1/") else line
        for line in lines
    ]
    reading = read_text(tmp_path, "".join(doubled))
    assert reading.history.columns["val_accuracy"] == pytest.approx(ACCURACY)
    assert sum(counts(reading).values()) == 8


def test_epochs_that_were_trained_again_replace_the_first_ones(tmp_path):
    start = SWIN.index("Train: [5/300][0/")
    other = SWIN[: SWIN.index("EPOCH 6")].replace("loss 1", "loss 7").replace("(1.", "(7.")
    reading = read_text(tmp_path, other + "\n" + SWIN[start:])
    assert reading.history.columns["train_loss"][5:] == pytest.approx(TRAIN_LOSS[5:])
    assert list(reading.history.epochs) == list(range(8))
    assert counts(reading) == {"epochs that were trained again later": 2}


@pytest.mark.parametrize("name", ["keras-2.log", "keras-3.log"])
def test_an_evaluation_after_keras_training_is_not_its_last_epoch(tmp_path, name):
    text = (LOGS / name).read_bytes().decode()
    for bar in (
        "313/313 - 1s - loss: 9.0 - accuracy: 0.01 - 1s/epoch\n",
        "1/391 [>..] - ETA: 1s - loss: 9.0\r391/391 [===] - 1s 2ms/step - loss: 9.0\n",
    ):
        reading = read_text(tmp_path, text + "\n" + bar, name)
        assert reading.history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    again = refusal(tmp_path, text + "\n" + text)
    assert "several Keras runs" in again


def test_keras_with_a_line_per_epoch_and_without_val(tmp_path):
    lines = [f"Epoch {n}/8\n391/391 - 12s - loss: {loss} - 12s/epoch - 30ms/step\n"
             for n, loss in enumerate(TRAIN_LOSS, 1)]  # fmt: skip
    text = "".join(lines) + "391/391 - 1s - loss: 9.0 - 1s/epoch - 2ms/step\n"
    assert read_text(tmp_path, text).history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)


def test_two_tables_of_fastai_are_not_mixed(tmp_path):
    text = (LOGS / "fastai.txt").read_text()
    assert "2 fastai tables" in refusal(tmp_path, text + text)


def test_rates_of_mmaction_are_shares(tmp_path):
    lines = [
        f"03/24 16:36:18 - mmengine - INFO - Epoch(train)  [{n}][8/8]  lr: 1.5e-04  eta: 0:00:10  "
        f"time: 0.16  data_time: 0.04  memory: 1314  loss: {loss}  top1_acc: 0.5000\n"
        f"03/24 16:36:19 - mmengine - INFO - Epoch(val) [{n}][1/1]  acc/top1: {accuracy}  "
        f"acc/mean1: {accuracy:.4f}data_time: 1.2716  time: 1.3658\n"
        for n, (loss, accuracy) in enumerate(zip(TRAIN_LOSS, ACCURACY, strict=True), 1)
    ]
    history = read_text(tmp_path, "".join(lines)).history
    assert history.columns["val_accuracy"] == pytest.approx(ACCURACY)


@pytest.mark.parametrize(
    "form",
    [
        "Epoch {n}/8, Train Loss: {t}, Val Loss: {v}, Val Acc: {p:.2f}%",
        "[Epoch {n}] train_loss={t} val_loss={v} val_acc={a}",
        "epoch: {n:03d} | loss {t} | val loss {v} | val accuracy {a} | best 0.99",
        "Epoch: {n} Step: 391\nTraining Loss: {t} \tValidation Loss: {v}\nValidation Accuracy: {a}",
        "Epoch {n}/8\n----------\nTrain Loss: {t} Acc: 0.3\nValid Loss: {v} Acc: {a}\n",
        "2024-01-01 00:00:00,000 - train - INFO - Epoch {n} - train loss: {t} - val loss: {v} - "
        "val acc: {a}\nBest epoch 1: val loss 0.01, val acc 0.99",
    ],
)
def test_loops_of_one_s_own(tmp_path, form):
    rows = zip(TRAIN_LOSS, VAL_LOSS, ACCURACY, strict=True)
    lines = [form.format(n=n, t=t, v=v, a=a, p=100 * a) for n, (t, v, a) in enumerate(rows, 1)]
    history = read_text(tmp_path, "\n".join(lines)).history
    assert list(history.epochs) == list(range(1, 9))
    assert history.columns["train_loss"] == pytest.approx(TRAIN_LOSS)
    assert history.columns["val_loss"] == pytest.approx(VAL_LOSS)
    assert history.columns["val_accuracy"] == pytest.approx(ACCURACY)


@pytest.mark.parametrize(
    "text",
    [
        "The model was trained for epoch after epoch, and the loss went down.\n" * 3,
        "epoch 3 was the best one\n",
        "|",
        "Epoch 1/10\nEpoch 2/10\n",
        "0/299 6.22G 0.1 0.2\n1/299 6.22G 0.1 0.2\n",
    ],
)
def test_other_texts_are_refused(tmp_path, text):
    refusal(tmp_path, text)


def test_an_epoch_0_of_keras_is_an_epoch(tmp_path):
    bar = "10/10 [=====] - 1s 9ms/step - loss: {0} - val_loss: {1}\n"
    text = "".join(f"Epoch {n}/3\n{bar.format(3.5 - n, 4.5 - n)}" for n in range(3))
    reading = read_text(tmp_path, text)
    assert list(reading.history.epochs) == [0, 1, 2]
    assert reading.history.columns["val_loss"] == pytest.approx([4.5, 3.5, 2.5])


TABLE = "epoch,train_loss,val_loss,Präzision\n0,1.5,1.6,0.5\n1,1.2,1.4,0.6\n"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-16"])
def test_other_encodings_are_read_and_said(tmp_path, encoding):
    path = tmp_path / "history.csv"
    path.write_bytes(TABLE.encode(encoding))
    (reading,) = read_histories([path])
    assert reading.history.columns["val_loss"].tolist() == [1.6, 1.4]
    guessed = [note for note in reading.notes if "not UTF-8" in note]
    assert len(guessed) == (encoding != "utf-16")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"a,b\n1,\xff\x00", b"\xff\xfea"]
)
def test_bytes_that_are_no_text_are_refused(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(TailproofError, match=r"history\.csv"):
        read_histories([path])


WORDS = ["Epoch", "[0]", "[1/3]", "Train:", "Test:", "loss", "Loss:", "0.5", "(0.5)", "nan", "*",
         "Acc@1", "50.0", "- INFO - Epoch(val)", "{'loss': 1, 'epoch': 1}", "1/3", "|", "\n", "\r",
         "- loss: 0.5", "epoch train_loss valid_loss", "EMA"]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_log_is_read_or_refused(tmp_path_factory, words):
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_text(" ".join(words))
    try:
        read_histories([path])
    except TailproofError as error:
        assert "\n" not in str(error)
