"""The stage embed: right features, the same bytes however they are computed, clear refusals."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tailproof.config.frozen_backbone import Features
from tailproof.config.model import Model
from tailproof.features import backbone as backbone_module
from tailproof.features.embed_state import BatchLog
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json, write_json
from tailproof.loading import Loader, Split
from tailproof.models.backbone_layers import layers_of
from tailproof.models.initial_weights import build_initial
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tests.features.embedding import MODEL, fetch_weights, run_embed

PLAIN = Features(size=16)
VIEWS = Features(size=16, views=3)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A project with weights, and batches of 64 images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backbone_module, "PIXELS", 64 * 16 * 16)
    fetch_weights(MODEL)
    return tmp_path


def contents(outputs: dict[str, Path]) -> dict[str, bytes]:
    return {split: path.read_bytes() for split, path in outputs.items()}


def test_features_are_those_of_the_network_and_labels_those_of_the_shards(digits):
    for part in (0, 1):
        run_embed(digits, Path("F"), PLAIN, part=part)
    network = build_initial(MODEL, classes=0, channels=1, options={}).eval()
    mean, std = 0.449, 0.226  # of grey images: the average of ImageNet's channels
    facts = read_json(project_paths().weights(MODEL.weights_key).with_suffix(".json"))
    prepared = {
        "mean": [float(np.mean(facts["mean"]))],
        "std": [float(np.mean(facts["std"]))],
    }
    assert abs(prepared["mean"][0] - mean) < 0.1 and abs(prepared["std"][0] - std) < 0.1
    for name in ("train", "test"):
        stored, split = FeatureSplit("F", digits, name), Split(digits, name)
        loader = Loader(split, batch_size=97, image_size=16, normalization=prepared)
        with torch.inference_mode():
            images = torch.cat([batch.inputs for batch in loader.epoch(1)])
            expected = network.forward_head(network.forward_features(images), pre_logits=True)
        np.testing.assert_allclose(stored.read_all()[:, 0], expected.numpy(), atol=1e-5, rtol=1e-5)
        assert stored.sample_ids == split.sample_ids and stored.groups == split.groups
        np.testing.assert_array_equal(stored.weight, split.weight)
        assert {rank: values.tolist() for rank, values in stored.labels.items()} == {
            rank: values.tolist() for rank, values in split.labels.items()
        }
        assert stored.layers == {"penultimate": 64} and stored.dtype == np.float32
        table = pd.read_parquet(f"F/{name}.parquet")
        assert table["sample_id"].tolist() == split.sample_ids
        np.testing.assert_array_equal(np.stack(table["penultimate"]), stored.read_all()[:, 0])


def test_bytes_do_not_depend_on_threads_or_interruptions(digits, monkeypatch):
    once = contents(run_embed(digits, Path("A"), VIEWS))
    assert contents(run_embed(digits, Path("B"), VIEWS, threads=4)) == once
    append, left = BatchLog.append, [2, 5]

    def append_or_stop(log, values):
        append(log, values)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(BatchLog, "append", append_or_stop)
        with pytest.raises(KeyboardInterrupt):
            run_embed(digits, Path("C"), VIEWS)
        del left[0]
        (log,) = Path("states").glob("*/train")
        log.write_bytes(log.read_bytes()[:-3])  # the last batch is not whole
    monkeypatch.setattr(BatchLog, "append", append)
    assert contents(run_embed(digits, Path("C"), VIEWS, threads=2)) == once
    assert not Path("states").exists()


KILLED = """
import sys, tailproof.models
from pathlib import Path
from tailproof.config.frozen_backbone import Features
from tailproof.features import backbone
from tests.features.embedding import run_embed
backbone.PIXELS = 8 * 16 * 16
run_embed(Path(sys.argv[1]), Path("D"), Features(size=16), threads=2)
"""


def test_a_killed_job_resumes_from_its_finished_batches(digits, monkeypatch):
    monkeypatch.setattr(backbone_module, "PIXELS", 8 * 16 * 16)
    once = contents(run_embed(digits, Path("A"), PLAIN))
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(digits)], env=environment)
    while not any(path.stat().st_size for path in Path("states").glob("*/*")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert contents(run_embed(digits, Path("D"), PLAIN)) == once


def test_views_differ_from_image_to_image_and_the_first_is_plain(digits):
    run_embed(digits, Path("A"), PLAIN)
    run_embed(digits, Path("A"), PLAIN, part=1)
    run_embed(digits, Path("B"), VIEWS)
    run_embed(digits, Path("B"), VIEWS, part=1)
    plain, several = (FeatureSplit(name, digits, "train").read_all() for name in "AB")
    assert plain.shape[1] == 1 and several.shape[1] == 3
    np.testing.assert_array_equal(plain[:, 0], several[:, 0])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        differ = (several[:, first] != several[:, second]).any(1)
        assert differ.mean() > 0.9
    assert FeatureSplit("B", digits, "val").views == 1
    table = pd.read_parquet("B/train.parquet")
    assert table["view"].tolist() == [0, 1, 2] * len(plain)


def test_normalization_may_be_that_of_train(digits):
    run_embed(digits, Path("A"), PLAIN, normalize=True)
    run_embed(digits, Path("A"), PLAIN, normalize=True, part=1)
    manifest = read_json(digits)
    stored = FeatureSplit("A", digits, "train").facts
    assert {name: stored[name] for name in ("mean", "std")} == manifest["normalization"]


def test_half_precision_is_stored_as_float16(digits):
    run_embed(digits, Path("A"), Features(size=16, precision="bf16"))
    file = pq.ParquetFile("A/val.parquet/part-00000.parquet")
    assert str(file.schema_arrow.field("penultimate").type.value_type) == "halffloat"


def test_a_transformer_gives_its_class_token_and_the_average_of_the_others(digits):
    model = Model(name="test_vit", weights="vit.safetensors")
    fetch_weights(model)
    features = Features(size=32, layers=["penultimate", "last"])
    run_embed(digits, Path("V"), features, model=model)
    stored = pq.read_table("V/val.parquet/part-00000.parquet")
    penultimate, last = (np.stack(stored[name].to_pylist()) for name in ("penultimate", "last"))
    assert last.shape[1] == 2 * penultimate.shape[1]
    np.testing.assert_allclose(last[:, : penultimate.shape[1]], penultimate, rtol=1e-5)


@pytest.mark.parametrize("class_token", [True, False])
def test_a_register_token_is_no_class_token(class_token):
    options = {"class_token": class_token, "reg_tokens": 4, "global_pool": "avg"}
    network = timm.create_model("test_vit", num_classes=0, **options).eval()
    images = torch.randn(2, 3, *network.patch_embed.img_size)
    tokens = network.forward_features(images)
    average = tokens[:, 4 + class_token :].mean(1)
    expected = torch.cat([tokens[:, 0], average], 1) if class_token else average
    torch.testing.assert_close(layers_of(network, images, ["last"])["last"], expected)


@pytest.mark.parametrize(
    ("features", "place"),
    [
        (Features(size=16, layers=["penultimate", "last"]), "recipe.features.layers"),
        (
            Features(
                size=16,
                views=2,
                augmentation={"torchvision": [{"name": "RandomCrop", "options": {"size": 99}}]},
            ),
            "recipe.features.augmentation",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(digits, features, place):
    with pytest.raises(TailproofError, match=place):
        run_embed(digits, Path("A"), features)


def test_a_network_without_a_feature_map_has_no_last_layer(digits):
    model = Model(name="crossvit_tiny_240", weights="c.safetensors")
    fetch_weights(model)
    with pytest.raises(TailproofError, match=r"recipe\.features\.layers"):
        run_embed(digits, Path("A"), Features(layers=["last"]), model=model)


def test_features_that_are_not_finite_name_their_sample(digits):
    file = project_paths().weights(MODEL.weights_key)
    tensors = load_file(file)
    tensors["bn1.weight"][:] = 1e38
    tensors["blocks.0.bn1.weight"][:] = 1e38
    save_file(tensors, file)
    with pytest.raises(TailproofError, match=r"not finite.*sample"):
        run_embed(digits, Path("A"), PLAIN)


def test_a_shard_that_its_facts_do_not_describe_is_refused(digits, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(digits.parent, copy)
    facts = copy / "dev" / "part-00000.json"
    write_json(facts, read_json(facts) | {"sha256": "0" * 64})
    with pytest.raises(TailproofError, match="SHA-256 differs"):
        run_embed(copy / "manifest.json", Path("A"), PLAIN)


def test_batches_of_another_size_do_not_resume(digits, monkeypatch):
    """A GPU and a CPU compute batches of different sizes."""
    whole = contents(run_embed(digits, Path("A"), PLAIN))
    append, count = BatchLog.append, iter(range(1, 9))

    def append_or_stop(log, values):
        append(log, values)
        if next(count) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(backbone_module, "PIXELS", 16 * 16 * 16)
        patch.setattr(BatchLog, "append", append_or_stop)
        run_embed(digits, Path("B"), PLAIN)
    assert contents(run_embed(digits, Path("B"), PLAIN)) == whole


def test_other_weights_or_options_do_not_resume(digits, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    seen = set()
    for features in (PLAIN, Features(size=24)):
        for seed in (0, 1):
            fetch_weights(MODEL, seed)
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(BatchLog, "append", stop)
                run_embed(digits, Path("A"), features)
            (state,) = Path("states").iterdir()  # that of another job is removed
            seen.add(state.name)
    assert len(seen) == 4
