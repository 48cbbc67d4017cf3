import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tailproof.calibration.metrics import ece_debiased, log_probabilities
from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.data.tables import write_parquet
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import GroupedSplit, fit_group_temperature, read_groups
from tests.evaluation.drawn_experts import SIZES, write_experts

VIEWS, CLASSES = 4, 5


def views(rng, things, sharpness=1.0):
    """Logits of four noisy views of each thing: the thing's own logits plus noise."""
    labels = rng.integers(0, CLASSES, things)
    seen = 1.5 * np.eye(CLASSES)[labels] + 0.6 * rng.normal(size=(things, CLASSES))
    noisy = seen[:, None] + 1.2 * rng.normal(size=(things, VIEWS, CLASSES))
    return (sharpness * noisy).reshape(-1, CLASSES), np.repeat(labels, VIEWS)


def grouped(labels, size=VIEWS):
    ids = np.array([f"s{row}" for row in range(len(labels))])
    return GroupedSplit.of(ids, labels, {name: f"g{row // size}" for row, name in enumerate(ids)})


def test_four_views_are_more_accurate_and_not_less_calibrated():
    rng = np.random.default_rng(0)
    scale = 1.0
    tune, tune_labels = views(rng, 1000, scale)
    test, labels = views(rng, 3000, scale)
    one = Prediction.from_logits(test, labels)
    groups = grouped(labels)
    temperature = fit_group_temperature(
        grouped(tune_labels), Prediction.from_logits(tune, tune_labels)
    )
    together = groups.combine(one, temperature)
    assert len(together.p) == 3000 and np.allclose(together.p.sum(axis=1), 1)
    assert together.correct.mean() > one.correct.mean() + 0.05
    error = ece_debiased(together.p, groups.labels)
    assert error <= ece_debiased(one.p, labels)
    untempered = groups.combine(one, 1.0)
    assert error < ece_debiased(untempered.p, groups.labels)


def test_the_answer_for_a_group_is_the_softmax_of_its_mean_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3))
    ids = np.array(list("abcdef"))
    names = dict(zip(ids, ["x", "y", "x", "z", "x", "y"], strict=True))
    groups = GroupedSplit.of(ids, np.array([0, 1, 0, 2, 0, 1]), names)
    found = groups.combine(Prediction.from_logits(logits, np.zeros(6, int)), 2.0).log_p
    assert groups.size.tolist() == [3, 2, 1] and groups.labels.tolist() == [0, 1, 2]
    expected = [logits[[0, 2, 4]].mean(axis=0) / 2, logits[[1, 5]].mean(axis=0) / 2, logits[3]]
    assert found == pytest.approx(log_probabilities(np.array(expected)), abs=1e-12)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("groups")
    return root, write_experts(root, seeds=(0,))


def measured(files, groups, folder):
    root, logits = files
    result = evaluate(logits, root / "manifest.json", Evaluation(bootstrap=100), folder, groups)
    return json.loads((folder / "metrics.json").read_text()), result


def test_groups_are_measured_for_every_method(files, tmp_path):
    """Samples of one class, two by two, are one thing."""
    _, logits = files
    groups = {}
    for split in SIZES:
        of_split = Logits.read(logits["plain"][0][split])
        order = np.argsort(of_split.target, kind="stable")
        for label in range(6):
            for place, name in enumerate(
                of_split.sample_ids[order][of_split.target[order] == label]
            ):
                groups[name] = f"{split} {label} {place // 2}"
    result, _ = measured(files, groups, tmp_path)
    assert result["sample_groups"]["splits"]["test"]["largest"] == 2
    for kind in ("experts", "ensembles"):
        for name, method in result[kind].items():
            test = method["seeds"]["0"]["test"]
            gained = test["group_top1"]["value"] - test["top1"]["value"]
            assert test["group_gained_top1"]["value"] == pytest.approx(gained, abs=0.01)
            assert test["group_top1"]["low"] < test["group_top1"]["value"]
            assert 0.05 <= result["sample_groups"]["temperatures"][name]["0"] <= 20
    pair = result["paired"]["test"]["plain - adjusted"]
    assert {"group_top1", "group_ece_debiased", "group_gained_top1"} <= set(pair)
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert "group_nll" in set(summary["metric"])


def test_without_groups_nothing_is_measured(files, tmp_path):
    result, _ = measured(files, {}, tmp_path)
    assert result["sample_groups"] is None
    test = result["experts"]["plain"]["seeds"]["0"]["test"]
    assert not [name for name in test if name.startswith("group_")]


def test_groups_of_several_classes_are_no_things_and_said_so(files, tmp_path):
    _, logits = files
    names = Logits.read(logits["plain"][0]["test"]).sample_ids
    groups = {name: f"site {row % 3}" for row, name in enumerate(names)}
    result, _ = measured(files, groups, tmp_path)
    assert result["sample_groups"] is None
    assert any("3 groups" in note for note in result["notes"])


def test_groups_come_from_samples(tmp_path):
    table = {"sample_id": ["a", "b"], "group": ["x", "x"], "digest": ["1", "2"]}
    write_parquet(tmp_path / "samples.parquet", pa.table(table))
    assert read_groups(tmp_path / "samples.parquet") == {"a": "x", "b": "x"}
