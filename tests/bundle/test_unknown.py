"""An ensemble says "unknown" by the mean score of its experts."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import tailproof
from tailproof.bundle.tensors import pack_weights
from tailproof.digests import sha256_file
from tailproof.files import read_json, write_json
from tailproof.guarantees.unknown_scores import KnownFeatures, logit_scores
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.classify import read_batches
from tailproof.predict.image_inputs import list_images
from tailproof.predict.known_features_file import write_known_features
from tailproof.predict.network import FEATURES
from tailproof.runtime.errors import TailproofError
from tests.bundle.heads import CLASSES, pictures, write_experts
from tests.bundle.test_bundle import WEIGHTS, alone, write_bundle

IMAGES = pictures(12)
GROUPS = [f"group {row % 4}" for row in range(12)]


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return write_experts(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def scores(experts, tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """The scores of each expert, by itself, for all images; it keeps features of the first six."""
    folder, computed = tmp_path_factory.mktemp("alone"), {}
    for name, path in experts.items():
        expert = tailproof.open(alone(path, folder / name)).loaded.with_features()
        ((_, raw, broken),) = read_batches(expert, list_images(IMAGES)[0])
        assert not broken, broken
        features = raw[name + FEATURES]
        known = KnownFeatures.fit(features[:6], np.arange(6) % 3)
        write_known_features(known, path / "unknown.safetensors")
        computed[name] = logit_scores(raw[name]) | known.scores(features)
    return computed


def write(folder: Path, experts, score: str, threshold: float | None, method: str) -> Path:
    """Write a bundle with promises of "unknown", for images and for groups."""
    write_bundle(folder, experts, method)
    configs = {name: ExpertConfig.read(path / "config.json") for name, path in experts.items()}
    weights = {name: path / "model.safetensors" for name, path in experts.items()}
    if score in ("knn", "mahalanobis"):
        known = {name: path / "unknown.safetensors" for name, path in experts.items()}
        pack_weights(weights, configs, folder / "model.safetensors", known)
    digest = sha256_file(folder / "model.safetensors")
    for name in ("bundle.json", "deployment.json"):
        write_json(folder / name, read_json(folder / name) | {"weights_sha256": digest})
    rate = {"rate": 0.2, "threshold": threshold, "needed": 7, "samples": 5}
    rates = [rate | {"risks": [], "context_risks": None}]
    unknown = {"score": score, "features_sha256": digest, "false_alarms": rates, "groups": rates}
    promises = {"shares": [1 / 3] * 3, "sets": [], "risks": [], "roll_ups": []}
    facts = {"experiment": "drawn", "expert": method, "seed": 0, "weights_sha256": digest}
    facts |= promises | {"confidence": 0.9, "groups": ["many", "few", "few"], "notes": []}
    rank = {"name": "class", "classes": CLASSES, "above": [0, 1, 2]}
    facts |= {"grouped": promises | {"temperature": 0.5, "largest": 3}, "ranks": [rank]}
    write_json(folder / "guarantees.json", facts | {"unknown": unknown})
    deployment = read_json(folder / "deployment.json") | {"group_temperature": 0.5}
    write_json(folder / "deployment.json", deployment)
    return folder


@pytest.mark.parametrize("method", ["stacked", "mean_logits"])
@pytest.mark.parametrize("score", ["max_logit", "max_softmax", "knn", "mahalanobis"])
def test_images_and_groups_below_the_threshold_are_unknown(
    experts, scores, tmp_path, score, method
):
    """With two networks of their own, and two heads that share a backbone."""
    weights = [WEIGHTS[name] if method == "stacked" else 1 for name in experts]
    mean = np.average([own[score] for own in scores.values()], axis=0, weights=weights)
    ordered = np.sort(mean)
    threshold = float(ordered[5] + ordered[6]) / 2
    folder = write(tmp_path / "bundle", experts, score, threshold, method)
    bundled = tailproof.open(folder)
    table = bundled.predict(IMAGES, unknown=0.2)
    assert (table["decision"] == "unknown").tolist() == (mean < threshold).tolist()
    assert bundled.promises["of"].tolist() == [score]
    without = bundled.predict(IMAGES)
    assert "unknown" not in set(without["decision"])
    assert (table["class"] == without["class"]).all()
    of_groups = mean.reshape(3, 4).mean(axis=0)
    with pytest.warns(UserWarning, match="promises for groups"):
        table = bundled.predict(IMAGES, unknown=0.2, group=GROUPS)
    assert (table["decision"] == "unknown").tolist() == (of_groups < threshold).tolist()


def refused(folder: Path, rate: float = 0.2) -> str:
    with pytest.raises(TailproofError) as error:
        tailproof.open(folder).predict(IMAGES[:1], unknown=rate)
    return str(error.value)


def test_what_cannot_be_answered_is_refused_in_one_sentence(experts, scores, tmp_path):
    folder = write(tmp_path / "bundle", experts, "knn", 0.0, "stacked")
    assert "the false-alarm rate 0.01 was not fitted, expected one of 0.2" in refused(folder, 0.01)
    few = write(tmp_path / "few", experts, "max_logit", None, "stacked")
    assert "tune has 5 images, and it takes at least 7" in refused(few)
    path = folder / "guarantees.json"
    promises = read_json(path)
    write_json(path, {key: promises[key] for key in promises if key != "unknown"})
    assert "says nothing about unknown images" in refused(folder)


def test_lost_and_damaged_features_are_refused(experts, scores, tmp_path):
    folder = write(tmp_path / "bundle", experts, "knn", 0.0, "stacked")
    place = "unknown/network/bank"

    def changed(change) -> str:
        copy = Path(shutil.copytree(folder, tmp_path / "copy"))
        tensors = load_file(copy / "model.safetensors")
        change(tensors)
        save_file(tensors, copy / "model.safetensors")
        digest = sha256_file(copy / "model.safetensors")
        for name in ("bundle.json", "deployment.json", "guarantees.json"):
            write_json(copy / name, read_json(copy / name) | {"weights_sha256": digest})
        message = refused(copy)
        shutil.rmtree(copy)
        return message

    assert f"has no {place}" in changed(lambda tensors: tensors.pop(place))
    wide = changed(lambda tensors: tensors.update({place: tensors[place][:, 1:].clone()}))
    assert "bank has the shape" in wide
    infinite = changed(lambda tensors: tensors.update({place: tensors[place] / 0}))
    assert "bank has the shape" in infinite
    other = {"unknown/ghost/bank": load_file(folder / "model.safetensors")[place]}
    assert "unknown/ghost/bank" in changed(lambda tensors: tensors.update(other))
