"""The stage score_unknown, and `tailproof predict --unknown`, with networks that nobody trained."""

import csv
import io
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tailproof.config.data import Data
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.splits import UNKNOWN_SPLITS
from tailproof.data.manifest import write_unknown_manifest
from tailproof.data.shards import shard
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.digests import sha256_file
from tailproof.files import read_json, write_json
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.unknown import fit_and_measure_unknown, read_scores
from tailproof.guarantees.unknown_scores import SCORES, KnownFeatures, logit_scores
from tailproof.loading import Split
from tailproof.predict.command import Promised, predict_images
from tailproof.predict.score_unknown import score_unknown
from tailproof.predict.unknown_scores_file import SCORED
from tailproof.runtime.errors import TailproofError
from tests.conftest import DIGITS, build_data
from tests.guarantees.drawn import classes
from tests.predict.conftest import make_expert

DIGIT_NAMES = {"class": [str(digit) for digit in range(8)]}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """The manifests of the digits without 8 and 9, and of these."""
    folder = tmp_path_factory.mktemp("held_out")
    data = Data(**DIGITS | {"unknown": {"classes": ["8", "9"]}, "shards_per_split": 1})
    manifest, facts = build_data(data, folder), {}
    for name in UNKNOWN_SPLITS:
        path = folder / "shards" / name / "part-00000.parquet"
        facts[name] = [path.with_suffix(".json")]
        tables = folder / "samples.parquet", folder / "splits.parquet"
        shard(*tables, data, name, 0, path, path.with_suffix(".json"))
    unknown = manifest.with_name("unknown.json")
    write_unknown_manifest(manifest, folder / "samples.parquet", facts, unknown)
    return manifest, unknown


@pytest.fixture(scope="module")
def expert(held_out, tmp_path_factory):
    """A network of random weights, with its scores."""
    folder = tmp_path_factory.mktemp("expert")
    make_expert(folder, mode="L", shape=(1, 8, 8), ranks=DIGIT_NAMES, model="cifar_resnet20")
    score_unknown(folder, "drawn", 0, *held_out, 1, 2**30, 0, {})
    return folder


def test_scores_are_those_of_the_network_that_timm_loads(expert, held_out):
    model = timm.create_model(f"local-dir:{expert}", pretrained=True).eval()

    def compute(manifest, name):
        split = Split(manifest, name)
        pixels = np.stack([split.image(row) for row in range(len(split))])[..., 0] / 255
        images = torch.tensor((pixels - 0.4) / 0.2, dtype=torch.float32)[:, None]
        with torch.no_grad():
            maps = model.forward_features(images)
            features = model.forward_head(maps, pre_logits=True).numpy()
            return split, features, model.forward_head(maps).numpy()

    train, features, _ = compute(held_out[0], "train")
    known = KnownFeatures.fit(features, train.labels["class"])
    table = read_parquet(expert / SCORED).to_pandas()
    assert set(table["split"]) == {"tune", "test", *UNKNOWN_SPLITS}
    for name in ("test", "unknown_test"):
        split, features, logits = compute(held_out[name != "test"], name)
        own = table[table["split"] == name]
        assert own["sample_id"].tolist() == split.sample_ids
        assert (own["label"] == split.labels["class"]).all()
        assert (own["predicted"] == logits.argmax(axis=1)).mean() > 0.99
        for score, values in (logit_scores(logits) | known.scores(features)).items():
            assert np.allclose(own[score], values, rtol=1e-2, atol=1e-3), score
    facts = table_metadata(expert / SCORED)
    assert facts["features_sha256"] == sha256_file(expert / "unknown.safetensors")


