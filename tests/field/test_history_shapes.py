"""Histories in the shapes of many programs, all of one run: read right, or refused."""

import json

import numpy as np
import pytest

from tailproof.diagnosis.readers import read_histories
from tailproof.runtime.errors import TailproofError
from tests.field.test_histories import ACCURACY, EPOCHS, TRAIN_LOSS, VAL_LOSS

NUMBERED = range(1, 9)
PERCENT = [100 * value for value in ACCURACY]
LOSSES = {"train_loss": TRAIN_LOSS, "val_loss": VAL_LOSS}
WITH_VAL = {**LOSSES, "val_accuracy": ACCURACY}
WITH_BOTH = {**WITH_VAL, "train_accuracy": ACCURACY}


def table(columns, separator=",", number=str):
    lines = [list(columns), *(map(number, row) for row in zip(*columns.values(), strict=True))]
    return "".join(separator.join(line) + "\n" for line in lines)


def per_epoch(line, first=1, **more):
    """Return a text with a line, or several, for each epoch."""
    values = zip(TRAIN_LOSS, VAL_LOSS, ACCURACY, strict=True)
    return "".join(
        line.format(e=epoch + first, t=train, v=val, a=accuracy, p=100 * accuracy,
                    **{name: function(epoch) for name, function in more.items()})
        for epoch, (train, val, accuracy) in enumerate(values)
    )  # fmt: skip


def read(folder, files):
    """Write files and read them."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_histories([folder / name for name in files])


def assert_says(reading, expected):
    for name, values in expected.items():
        assert reading.history.columns[name] == pytest.approx(values, abs=1e-6), name


def exported(step, values):
    return table({"Wall time": [1.7e9] * 8, "Step": step, "Value": values})


KERAS_CALLBACK = {
    f"run-{run}-tag-epoch_{metric}.csv": exported(EPOCHS, values)
    for metric, of_train, of_val in (("loss", TRAIN_LOSS, VAL_LOSS),
                                     ("accuracy", ACCURACY, ACCURACY))
    for run, values in (("20240101_train", of_train), ("20240101_validation", of_val))
} | {
    "run-20240101_validation-tag-evaluation_loss_vs_iterations.csv": exported(
        range(100, 900, 100), VAL_LOSS
    )
}  # fmt: skip

LOGS = {
    "Ignite": (
        "Training Results - Epoch: {e}  Avg accuracy: {a} Avg loss: {t}\n"
        "Validation Results - Epoch: {e}  Avg accuracy: {a} Avg loss: {v}\n"
    ),
    "Catalyst": (
        "{e}/8 * Epoch {e} (_base): lr=0.0010 | momentum=0.9000\n"
        "{e}/8 * Epoch {e} (train): accuracy={a} | loss={t}\n"
        "{e}/8 * Epoch {e} (valid): accuracy={a} | loss={v}\n"
    ),
    "PaddleClas": (
        "[2022/01/01 10:10:10] ppcls INFO: [Train][Epoch {e}/8][Iter: 0/9]lr: 0.1, top1: 0.9, "
        "CELoss: 9.5, loss: 9.5, batch_cost: 0.2s, eta: 0:10:00\n"
        "[2022/01/01 10:10:11] ppcls INFO: [Train][Epoch {e}/8][Avg]top1: {a}, loss: {t}\n"
        "[2022/01/01 10:10:12] ppcls INFO: [Eval][Epoch {e}][Iter: 0/4]loss: 0.1, top1: 0.9\n"
        "[2022/01/01 10:10:12] ppcls INFO: [Eval][Epoch {e}][Avg]loss: {v}, top1: {a}\n"
        "[2022/01/01 10:10:12] ppcls INFO: [Eval][Epoch {e}][best metric: 0.99]\n"
    ),
    "sections": (
        "Epoch {e}/8\nTraining:\n  loss: {t}  acc: {a}\nValidation:\n  loss: {v}  acc: {a}\n"
    ),
    "columns": "Epoch {e:03d} | Train | Loss {t} Acc {a} || Val | Loss {v} Acc {a}\n",
    "luz": (
        "Epoch {e}/8\nTrain metrics: Loss: {t} - Acc: {a}\nValid metrics: Loss: {v} - Acc: {a}\n"
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_split_anywhere_in_a_line_counts_for_its_metrics(tmp_path, name):
    (reading,) = read(tmp_path, {"train.log": per_epoch(LOGS[name])})
    assert_says(reading, WITH_BOTH)
    assert list(reading.history.epochs) == list(NUMBERED)


def test_the_name_of_a_logger_or_a_file_is_no_split(tmp_path):
    for number, prefix in enumerate(("INFO test.py:88:", "[/data/test/run.py]")):
        line = prefix + " Epoch {e}: train loss {t} val loss {v} val acc {a}\n"
        (reading,) = read(tmp_path, {f"{number}.log": per_epoch(line)})
        assert_says(reading, WITH_VAL)


def test_the_mean_over_an_epoch_replaces_its_batches(tmp_path):
    """As MONAI's tutorials print them; the mean has no word for the split."""
    line = (
        "epoch {e}/8\n1/2, train_loss: 9.1\n2/2, train_loss: 8.8\nepoch {e} average loss: {t}\n"
        "current epoch: {e} current accuracy: {a} best accuracy: 0.9 at epoch 1\n"
    )
    (reading,) = read(tmp_path, {"train.log": per_epoch(line)})
    assert_says(reading, {"train_loss": TRAIN_LOSS, "val_accuracy": ACCURACY})
    assert "val_loss" not in reading.history.columns


