"""Histories of further programs: all of one run, so each must say the same."""

import json

import pytest

from tailproof.runtime.errors import TailproofError
from tests.field.test_histories import ACCURACY, TRAIN_LOSS, VAL_LOSS
from tests.field.test_history_shapes import (
    LOSSES,
    NUMBERED,
    WITH_BOTH,
    WITH_VAL,
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


LOGS = {
    "Dassl, CoOp and LIFT": (
        "epoch [{e}/8] batch [5/9] time 0.1 (0.2) data 0.0 (0.1) loss 9.1 (9.5) acc 1.0 (2.0) lr "
        "1.0e-05 eta 0:01:00\n"
        "epoch [{e}/8] batch [9/9] time 0.1 (0.2) data 0.0 (0.1) loss 9.1 ({t}) acc 1.0 ({p}) lr "
        "1.0e-05 eta 0:01:00\n"
        "Evaluate on the *val* set\n=> result\n* total: 8,100\n* loss: {v}\n* accuracy: {p}%\n",
        WITH_BOTH,
    ),
    "LDAM-DRW": (
        "Epoch: [{e}][0/98], lr: 0.1\tTime 1.2 (1.2)\tData 0.2 (0.2)\tLoss 9.9 (9.9)\tPrec@1 10.0 "
        "(10.0)\tPrec@5 50.0 (50.0)\n"
        "Epoch: [{e}][97/98], lr: 0.1\tTime 1.2 (1.2)\tData 0.2 (0.2)\tLoss 9.9 ({t})\tPrec@1 10.0 "
        "({p})\tPrec@5 50.0 (50.0)\n"
        "Test: [0/9]\tTime 0.4 (0.4)\tLoss 8.8 (8.8)\tPrec@1 10.0 (10.0)\tPrec@5 50.0 (50.0)\n"
        "val Results: Prec@1 {p} Prec@5 90.0 Loss {v}\nval Class Accuracy: [0.9,0.1]\n",
        WITH_BOTH,
    ),
    "OLTR": (
        "Epoch: [{e}/8] Step: 10  Minibatch_loss_performance: {t} Minibatch_accuracy_micro: {a}\n\n"
        " Phase: val \n\n Evaluation_accuracy_micro_top1: {a} \n Averaged F-measure: 0.1 \n"
        " Many_shot_accuracy_top1: 0.9 Low_shot_accuracy_top1: 0.1 \n",
        {"train_loss": TRAIN_LOSS, "train_accuracy": ACCURACY, "val_accuracy": ACCURACY},
    ),
    "BBN": (
        "INFO: ---Epoch:{e:03d}/8 Batch:010/098 Batch_Loss:9.3 Batch_Accuracy:10.20%---\n"
        "INFO: ---Epoch:{e:03d}/8 Avg_Loss:{t} Epoch_Accuracy:{p}% Epoch_Time: 0.5min---\n"
        "INFO: ------- Valid: Epoch:{e:03d}  Valid_Loss:{v}   Valid_Acc:{p}%-------\n"
        "INFO: --------------Best_Epoch:{e:03d}    Best_Acc:99.00%--------------\n",
        WITH_BOTH,
    ),
    "pytorch-template": (
        "2021-01-01 10:00:00,000 - trainer - DEBUG - Train Epoch: {e} [0/540 (0%)] Loss: {t}\n"
        "2021-01-01 10:00:00,000 - trainer - DEBUG - Train Epoch: {e} [270/540 (50%)] Loss: {t}\n"
        "2021-01-01 10:00:00,000 - trainer - INFO -     epoch          : {e}\n"
        "2021-01-01 10:00:00,000 - trainer - INFO -     loss           : {t}\n"
        "2021-01-01 10:00:00,000 - trainer - INFO -     accuracy       : {a}\n"
        "2021-01-01 10:00:00,000 - trainer - INFO -     val_loss       : {v}\n"
        "2021-01-01 10:00:00,000 - trainer - INFO -     val_accuracy   : {a}\n",
        WITH_BOTH,
    ),
    "Flair": (
        "epoch {e} - iter 10/20 - loss 9.15 - samples/sec: 99.1 - lr: 0.100000\n"
        "epoch {e} - iter 20/20 - loss 9.13 - samples/sec: 99.1 - lr: 0.100000\n"
        "EPOCH {e} done: loss {t} - lr 0.1000000\nDEV : loss {v} - f1-score (micro avg)  0.7\n",
        LOSSES,
    ),
    "GluonCV": (
        "INFO:root:Epoch[{e}] Batch [49]\tSpeed: 1000.1 samples/sec\taccuracy=0.01\tlr=0.1\n"
        "INFO:root:[Epoch {e}] training: accuracy={a}\n"
        "INFO:root:[Epoch {e}] validation: err-top1={x:.6f} err-top5=0.1\n",
        {"train_accuracy": ACCURACY, "val_accuracy": ACCURACY},
    ),
    "Paddle": (
        "Epoch {e}/8\nstep 10/20 - loss: 9.1 - acc: 0.1 - 20ms/step\n"
        "step 20/20 - loss: {t} - acc: {a} - 15ms/step\nEval begin...\n"
        "step 2/4 - loss: 9.1 - acc: 0.1 - 8ms/step\n"
        "step 4/4 - loss: {v} - acc: {a} - 8ms/step\nEval samples: 10000\n",
        WITH_BOTH,
    ),
    "examples of Accelerate": (
        "08/01/2023 10:00:00 - INFO - __main__ - epoch {e}: {{'accuracy': {a}}}\n",
        {"val_accuracy": ACCURACY},
    ),
    "SupContrast": (
        "Train: [{e}][10/98]\tBT 0.1 (0.1)\tDT 0.0 (0.0)\tloss 9.9 (9.9)\tAcc@1 10.0 (10.0)\n"
        "Train: [{e}][98/98]\tBT 0.1 (0.1)\tDT 0.0 (0.0)\tloss 9.9 ({t})\tAcc@1 10.0 ({p})\n"
        "Train epoch {e}, total time 10.1, accuracy:{p}\n"
        "Test: [39/40]\tTime 0.1 (0.1)\tLoss 9.9 ({v})\tAcc@1 10.0 (10.0)\n * Acc@1 {p}\n",
        WITH_BOTH,
    ),
    "FixMatch": (
        "Train Epoch: {e}/   8. Iter: 1024/1024. LR: 0.03. Loss: {t}. Loss_x: 0.1. Mask: 0.50. \n"
        "Test Iter:   10/  10. Data: 0.1s. Loss: {v}. top1: {p}. top5: 99.0. \n"
        "INFO - __main__ -   top-1 acc: {p}\nINFO - __main__ -   top-5 acc: 99.0\n"
        "INFO - __main__ -   Best top-1 acc: 99.00\n",
        WITH_VAL,
    ),
    "PyTorch's tutorial": (
        "Epoch [{e}/8], Step [100/600], Loss: {t}\n"
        "Accuracy of the network on the 10000 test images: {p} %\n",
        {"train_loss": TRAIN_LOSS, "val_accuracy": ACCURACY},
    ),
    "Keras' own loops": (
        "Start of epoch {e}\nTraining loss (for one batch) at step 0: 99.1\n"
        "Training acc over epoch: {a}\nValidation acc: {a}\nTime taken: 6.2s\n",
        {"train_accuracy": ACCURACY, "val_accuracy": ACCURACY},
    ),
    "tensors": (
        "Epoch {e}: train_loss=tensor({t}, device='cuda:0') val_loss=np.float64({v}) "
        "val_acc=tensor({a})\n",
        WITH_VAL,
    ),
    "mean loss of test": (
        "Train Epoch: {e} [0/60000 (0%)]\tLoss: {t}\n"
        "Train Epoch: {e} [59520/60000 (99%)]\tLoss: {t}\n"
        "\nTest set: Average loss: {v}, Accuracy: {p}%\n\n",
        WITH_VAL,
    ),
    "bars before the numbers": (
        "\rEpoch {e}/8:  12%|#   | 1/8 [00:00<00:02,  3.1it/s, loss=9.9, acc=0.1]"
        "\rEpoch {e}/8: 100%|####| 8/8 [00:02<00:00,  3.1it/s, loss=9.8, acc=0.1]\n"
        "train loss: {t} val loss: {v} val acc: {a}\n",
        WITH_VAL,
    ),
    "bars next to val": (
        "Step: 9. Epoch: {e}/8. Total loss: 9.8:  50%|#    | 5/10 [00:10<00:10,  5it/s]\r"
        "Step: 9. Epoch: {e}/8. Total loss: 9.9: 100%|#    | 10/10 [00:10<00:10,  5it/s]\n"
        "Val. Epoch: {e}/8. Regression loss: 0.3. Total loss: {v}\n",
        {"val_loss": VAL_LOSS},
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_the_run_of_every_log_is_the_same(tmp_path, name):
    line, expected = LOGS[name]
    text = per_epoch(line, x=lambda epoch: 1 - ACCURACY[epoch])
    (reading,) = read(tmp_path, {"run.log": text})
    assert_says(reading, expected)
    for metric in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        assert metric in expected or metric not in reading.history.columns
    assert list(reading.history.epochs) == list(NUMBERED)


@pytest.mark.parametrize(
    "line",
    [
        "\rEpoch [{e}/8]:  12%|#   | 1/8 [00:00<00:02,  3.1it/s, loss={t}, val_loss={v}]\n",
        "Epoch {e}/8 ━━━━━━━━ 100/100 0:00:10 • 0:00:00 9.9it/s train_loss: {t} val_loss: {v}\n",
        "Epoch {e}: 8it [00:01, 5.00it/s, loss={t}, val_loss={v}]\n",
        "     {e}/8     0.5G     {t}       16      224: 100%|##| 8/8 [00:02<00:00,  3.1it/s]\n",
    ],
)
def test_bars_alone_are_refused(tmp_path, line):
    with pytest.raises(TailproofError, match="progress bars"):
        read(tmp_path, {"train.log": per_epoch(line)})


def test_batches_of_train_and_val_without_a_word_for_them_are_refused(tmp_path):
    line = "Epoch: {e}\n 391/391 Step: 20ms | Loss: {t} | Acc: {p}% (40/50)\n 100/100 | Loss: {v}\n"
    with pytest.raises(TailproofError, match="391 and 100 batches"):
        read(tmp_path, {"train.log": per_epoch(line)})


def test_the_names_of_checkpoints_are_no_measurements(tmp_path):
    line = (
        "Epoch {e}: 100%|##| 8/8 [00:01<00:00,  5.00it/s, train_loss={t}]\n"
        "Epoch {e}, global step 9: 'val_loss' reached {v} (best {v}), saving model to "
        "'/x/epoch={e}-val_loss=9.99.ckpt' as top 1\n"
    )
    with pytest.raises(TailproofError, match="progress bars"):
        read(tmp_path, {"train.log": per_epoch(line)})


def test_a_copy_of_train_is_not_val(tmp_path):
    text = "epoch,loss,train_loss\n" + per_epoch("{e},{t},{t}\n")
    (reading,) = read(tmp_path, {"h.csv": text})
    assert_says(reading, {"train_loss": TRAIN_LOSS})
    assert "val_loss" not in reading.history.columns


def test_a_metric_of_another_name_in_a_log_is_not_left_out_silently(tmp_path):
    line = "[Epoch {e}] train={a} val={a} loss={t} focalloss={t} time: 30.1\n"
    (reading,) = read(tmp_path, {"train.log": per_epoch(line)})
    assert [column.name for column in reading.not_judged] == ["train", "val", "focalloss"]


def test_the_table_of_skorch_with_checkpoints(tmp_path):
    head = "  epoch    train_loss    valid_acc    valid_loss    cp     dur\n-----  ----  ----  --\n"
    rows = per_epoch("  {e}  {t}  {a}  {v}  {c}  0.1\n", c=lambda epoch: "+" if epoch < 3 else " ")
    (reading,) = read(tmp_path, {"log.txt": head + rows})
    assert_says(reading, WITH_VAL)


def test_status_of_tao(tmp_path):
    line = (
        '{{"epoch": {e}, "max_epoch": 8, "eta": "0:16:00", "message": "Training loop in progress", '
        '"graphical": {{"loss": {t}, "val_loss": {v}}}, "kpi": {{"validation_accuracy": {a}}}}}\n'
    )
    (reading,) = read(tmp_path, {"status.json": per_epoch(line)})
    assert_says(reading, WITH_VAL)


def test_a_notebook_is_named(tmp_path):
    cell = {"cell_type": "code", "source": [], "outputs": [{"text": per_epoch("{e} {t} {v}\n")}]}
    text = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    with pytest.raises(TailproofError, match="is a notebook"):
        read(tmp_path, {"train.ipynb": text})
