"""What is added from outside the package, by a module that is imported and nothing else."""

import csv
import importlib

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import cohen_kappa_score

from tailproof.config.json_schema import schema
from tailproof.config.recipe import Recipe
from tailproof.config.validation import parse_experiment
from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.history import COLUMNS
from tailproof.loading import Split
from tailproof.losses import LOSSES
from tailproof.monitors import MONITORS
from tailproof.predict.infer import infer
from tailproof.training.launcher import launch
from tests.config.minimal import changed, mistakes

TINY = {
    "model": {"name": "cifar_resnet20"},
    "optimizer": {"learning_rate": 0.05},
    "epochs": 2,
    "batch_size": 256,
}

LOSS = '''
from typing import Literal

from tailproof.losses import Loss, register_loss


@register_loss
class MeanSquares(Loss):
    """The squared error of the probabilities (Brier 1950), rare classes weighted up."""

    name: Literal["mean_squares"]
    power: float = 0.5

    @property
    def rebalances(self):
        return self.power > 0

    def class_values(self, class_counts):
        return (class_counts.max() / class_counts.float()) ** self.power

    def mean(self, functional, logits, target, class_values):
        wanted = functional.one_hot(target, logits.shape[1])
        errors = (logits.softmax(1) - wanted).square().sum(1)
        return (errors * class_values[target]).sum() / self.reduction_weight(target, class_values)

    def reduction_weight(self, target, class_values):
        return class_values[target].sum()
'''

MONITOR = """
from tailproof.monitors import register_monitor


@register_monitor("val_disagreement", higher_is_better=False)
def disagreement(validation):
    counts = validation.counts
    images = counts.actual.sum()
    chance = counts.predicted @ counts.actual / images**2
    return float((1 - counts.right.sum() / images) / (1 - chance))
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Write a module and import it; what it registers is gone after the test."""
    before = [(registry, dict(registry)) for registry in (LOSSES, MONITORS)]
    monkeypatch.syspath_prepend(tmp_path)

    def write_and_import(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return importlib.import_module(name)

    yield write_and_import
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


def train(manifest, folder, **changes):
    """Train for real; return the rows of history.csv, and logits and labels of val."""
    recipe = Recipe(**{**TINY, **changes})
    launch(manifest, recipe, 0, folder / "expert", folder / "state", "code", folder / "log")
    infer(folder / "expert", "tiny", 0, manifest, folder / "logits", 1, 1e9, 0)
    logits = Logits.read(folder / "logits" / "val.parquet")
    assert len(logits.target) <= recipe.batch_size, "val is one batch, whose loss history.csv holds"
    with open(folder / "expert" / "history.csv", newline="") as file:
        return list(csv.DictReader(file)), logits.values.astype(float), logits.target


def test_a_loss_from_outside_is_configured_and_trained(add, digits, tmp_path):
    add("loss_of_a_user", LOSS)
    experiment = parse_experiment(
        changed(recipe={"loss": {"name": "mean_squares"}}, experts={"one": {"loss": {"power": 1}}})
    )
    assert experiment.experts["one"].loss.model_dump() == {"name": "mean_squares", "power": 1.0}
    options = schema()["$defs"]["MeanSquares"]["properties"]
    assert set(options) == {"name", "power"}
    (mistake,) = mistakes(changed(recipe={"loss": {"name": "mean_square"}}))
    assert "'mean_squares'" in mistake
    (mistake,) = mistakes(changed(recipe={"loss": {"name": "mean_squares", "powr": 1}}))
    assert "'power'" in mistake

    history, logits, labels = train(digits, tmp_path, loss={"name": "mean_squares", "power": 0.5})
    train_counts = np.bincount(Split(digits, "train").labels["class"])
    weights = np.sqrt(train_counts.max() / train_counts)[labels]
    errors = ((softmax(logits, axis=1) - np.eye(10)[labels]) ** 2).sum(1)
    assert tuple(history[0]) == COLUMNS
    assert float(history[-1]["val_loss"]) == pytest.approx(
        np.average(errors, weights=weights), rel=1e-5
    )
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])


def test_a_monitor_from_outside_chooses_the_best_epoch(add, digits, tmp_path):
    (mistake,) = mistakes(changed(recipe={"monitor": "val_disagreement"}))
    assert "'recipe.monitor'" in mistake
    add("monitor_of_a_user", MONITOR)
    assert "val_disagreement" in schema()["$defs"]["Recipe"]["properties"]["monitor"]["enum"]

    history, logits, labels = train(digits, tmp_path, epochs=4, monitor="val_disagreement")
    assert tuple(history[0]) == (*COLUMNS, "val_disagreement")
    values = [float(row["val_disagreement"]) for row in history]
    kappa = cohen_kappa_score(labels, logits.argmax(1))
    assert values[-1] == pytest.approx(1 - kappa, rel=1e-6)
    best = read_json(tmp_path / "expert" / "training.json")["best"]
    assert (best["epoch"], best["monitor"]) == (int(np.argmin(values)) + 1, "val_disagreement")
