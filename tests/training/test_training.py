import csv
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from tailproof.config.recipe import Recipe
from tailproof.digests import sha256_file
from tailproof.files import read_json
from tailproof.history import COLUMNS
from tailproof.loading import Loader, Split
from tailproof.monitors import ClassCounts
from tailproof.runtime.errors import TailproofError
from tailproof.training.checkpoint_store import read_newest
from tailproof.training.distributed import ProcessGroup
from tailproof.training.early_stopper import EarlyStopper
from tailproof.training.epoch_metrics import EpochMetrics, scores
from tailproof.training.launcher import launch
from tailproof.training.multi_head import Heads
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun
from tailproof.training.train import _epochs
from tests.training.interrupted_runs import TINY


def run(digits, folder, seed=0, **changes):
    recipe, state = Recipe(**{**TINY, **changes}), folder.parent / "state"
    launch(digits, recipe, seed, folder, state, "code", folder.parent / "train.log")
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_history_has_a_row_an_epoch_and_learning_happens(digits, tmp_path):
    history = run(digits, tmp_path / "a", epochs=8)
    assert [int(row["epoch"]) for row in history] == list(range(1, 9))
    assert tuple(history[0]) == COLUMNS
    assert float(history[-1]["train_accuracy"]) > 0.7
    facts = read_json(tmp_path / "a" / "training.json")
    assert facts["attempts"][0]["last_epoch"] == facts["epochs"] == 8
    assert len(facts["initial_weights"]) == 64
    assert facts["initial_weights"] != sha256_file(tmp_path / "a" / "model.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16", "channels_last": True},
        {"drop_last": True, "mixing": {"mixup": 0.4, "cutmix": 1.0}},
        {
            "augmentation": {
                "albumentations": [{"name": "Rotate", "options": {"limit": 10}}],
                "torchvision": [{"name": "GaussianBlur", "options": {"kernel_size": 3}}],
            },
            "threads": 2,
        },
    ],
    ids=["bf16", "mixing", "named transforms"],
)
def test_the_same_run_gives_the_same_bytes(digits, tmp_path, changes):
    for name, workers in (("a", 0), ("b", 2)):
        run(digits, tmp_path / name, epochs=2, **{**changes, "workers": workers})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    first, second = (tmp_path / n / "history.csv" for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_seeds_differ(digits, tmp_path):
    run(digits, tmp_path / "a", seed=0, epochs=1)
    run(digits, tmp_path / "b", seed=1, epochs=1)
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_exported_weights_give_the_last_validation_again(digits, tmp_path):
    """The folder alone, loaded by timm, reproduces what the history says of val."""
    history = run(digits, tmp_path / "a", loss={"name": "balanced_softmax"})
    model = timm.create_model(f"local-dir:{tmp_path / 'a'}", pretrained=True).eval()
    split = Split(digits, "val")
    data = timm.data.resolve_model_data_config(model)
    loader = Loader(split, batch_size=7, image_size=None, normalization=data)
    with torch.no_grad():
        predicted = torch.cat([model(b.inputs) for b in loader.epoch(1)]).argmax(1).numpy()
    truth = split.labels["class"]
    expected = {
        "val_accuracy": accuracy_score(truth, predicted),
        "val_balanced_accuracy": balanced_accuracy_score(truth, predicted),
        "val_macro_f1": f1_score(truth, predicted, average="macro"),
    }
    for name, value in expected.items():
        assert float(history[-1][name]) == pytest.approx(value, abs=1e-6)


def test_validating_every_third_epoch_leaves_cells_empty(digits, tmp_path):
    history = run(digits, tmp_path / "a", epochs=4, validate_every=3)
    assert [bool(row["val_loss"]) for row in history] == [False, False, True, True]


def test_early_stopping_keeps_the_best_weights(digits, tmp_path):
    history = run(
        digits,
        tmp_path / "a",
        epochs=30,
        export="best",
        monitor="val_loss",
        early_stopping={"patience": 2},
        optimizer={"learning_rate": 0.5},
        schedule={"name": "constant"},
    )
    facts = read_json(tmp_path / "a" / "training.json")
    losses = [float(row["val_loss"]) for row in history]
    assert len(history) < 30 and facts["stopped_early"]
    assert facts["best"]["epoch"] == int(np.argmin(losses)) + 1 == len(history) - 2
    assert read_json(tmp_path / "a" / "config.json")["tailproof"]["epoch"] == len(history) - 2


def test_a_value_that_is_not_finite_is_never_the_best():
    best, weights = EarlyStopper(Recipe(**TINY, export="best")), {"weight": torch.ones(1)}
    for epoch, value in enumerate([float("nan"), 0.2, float("inf"), 0.1], start=1):
        best.update(epoch, value, weights)
    assert (best.epoch, best.value) == (2, 0.2)


def test_a_loss_that_is_not_finite_stops_with_epoch_and_step(digits, tmp_path):
    with pytest.raises(TailproofError) as error:
        run(
            digits,
            tmp_path / "a",
            epochs=20,
            optimizer={"learning_rate": 1e25},
            checkpoint={"steps": 1},
            schedule={"name": "constant", "warmup": {"steps": 14}},
        )
    assert re.search(r"loss .*epoch 1, step \d+", str(error.value))
    (key,) = (tmp_path / "state").iterdir()
    _, state = read_newest(key)
    assert state["run"]["step"] < 14
    assert all(torch.isfinite(value).all() for value in state["run"]["model"].values())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "resnet19"}}, "model 'resnet19'"),
        ({"optimizer": {"name": "sdg"}}, "optimizer 'sdg' .*'sgd'"),
        ({"optimizer": {"options": {"nope": 1}}}, r"recipe\.optimizer: sgd .*'nope'"),
        ({"batch_size": 4096, "drop_last": True}, r"recipe\.batch_size .*4096"),
    ],
)
def test_wrong_recipes_are_errors(digits, tmp_path, changes, message):
    with pytest.raises(TailproofError, match=message):
        run(digits, tmp_path / "a", **changes)