def test_a_sentence_before_a_name_is_not_part_of_it(tmp_path):
    line = "Epoch: {e} | Batch 9/9 | loss 0.5\nEpoch: {e} done. train_loss={t} valid_loss={v}\n"
    (reading,) = read(tmp_path, {"train.log": per_epoch(line)})
    assert_says(reading, LOSSES)


def test_a_log_of_several_trainings_is_refused(tmp_path):
    one = per_epoch("Epoch {e} - avg_train_loss: {t}  avg_val_loss: {v}  time: 100s\n")
    with pytest.raises(TailproofError, match="several runs"):
        read(tmp_path, {"train.log": f"== fold 0 ==\n{one}== fold 1 ==\n{one}"})


PROGRAMS = {
    "XGBoost": (
        {"log.txt": per_epoch("[{e}]\ttrain-mlogloss:{t:.5f}\teval-mlogloss:{v:.5f}\n", 0)},
        LOSSES,
    ),
    "XGBoost evals_result": (
        {
            "r.json": json.dumps(
                {
                    "train": {"mlogloss": TRAIN_LOSS},
                    "valid": {"mlogloss": VAL_LOSS, "merror": [1 - a for a in ACCURACY]},
                }
            )
        },
        WITH_VAL,
    ),
    "LightGBM": (
        {
            "log.txt": "Training until validation scores don't improve for 100 rounds\n"
            + per_epoch(
                "[{e}]\ttraining's multi_logloss: {t:.5f}\tvalid_1's multi_logloss: {v:.5f}\n"
            )
            + "Did not meet early stopping. Best iteration is:\n"
            "[3]\ttraining's multi_logloss: 9\tvalid_1's multi_logloss: 9\n"
        },
        LOSSES,
    ),
    "LightGBM evals_result": (
        {
            "r.json": json.dumps(
                {"training": {"multi_logloss": TRAIN_LOSS}, "valid_1": {"multi_logloss": VAL_LOSS}}
            )
        },
        LOSSES,
    ),
    "CatBoost": (
        {
            "info/learn_error.tsv": table({"iter": EPOCHS, "MultiClass": TRAIN_LOSS}, "\t"),
            "info/test_error.tsv": table({"iter": EPOCHS, "MultiClass": VAL_LOSS}, "\t"),
        },
        LOSSES,
    ),
    "CatBoost printed": (
        {
            "log.txt": per_epoch(
                "{e}:\tlearn: {t}\ttest: {v}\tbest: 0.1 ({e})\ttotal: 50ms\tremaining: 1s\n", 0
            )
        },
        LOSSES,
    ),
    "Caffe": (
        {
            "caffe.log": per_epoch(
                "I0101 10:10:10.1  99 solver.cpp:330] Iteration {i}, Testing net (#0)\n"
                "I0101 10:10:11.1  99 solver.cpp:397]     Test net output #0: accuracy = {a}\n"
                "I0101 10:10:11.1  99 solver.cpp:397]     Test net output #1: loss = {v} (* 1 = "
                "{v} loss)\n"
                "I0101 10:10:11.1  99 solver.cpp:218] Iteration {i} (12 iter/s, 8s/9 iters), "
                "loss = {t}\n"
                "I0101 10:10:11.1  99 solver.cpp:237]     Train net output #0: loss = 9\n"
                "I0101 10:10:11.1  99 sgd_solver.cpp:105] Iteration {i}, lr = 0.01\n",
                i=lambda epoch: 100 * epoch,
            )
        },
        WITH_VAL,
    ),
    "Caffe's parse_log": (
        {
            "log.train": table({"NumIters": EPOCHS, "Seconds": EPOCHS, "loss": TRAIN_LOSS}),
            "log.test": table({"NumIters": EPOCHS, "accuracy": ACCURACY, "loss": VAL_LOSS}),
        },
        WITH_VAL,
    ),
    "Darknet": (
        {
            "train.log": per_epoch(
                " Last accuracy mAP@0.50 = {p:.4f} %, best = 99.00 % \n"
                " {e}: 9.9, {t:.6f} avg loss, 0.001000 rate, 2.3 seconds, 64 images, 1 hours left\n"
            )
        },
        {"train_loss": TRAIN_LOSS, "val_map_0.50": PERCENT},
    ),
    "Chainer": (
        {
            "log": json.dumps(
                [
                    {"main/loss": t, "main/accuracy": a, "validation/main/loss": v,
                     "validation/main/accuracy": a, "iteration": 600 * e, "epoch": e}
                    for e, t, v, a in zip(NUMBERED, TRAIN_LOSS, VAL_LOSS, ACCURACY, strict=True)
                ]
            )
        },
        WITH_BOTH,
    ),
    "fairseq": (
        {
            "train.log": per_epoch(
                '2021-01-01 10:10:10 | INFO | train | {{"epoch": {e}, "train_loss": "{t}"}}\n'
                '2021-01-01 10:10:11 | INFO | valid | {{"epoch": {e}, "valid_loss": "{v}"}}\n'
            )
        },
        LOSSES,
    ),
    "Comet": (
        {
            "metrics.json": json.dumps(
                [
                    {"metricName": name, "metricValue": str(value), "step": epoch, "epoch": epoch}
                    for name, values in LOSSES.items()
                    for epoch, value in enumerate(values)
                ]
            )
        },
        LOSSES,
    ),
    "Sacred": (
        {
            "metrics.json": json.dumps(
                {
                    name: {"steps": EPOCHS, "timestamps": ["2024"] * 8, "values": values}
                    for name, values in LOSSES.items()
                }
            )
        },
        LOSSES,
    ),
    "MATLAB": (
        {
            "info.csv": table(
                {"Epoch": NUMBERED, "Iteration": NUMBERED, "TimeElapsed": ["00:00:10"] * 8,
                 "MiniBatchLoss": TRAIN_LOSS, "ValidationLoss": VAL_LOSS,
                 "ValidationAccuracy": PERCENT}
            )
        },
        WITH_VAL,
    ),
    "H2O": (
        {
            "scores.csv": table(
                {"epochs": [0, 1, 2, 3, 5, 8, 9, 13], "iterations": EPOCHS,
                 "training_logloss": TRAIN_LOSS, "validation_logloss": VAL_LOSS,
                 "validation_classification_error": [1 - a for a in ACCURACY]}
            )
        },
        WITH_VAL,
    ),
    "ConvNeXt": (
        {
            "log.txt": per_epoch(
                '{{"train_lr": 0.1, "train_loss": {t}, "train_class_acc": {a}, "test_loss": {v}, '
                '"test_acc1": {p}, "epoch": {e}, "n_parameters": 99}}\n'
            )
        },
        WITH_BOTH,
    ),
    "YOLOv5 classify": (
        {
            "results.csv": table(
                {"   epoch": EPOCHS, "   train/loss": TRAIN_LOSS, "   test/loss": VAL_LOSS,
                 "   metrics/accuracy_top1": ACCURACY, "   lr/0": [0.1] * 8}
            )
        },
        WITH_VAL,
    ),
    "Lightning with DVCLive": (
        {
            f"plots/metrics/{name}.tsv": table({"step": EPOCHS, "loss": values}, "\t")
            for name, values in (("train/epoch/loss", TRAIN_LOSS), ("val/loss", VAL_LOSS))
        },
        LOSSES,
    ),
    "TensorBoard's files of Keras": (KERAS_CALLBACK, WITH_BOTH),
    "model card": (
        {
            "README.md": "---\nlicense: mit\n---\n\n# A model\n\n- Loss: 1.2\n\n"
            "| Training Loss | Epoch | Step | Validation Loss | Accuracy |\n"
            "|:-------------:|:-----:|:----:|:---------------:|:--------:|\n"
            + per_epoch("| {t} | {e}.0 | {i} | {v} | {a} |\n", i=lambda epoch: 100 * epoch)
            + "\n### Framework versions\n\n- Transformers 4.40\n"
        },
        WITH_VAL,
    ),
    "notebook of Hugging Face": (
        {
            "log.txt": "Epoch\tTraining Loss\tValidation Loss\tAccuracy\n1\tNo log\t9.0\t0.0\n"
            + per_epoch("{e}\t{t}\t{v}\t{a}\n", 2)
        },
        {"val_loss": [9.0, *VAL_LOSS], "val_accuracy": [0.0, *ACCURACY]},
    ),
    "grid": (
        {
            "h.txt": "+----+-----+-----+\n| epoch | train_loss | val_loss |\n+=======+====+===+\n"
            + per_epoch("| {e} | {t} | {v} |\n+-------+------+------+\n")
        },
        LOSSES,
    ),
    "aligned": (
        {
            "h.txt": f"{'Epoch':>8}  {'Train loss':>14}  {'Val loss':>12}\n"
            + per_epoch("{e:>8}  {t:>14.4f}  {v:>12.4f}\n")
        },
        LOSSES,
    ),
    "what numpy prints": (
        {
            "h.txt": "{'loss': ["
            + ", ".join(f"np.float32({value})" for value in TRAIN_LOSS)
            + f"], 'val_loss': array({VAL_LOSS}, dtype=float32)" + "}"
        },
        LOSSES,
    ),
    "one column": ({"loss_curve.csv": table({"loss": TRAIN_LOSS})}, {"train_loss": TRAIN_LOSS}),
    "French Excel": (
        {
            "h.csv": table(
                {"Époque": NUMBERED, "Train loss": TRAIN_LOSS, "Val loss": VAL_LOSS,
                 "Val F1": ["#DIV/0!", *ACCURACY[1:]]},
                ";", lambda cell: str(cell).replace(".", ","),
            ).encode("cp1252")
        },
        LOSSES,
    ),
    "pycls and SlowFast": (
        {
            "stdout.log": per_epoch(
                '[10:10:10]: json_stats: {{"_type": "train_epoch", "epoch": "{e}/8", '
                '"loss": {t}}}\n'
                '[10:10:11]: json_stats: {{"_type": "val_epoch", "epoch": "{e}/8", '
                '"top1_err": {x:.6f}, "min_top1_err": 1.0}}\n',
                x=lambda epoch: 100 - PERCENT[epoch],
            )
        },
        {"train_loss": TRAIN_LOSS, "val_accuracy": ACCURACY},
    ),
    "tabs at the ends of lines": (
        {
            "log.txt": "Learning Rate\tTrain Loss\tValid Loss\tValid Acc.\t\n"
            + per_epoch("0.100000\t{t:.6f}\t{v:.6f}\t{p:.6f}\t\n")
        },
        WITH_VAL,
    ),
    "a file for each metric": (
        {
            "loss.csv": table({"epoch": EPOCHS, "train": TRAIN_LOSS, "val": VAL_LOSS}),
            "accuracy.csv": table({"epoch": EPOCHS, "train": ACCURACY, "val": ACCURACY}),
        },
        WITH_BOTH,
    ),
    "a chart of one run": (
        {
            "wandb_export.csv": table(
                {"Step": EPOCHS, "fox - train/loss": TRAIN_LOSS, "fox - val/loss": VAL_LOSS}
            )
        },
        LOSSES,
    ),
    "a flag": (
        {
            "h.csv": "epoch,is_train,loss\n" + per_epoch("{e},True,{t}\n{e},False,{v}\n")
        },
        LOSSES,
    ),
    "stages": ({"h.csv": "epoch,stage,loss\n" + per_epoch("{e},fit,{t}\n{e},validate,{v}\n")},
               LOSSES),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_run_of_every_program_is_the_same(tmp_path, name):
    files, expected = PROGRAMS[name]
    (reading,) = read(tmp_path, files)
    assert_says(reading, expected)


def test_rows_with_val_are_no_batches(tmp_path):
    """Whatever the second column is, each row has a validation of its own."""
    rows = per_epoch("{e},0,{t},{v}\n{e},1,{v},{t}\n")
    first, second = read(tmp_path, {"h.csv": f"epoch,k,train_loss,val_loss\n{rows}"})
    assert_says(first, LOSSES)
    assert_says(second, {"train_loss": VAL_LOSS, "val_loss": TRAIN_LOSS})


def test_a_file_for_each_epoch(tmp_path):
    for epoch in EPOCHS:
        row = {"epoch": epoch, "training_loss": TRAIN_LOSS[epoch],
               "validation_loss": VAL_LOSS[epoch], "best_epoch": 0}  # fmt: skip
        (tmp_path / f"metrics_epoch_{epoch}.json").write_text(json.dumps(row))
    (reading,) = read_histories([tmp_path])
    assert_says(reading, LOSSES)
    assert reading.passed_over == ()


def test_a_folder_without_any_table_is_refused(tmp_path):
    for name in ("train_loss.txt", "val_loss.txt"):
        (tmp_path / name).write_text("2.0\n1.8\n")
    with pytest.raises(TailproofError, match="contains no history"):
        read_histories([tmp_path])


def test_the_time_of_an_epoch_does_not_distinguish_runs(tmp_path):
    """fastai's CSVLogger appends; a frozen epoch was trained before the others."""
    head = "epoch,train_loss,valid_loss,accuracy,time\n"
    rows = per_epoch("{e},{t},{v},{a},00:1{e}\n", 0)
    (reading,) = read(tmp_path, {"history.csv": f"{head}0,9,9,0.1,00:20\n{head}{rows}"})
    assert_says(reading, WITH_VAL)


def test_a_chart_without_extremes_has_a_run_per_column(tmp_path):
    chart = table({"Step": EPOCHS, "fox-1 - val_loss": VAL_LOSS, "owl-2 - val_loss": TRAIN_LOSS})
    fox, owl = read(tmp_path, {"wandb_export.csv": chart})
    assert_says(fox, {"val_loss": VAL_LOSS})
    assert_says(owl, {"val_loss": TRAIN_LOSS})


def test_validations_within_few_epochs_count_as_epochs(tmp_path):
    rows = [
        {"epoch": step / 40, "step": step, "loss": TRAIN_LOSS[step // 10 - 1] + shift}
        for step in range(10, 90, 10)
        for shift in (0.1, -0.1)
    ]
    rows += [
        {"epoch": step / 40, "step": step, "eval_loss": loss, "eval_runtime": 1.0}
        for step, loss in zip(range(10, 90, 10), VAL_LOSS, strict=True)
    ]
    rows.sort(key=lambda row: row["step"])
    (reading,) = read(tmp_path, {"trainer_state.json": json.dumps({"log_history": rows})})
    assert_says(reading, LOSSES)


def test_settings_among_event_files_are_no_run(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "run") as writer:
        for epoch in EPOCHS:
            writer.add_scalar("train/loss", TRAIN_LOSS[epoch], epoch)
            writer.add_scalar("val/loss", VAL_LOSS[epoch], epoch)
        writer.add_hparams({"lr": 0.1}, {"hparam/val_loss": 1.0})
    (reading,) = read_histories([tmp_path])
    assert_says(reading, {name: np.float32(values) for name, values in LOSSES.items()})


RESULTS = {
    "lengths of trainings": {"Method": ["CE", "Mixup"], "Epochs": [90, 200], "Top-1": [76.1, 77.9]},
    "lengths without names": {"lr": [1, 2, 3], "epochs": [10, 30, 90], "val_acc": [0.5, 0.6, 0.7]},
    "one epoch": {"batch_size": [8, 16, 32], "epoch": [30] * 3, "val_loss": [0.5, 0.6, 0.7]},
    "speeds": {"batch_size": [8, 16, 32], "throughput": [1, 2, 3], "accuracy": [0.9, 0.9, 0.9]},
    "classes": {"": ["cat", "dog"], "precision": [0.9, 0.8], "recall": [0.8, 0.9]},
    "numbers of classes": {"": [0, 1], "precision": [0.9, 0.8], "f1-score": [0.8, 0.9],
                           "support": [100, 90]},
    "statistics": {"": ["count", "mean", "std"], "epoch": [8, 4.5, 2.4], "val_loss": [8, 1, 0.2]},
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_tables_of_results_are_refused(tmp_path, name):
    with pytest.raises(TailproofError, match="not a history"):
        read(tmp_path, {"h.csv": table(RESULTS[name])})


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (b"\x1f\x8b\x08", "compressed"),
        (b"\xfd7zXZ\x00", "compressed"),
        (b"PK\x03\x04\x14", "workbook"),
        (b"PAR1\x15", "parquet"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x93NUMPY\x01", "NumPy"),
        (b"<!DOCTYPE html><table>", "web page"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, start, word):
    with pytest.raises(TailproofError, match=word):
        read(tmp_path, {"history.csv": start + b"epoch,train_loss\n1,0.5\n"})