def test_the_same_inputs_give_the_same_bytes(expert, held_out, tmp_path):
    shutil.copytree(expert, tmp_path / "again")
    for name in (SCORED, "unknown.safetensors"):
        (tmp_path / "again" / name).unlink()
    score_unknown(tmp_path / "again", "drawn", 0, *held_out, 1, 0, 0, {})
    for name in (SCORED, "unknown.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (expert / name).read_bytes()


def test_without_unknown_images_there_are_known_ones_alone(expert, held_out, tmp_path):
    shutil.copytree(expert, tmp_path / "again")
    score_unknown(tmp_path / "again", "drawn", 0, held_out[0], None, 1, 2**30, 0, {})
    known = read_parquet(tmp_path / "again" / SCORED)
    assert set(known["split"].to_pylist()) == {"tune", "test"}
    assert known.equals(read_parquet(expert / SCORED).slice(0, len(known)))


def promise(folder, score):
    """Write a guarantees.json that promises a false-alarm rate of 20 % with a score."""
    own = read_scores(folder / SCORED, "drawn", "0", {"tune": _Weights(folder)})
    config = Guarantees(false_alarms=[0.2])
    counts = np.arange(8, 0, -1)
    shown = classes(counts, np.zeros(8, int))
    rules = fit_and_measure_unknown({"0": own}, shown, config, Evaluation(bootstrap=100))
    threshold = float(np.quantile(own["tune"].scores[score], 0.1))
    fit = rules.fits[0.2]["0"]._replace(threshold=threshold)._asdict()
    rates = [{"rate": 0.2, **fit, "risks": [], "context_risks": None}]
    unknown = {"score": score, "false_alarms": rates}
    unknown["features_sha256"] = sha256_file(folder / "unknown.safetensors")
    rank = {"name": "class", "classes": DIGIT_NAMES["class"], "above": list(range(8))}
    facts = {"experiment": "drawn", "expert": "drawn", "seed": 0, "confidence": 0.9}
    facts |= {"weights_sha256": sha256_file(folder / "model.safetensors"), "notes": []}
    facts |= {"shares": [0.125] * 8, "groups": ["few"] * 8, "ranks": [rank]}
    facts |= {"sets": [], "risks": [], "roll_ups": [], "unknown": unknown}
    write_json(folder / "guarantees.json", facts)
    return own, threshold


class _Weights:
    """Logits of which only the network is known."""

    def __init__(self, folder):
        self.metadata = {"weights_sha256": sha256_file(folder / "model.safetensors")}
        ids = read_parquet(folder / SCORED).to_pandas().query("split == 'tune'")["sample_id"]
        self.sample_ids = ids.to_numpy()


def predict(capsys, folder, images, group=None, **promised):
    options = {"rule": "chow", "coverage": None, "promised": Promised(**promised)}
    options["group"] = group
    assert predict_images(str(folder), [str(images)], as_csv=True, **options)
    output = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(output.out))), output.err


@pytest.mark.parametrize("score", ["knn", "mahalanobis", "max_logit", "max_softmax"])
def test_predict_says_unknown_below_the_threshold(expert, held_out, tmp_path, capsys, score):
    folder = shutil.copytree(expert, tmp_path / "copy")
    deployment = read_json(folder / "deployment.json")
    write_json(folder / "deployment.json", {**deployment, "tail": ["7"]})
    own, threshold = promise(folder, score)
    split = Split(held_out[1], "unknown_test")
    for row in range(40):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(split.image(row)[..., 0]).save(tmp_path / "images" / f"{row:02d}.png")
    rows, summary = predict(capsys, folder, tmp_path / "images", unknown=0.2)
    values = own["unknown_test"].scores[score][:40]
    clear = abs(values - threshold) > 1e-3 * abs(threshold)
    found = np.array([row["decision"] == "unknown" for row in rows])
    assert (found == (values < threshold))[clear].all() and clear.mean() > 0.8
    assert f"{found.sum()} unknown by {score}" in summary
    plain, _ = predict(capsys, folder, tmp_path / "images")
    assert all("unknown" not in row.values() for row in plain)
    for row, before in zip(rows, plain, strict=True):
        assert row["decision"] in ("unknown", before["decision"])
        assert row["class"] == before["class"] and row["probability"] == before["probability"]