def test_norms_and_biases_are_not_decayed(digits, tmp_path):
    found = TrainingRun(NetworkOnImages(digits, Recipe(**TINY)), 0, ProcessGroup(1))
    groups = {group["weight_decay"]: group["params"] for group in found._optimizer.param_groups}
    assert all(parameter.ndim == 1 for parameter in groups[0.0])
    assert all(parameter.ndim > 1 for parameter in groups[5e-4])
    assert sum(map(len, groups.values())) == len(list(found.model.parameters()))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_epoch_metrics_are_those_of_scikit_learn(pairs):
    truth, predicted = (np.array(values) for values in zip(*pairs, strict=True))
    right = truth[truth == predicted]
    found = scores(ClassCounts(*(np.bincount(v, minlength=5) for v in (right, truth, predicted))))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    recalls = [np.mean(predicted[truth == c] == c) for c in np.unique(truth)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_metrics_of_batches_are_those_of_all_labels_that_are_known():
    """Missing labels of the other ranks count nowhere; a state restored midway changes nothing."""
    classes = {"species": list("abcd"), "genus": list("xyz")}
    manifest = {"target": "species", "ranks": list(classes), "classes": classes, "positive": None}
    recipe = Recipe(heads={"species": 0.5, "genus": 0.5})
    heads, rng = Heads(manifest, recipe), np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 4, 50), rng.integers(-1, 3, 50)], axis=1)
    logits = rng.normal(size=(50, 7)).astype(np.float32)
    counted = EpochMetrics(heads, torch.device("cpu"), lambda total: total)
    for start in range(0, 50, 8):
        rows = slice(start, start + 8)
        batch = torch.tensor(logits[rows]), torch.tensor(labels[rows])
        counted.add(*batch, torch.tensor(1.0), len(batch[0]))
        resumed = EpochMetrics(heads, torch.device("cpu"), lambda total: total)
        resumed.restore(counted.state(), 1)
        counted = resumed
    found = counted.metrics("val")
    for rank, ending in enumerate(("", "_genus")):
        known, predicted = labels[:, rank] >= 0, heads.parts(torch.tensor(logits))
        predicted = list(predicted.values())[rank].argmax(1).numpy()[known]
        actual = labels[known, rank]
        assert found[f"val_accuracy{ending}"] == accuracy_score(actual, predicted)
        recall = balanced_accuracy_score(actual, predicted)
        assert found[f"val_balanced_accuracy{ending}"] == pytest.approx(recall)
        f1 = f1_score(actual, predicted, average="macro")
        assert found[f"val_macro_f1{ending}"] == pytest.approx(f1)


@pytest.mark.parametrize(("epoch", "words"), [(3, "in epoch 3"), (None, "never a finite number")])
def test_early_stopping_is_logged_also_without_a_best_epoch(caplog, epoch, words):
    caplog.set_level("INFO", logger="tailproof")
    recipe, best = SimpleNamespace(monitor="val_loss"), SimpleNamespace(epoch=epoch)
    run = SimpleNamespace(epoch=5, until=9, finished=True, recipe=recipe, best=best)
    _epochs(run, None, "train")
    assert words in caplog.text
