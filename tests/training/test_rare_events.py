"""Two classes: epochs are chosen by the rare one, on the same numbers that evaluate gives."""

import csv

import numpy as np
import pytest

from tailproof.config.data import Data
from tailproof.config.recipe import Recipe
from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.monitors import MONITORS
from tailproof.operating_points import POINTS
from tailproof.predict.infer import infer
from tailproof.runtime.errors import TailproofError
from tailproof.score_curve import epoch_points
from tailproof.training.launcher import launch
from tests.conftest import build_data

RECIPE = {
    "model": {"name": "cifar_resnet20"},
    "optimizer": {"learning_rate": 0.05},
    "epochs": 3,
    "batch_size": 64,
    "export": "best",
    "augmentation": {"flip": True, "crop_padding": 1},
}


@pytest.fixture(scope="module")
def lenses(tmp_path_factory):
    source = {"name": "lens", "lenses": 60, "controls_per_lens": 10, "size": 24}
    splits = {"val": 0.3, "calib": 0.1}
    config = Data(source=source, positive_class="lens", splits=splits)
    return build_data(config, tmp_path_factory.mktemp("lenses"))


def run(manifest, folder, **changes):
    recipe = Recipe(**{**RECIPE, **changes})
    launch(manifest, recipe, 0, folder, folder.parent / "state", "code", folder.parent / "log")
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_history_holds_what_the_exported_logits_say(lenses, tmp_path, precision):
    """Also of a run in bf16, whose own logits would tie: val is looked at in fp32."""
    history = run(
        lenses, tmp_path / "a", monitor="tpr_at_fpr_1e-2", precision=precision, export="last"
    )
    infer(tmp_path / "a", "a", 0, lenses, tmp_path / "logits", 1, 1e9, 0)
    logits = Logits.read(tmp_path / "logits" / "val.parquet")
    scores = logits.values[:, 1].astype(float) - logits.values[:, 0]
    expected = epoch_points(scores, logits.target == 1)
    assert set(expected) == {"val_auroc", *POINTS} - {f"tpr_at_fpr_1e-{n}" for n in (3, 4, 5)}
    for name, value in expected.items():
        assert float(history[-1][name]) == pytest.approx(value, abs=2e-3), name
    assert len(np.unique(scores)) == len(scores)


@pytest.mark.parametrize(
    ("monitor", "best"), [("tpr_at_fpr_1e-2", np.argmax), ("fpr_at_tpr_0.85", np.argmin)]
)
def test_the_best_epoch_is_that_of_the_monitor(lenses, tmp_path, monitor, best):
    history = run(lenses, tmp_path / "a", monitor=monitor, early_stopping={"patience": 1})
    values = [float(row[monitor]) for row in history]
    chosen = read_json(tmp_path / "a" / "training.json")["best"]
    assert chosen["monitor"] == monitor
    assert chosen["epoch"] == best(values) + 1
    assert chosen["value"] == pytest.approx(values[chosen["epoch"] - 1], rel=1e-6)
    assert len(values) == min(3, chosen["epoch"] + 1)


def test_two_processes_gather_the_scores_of_one(lenses, tmp_path):
    """Without batch norm the models are the same up to the order of float additions."""
    small = {"img_size": 24, "patch_size": 6, "depth": 1, "embed_dim": 48, "num_heads": 3}
    model = {"name": "vit_tiny_patch16_224", "options": small}
    rows = [
        run(lenses, tmp_path / str(devices) / "a", epochs=1, devices=devices, model=model)[0]
        for devices in (1, 2)
    ]
    assert list(rows[0]) == list(rows[1])
    for name in ("val_auroc", "tpr_at_fpr_1e-2", "fpr_at_tpr_0.5"):
        assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), abs=1e-3), name


def test_a_rate_that_val_cannot_show_is_refused(lenses, tmp_path):
    message = r"recipe\.monitor .*tpr_at_fpr_1e-4.* 10,000 .*found 126.*data\.splits\.val"
    with pytest.raises(TailproofError, match=message):
        run(lenses, tmp_path / "a", monitor="tpr_at_fpr_1e-4")
    assert not (tmp_path / "a").exists()


def test_more_classes_have_no_such_monitor(digits, tmp_path):
    with pytest.raises(TailproofError, match=r"recipe\.monitor .*val_auroc.*'class' has 10"):
        run(digits, tmp_path / "a", monitor="val_auroc")


def test_every_point_can_be_monitored():
    assert {"val_auroc", *POINTS} < set(MONITORS)
    signs = {name: Recipe(monitor=name).monitor_sign for name in MONITORS}
    lower = {name for name, sign in signs.items() if sign < 0}
    assert lower == {"val_loss"} | {name for name in POINTS if name.startswith("fpr")}