def test_a_risk_next_to_unknown_has_its_own_threshold_also_for_groups(
    expert, held_out, tmp_path, capsys
):
    folder = shutil.copytree(expert, tmp_path / "copy")
    deployment = read_json(folder / "deployment.json")
    changes = {"tail": ["7"], "group_temperature": 0.5}
    write_json(folder / "deployment.json", deployment | changes)
    own, _ = promise(folder, "knn")
    scores = own["unknown_test"].scores["knn"][:12]
    ordered = np.sort(scores)
    middle = float(np.float32((ordered[5] + ordered[6]) / 2))
    fit = {"threshold": 0.0, "needed": 2, "samples": 9}
    risks = [{"risk": 0.1, "overall": fit, "groups": {"few": fit}}]
    rate = {"rate": 0.2, "threshold": middle, "needed": 2, "samples": 9}
    rate |= {"risks": risks, "context_risks": None}
    value = read_json(folder / "guarantees.json")
    value["unknown"] |= {"false_alarms": [rate], "groups": [rate]}
    none = fit | {"threshold": None}
    value["risks"] = [{"risk": 0.1, "overall": none, "groups": {"few": none}}]
    promises = {name: value[name] for name in ("shares", "sets", "risks", "roll_ups")}
    value["grouped"] = promises | {"temperature": 0.5, "largest": 3}
    write_json(folder / "guarantees.json", value)
    split, images = Split(held_out[1], "unknown_test"), tmp_path / "images"
    for row in range(12):
        place = images / f"group {row % 4}" / f"{row:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.image(row)[..., 0]).save(place)
    assert "cannot be promised" in refused(folder, images, risk=0.1)
    rows, messages = predict(capsys, folder, images, unknown=0.2, risk=0.1)
    unknown = {int(row["file"][-6:-4]): row["decision"] == "unknown" for row in rows}
    assert [unknown[row] for row in range(12)] == (scores < middle).tolist()
    assert {row["decision"] for row in rows} == {"unknown", "accept"}
    assert "for images of known classes" in messages
    rows, _ = predict(capsys, folder, images, group="folder", unknown=0.2, risk=0.1)
    means = scores.reshape(3, 4).mean(axis=0)
    found = {row["group"][-1]: row["decision"] == "unknown" for row in rows}
    assert found == {str(number): mean < middle for number, mean in enumerate(means)}


def refused(folder, images, **promised) -> str:
    with pytest.raises(TailproofError) as error:
        predict_images(
            str(folder), [str(images)], as_csv=True, rule="chow", coverage=None,
            group=promised.pop("group", None), promised=Promised(**promised),
        )  # fmt: skip
    return str(error.value)


def test_what_cannot_be_answered_is_refused_in_one_sentence(expert, tmp_path):
    folder = shutil.copytree(expert, tmp_path / "copy")
    deployment = read_json(folder / "deployment.json")
    write_json(folder / "deployment.json", {**deployment, "tail": ["7"]})
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    image = tmp_path / "a.png"
    promise(folder, "knn")
    assert "was not fitted, expected one of 0.2" in refused(folder, image, unknown=0.01)
    assert "only for single images" in refused(folder, image, unknown=0.2, group="folder")
    stored = read_json(folder / "guarantees.json")
    few = stored["unknown"]["false_alarms"][0] | {"threshold": None, "samples": 3}
    without = stored["unknown"] | {"false_alarms": [few]}
    write_json(folder / "guarantees.json", stored | {"unknown": without})
    assert "3 images, and it takes at least" in refused(folder, image, unknown=0.2)
    write_json(folder / "guarantees.json", {k: v for k, v in stored.items() if k != "unknown"})
    assert "data.unknown" in refused(folder, image, unknown=0.2)
    write_json(folder / "guarantees.json", stored)
    content = (folder / "unknown.safetensors").read_bytes()
    (folder / "unknown.safetensors").write_bytes(content[:-1] + b"x")
    assert "does not belong" in refused(folder, image, unknown=0.2)
    for damaged in (b"", content[:100], content[:-4]):
        (folder / "unknown.safetensors").write_bytes(damaged)
        digest = sha256_file(folder / "unknown.safetensors")
        unknown = stored["unknown"] | {"features_sha256": digest}
        write_json(folder / "guarantees.json", stored | {"unknown": unknown})
        assert "not in the format" in refused(folder, image, unknown=0.2)
    (folder / "unknown.safetensors").unlink()
    assert "does not exist" in refused(folder, image, unknown=0.2)
    assert ExpertGuarantees(**stored).unknown.score in SCORES
