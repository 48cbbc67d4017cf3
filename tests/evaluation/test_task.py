import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.task import Task, read_experts
from tailproof.runtime.errors import TailproofError

CONFIG = Evaluation(bootstrap=100)


def change(path, **fields):
    replace(Logits.read(path), **fields).write(path)


def metadata(path, **fields):
    logits = Logits.read(path)
    change(path, metadata={**logits.metadata, **fields})


def refused(files, tmp_path, message):
    with pytest.raises(TailproofError, match=message):
        evaluate(files, tmp_path / "manifest.json", CONFIG, tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_groups_follow_the_training_counts(files, tmp_path):
    task = Task.read(tmp_path / "manifest.json", Evaluation(many_shot=100, few_shot=20))
    found = {name: np.flatnonzero(members).tolist() for name, members in task.groups.items()}
    assert found == {"many": [0, 1], "medium": [2, 3], "few": [4, 5]}
    assert [task.group_of(index) for index in (0, 2, 5)] == ["many", "medium", "few"]
    edge = Task.read(tmp_path / "manifest.json", Evaluation(many_shot=150, few_shot=12))
    assert [edge.group_of(index) for index in range(6)] == ["many"] + ["medium"] * 4 + ["few"]


def test_a_manifest_without_counts_is_named(files, tmp_path):
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["splits"]["train"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    refused(files, tmp_path, r"manifest\.json has no field 'train'")


def test_everything_is_read_in_the_order_given(files, tmp_path):
    task = Task.read(tmp_path / "manifest.json", CONFIG)
    backwards = {name: dict(reversed(seeds.items())) for name, seeds in files.items()}
    experts = read_experts(backwards, task)
    assert list(experts) == ["plain", "adjusted"]
    assert list(experts["plain"]) == ["0", "1"]
    assert set(experts["plain"]["0"]) == {"tune", "dev", "test"}


def test_experts_must_have_seen_the_same_samples(files, tmp_path):
    path = files["adjusted"][1]["dev"]
    ids = Logits.read(path).sample_ids.copy()
    ids[[0, 1]] = ids[[1, 0]]
    change(path, sample_ids=ids)
    refused(files, tmp_path, re.escape(str(path)) + ".* differ in their samples.*'dev'")


def test_experts_must_have_the_same_labels(files, tmp_path):
    path = files["plain"][1]["test"]
    labels = Logits.read(path).target.copy()
    labels[3] = (labels[3] + 1) % 6
    change(path, labels={"label": labels})
    refused(files, tmp_path, re.escape(str(path)) + ".* differ in their labels.*'test'")


def test_experts_must_have_the_same_weights(files, tmp_path):
    path = files["plain"][1]["tune"]
    change(path, weight=np.ones(120))
    refused(files, tmp_path, "differ in their weights.*'tune'")


def test_splits_must_be_disjoint(files, tmp_path):
    ids = Logits.read(files["plain"][0]["dev"]).sample_ids
    for seeds in files.values():
        for splits in seeds.values():
            mine = Logits.read(splits["test"]).sample_ids.copy()
            mine[7] = ids[5]
            change(splits["test"], sample_ids=mine)
    refused(files, tmp_path, "'dev-5' .*'dev' .*'test'")


def test_a_logit_that_is_not_finite_is_named(files, tmp_path):
    path = files["plain"][0]["test"]
    values = Logits.read(path).values.copy()
    values[12, 3] = np.inf
    change(path, heads={"label": values})
    refused(files, tmp_path, re.escape(str(path)) + r", row 12 \(test-12\): a logit is not finite")


@pytest.mark.parametrize(
    ("field", "value"),
    [("split", "dev"), ("seed", 7), ("target", "coarse"), ("expert", "other")],
)
def test_a_file_that_belongs_elsewhere_is_named(files, tmp_path, field, value):
    path = files["adjusted"][0]["test"]
    logits = Logits.read(path)
    labels = {"label": logits.target, "coarse": logits.target}
    change(path, labels=labels, metadata={**logits.metadata, field: value})
    refused(files, tmp_path, f"{field} '{value}', expected")


def test_raw_logits_are_refused(files, tmp_path):
    path = files["plain"][0]["tune"]
    logits = Logits.read(path)
    rest = {key: value for key, value in logits.metadata.items() if key != "temperature"}
    change(path, metadata=rest)
    refused(files, tmp_path, re.escape(str(path)) + ".* raw .*calibrated")


def test_logits_of_another_number_of_classes_are_refused(files, tmp_path):
    path = files["plain"][0]["tune"]
    change(path, heads={"label": np.zeros((120, 7), np.float32)})
    refused(files, tmp_path, "7 logits per sample, expected 6")


def test_a_split_without_weight_is_refused(files, tmp_path):
    path = files["plain"][0]["dev"]
    change(path, weight=np.zeros(110))
    refused(files, tmp_path, re.escape(str(path)) + ".* weight.*'dev'")


def test_experts_need_the_same_seeds(files, tmp_path):
    del files["adjusted"][1]
    refused(files, tmp_path, "'adjusted' .*0, .*'plain' .*0, 1:")


def test_nothing_to_evaluate(tmp_path, files):
    refused({}, tmp_path, "'experts'")


def test_a_missing_file_is_named(files, tmp_path):
    files["plain"][0]["dev"].unlink()
    refused(files, tmp_path, r"dev\.parquet does not exist")
