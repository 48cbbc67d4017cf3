"""An ensemble in one folder: the same answers as its experts and as the evaluation."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.special import log_softmax, softmax

import tailproof
from tailproof.bundle.bundle import bundle
from tailproof.bundle.inputs import Sources
from tailproof.bundle.tensors import pack_weights
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.validation import load_experiment
from tailproof.data.logits import Logits
from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import Grouped, apply, head_and_tail
from tailproof.evaluation.selective import fit_rules
from tailproof.evaluation.task import Task
from tailproof.files import read_json, write_json
from tailproof.loading import Split
from tailproof.models import load_expert
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.bundle_file import BundledExpert, BundleFile
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable
from tests.bundle.heads import (
    CLASSES,
    pictures,
    temperatures,
    write_experts,
    write_heads_on_several,
)
from tests.predict.conftest import CHOW

WEIGHTS = {"linear": 0.5, "cosine": 0.3, "network": 0.4, "small.1": 0.2}


@pytest.fixture(scope="module")
def experts(tmp_path_factory) -> dict[str, Path]:
    return write_experts(tmp_path_factory.mktemp("experts"))


def write_bundle(folder: Path, experts: dict[str, Path], method: str) -> Path:
    """Write a bundle without promises, as the stage does."""
    folder.mkdir()
    configs = {name: ExpertConfig.read(path / "config.json") for name, path in experts.items()}
    weights = {name: path / "model.safetensors" for name, path in experts.items()}
    packed = pack_weights(weights, configs, folder / "model.safetensors")
    described = BundleFile(
        format=1,
        experiment="drawn",
        method=method,
        seed=0,
        weights_sha256=packed.sha256,
        experts={
            name: BundledExpert(
                weight=WEIGHTS[name],
                weights_sha256=sha256_file(weights[name]),
                backbone=packed.backbones[name],
                config=configs[name],
                calibration=CalibrationFile.read(experts[name] / "calibration.json"),
            )
            for name in experts
        },
        sources={},
    )
    write_json(folder / "bundle.json", described.model_dump(mode="json", exclude_unset=True))
    Deployment(
        experiment="drawn",
        expert=method,
        seed=0,
        weights_sha256=packed.sha256,
        images="RGB",
        tail=["c"],
        coverage=0.5,
        rules={"chow": CHOW},
    ).write(folder / "deployment.json")
    return folder


@pytest.fixture(scope="module")
def original(experts, tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", experts, "stacked")


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy of a good bundle, to be changed."""
    return Path(shutil.copytree(original, tmp_path / "bundle"))


@pytest.mark.parametrize("method", ENSEMBLES)
def test_a_bundle_answers_as_its_experts_do_together(experts, tmp_path, method):
    folder = write_bundle(tmp_path / "bundle", experts, method)
    images = pictures(5)
    table = tailproof.open(folder).predict(images, probabilities=True)
    logits = []
    for name, path in experts.items():
        network, config = load_expert(path)
        side = config.pretrained_cfg.input_size[1]
        given = tailproof.open(alone(path, tmp_path / name)).loaded
        assert given.preparations[0].shape[1] == side
        batch = np.stack(images) if side == 32 else None
        if batch is None:
            by_itself = tailproof.open(tmp_path / name).predict(images, probabilities=True)
            logits.append(np.log(by_itself[[f"class={label}" for label in CLASSES]].to_numpy()))
            continue
        inputs = torch.tensor((batch.transpose(0, 3, 1, 2) / 255 - 0.4) / 0.2).float()
        with torch.no_grad():
            logits.append(network(inputs).numpy() / temperatures(experts)[name])
    values = np.stack(logits)
    weights = np.array(list(WEIGHTS.values()))
    expected = {
        "mean_logits": lambda: softmax(values.mean(axis=0), axis=1),
        "mean_probabilities": lambda: np.exp(log_softmax(values, axis=2)).mean(axis=0),
        "stacked": lambda: softmax(np.tensordot(weights, values, 1), axis=1),
    }[method]()
    found = table[[f"class={label}" for label in CLASSES]].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def alone(path: Path, folder: Path) -> Path:
    """Copy the folder of an expert, with the rules that it needs to be opened."""
    shutil.copytree(path, folder)
    Deployment(
        experiment="drawn",
        expert=path.name,
        seed=0,
        weights_sha256=sha256_file(path / "model.safetensors"),
        images="RGB",
        tail=["c"],
        coverage=0.5,
        rules={"chow": CHOW},
    ).write(folder / "deployment.json")
    return folder


def test_heads_on_the_same_backbones_share_all_of_them(tmp_path):
    experts = write_heads_on_several(tmp_path)
    folder = write_bundle(tmp_path / "bundle", experts, "mean_logits")
    described = read_json(folder / "bundle.json")["experts"]
    assert [expert["backbone"] for expert in described.values()] == [1, 1]
    bundled = tailproof.open(folder)
    assert [one.shape[1] for one in bundled.loaded.preparations] == [32, 24]
    names, images = [f"class={label}" for label in CLASSES], pictures(5)
    tables = [
        tailproof.open(alone(path, tmp_path / f"{name} alone")).predict(images, probabilities=True)
        for name, path in experts.items()
    ]
    mean = np.mean([np.log(table[names].to_numpy()) for table in tables], axis=0)
    found = bundled.predict(images, probabilities=True)[names].to_numpy()
    np.testing.assert_allclose(found, softmax(mean, axis=1), rtol=0, atol=1e-6)
    path = folder / "bundle.json"
    changed = read_json(path)
    changed["experts"]["cosine"]["config"]["tailproof"]["inputs"][1]["mean"] = [0.5] * 3
    write_json(path, changed)
    with pytest.raises(TailproofError, match=r"cosine.*backbone 1"):
        tailproof.open(folder)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (lambda inputs: inputs[:1], "inputs"),
        (lambda inputs: [*inputs, inputs[0]], "does not accept"),
        (lambda inputs: [inputs[0], inputs[1] | {"mean": [0.5]}], "mean"),
        (lambda inputs: [inputs[0], inputs[1] | {"input_size": [3, 9000, 9000]}], "input_size"),
        (
            lambda inputs: [
                inputs[0], inputs[1] | {"input_size": [1, 24, 24], "mean": [0.5], "std": [0.5]}
            ],
            "in_chans",
        ),
        (lambda _: None, "does not accept"),
    ],
)  # fmt: skip
def test_a_folder_whose_inputs_do_not_fit_its_backbones_is_refused(tmp_path, inputs, said):
    path = write_heads_on_several(tmp_path)["linear"]
    folder = alone(path, tmp_path / "alone")
    config = read_json(folder / "config.json")
    config["tailproof"]["inputs"] = inputs(config["tailproof"]["inputs"])
    write_json(folder / "config.json", config)
    with pytest.raises(TailproofError, match=said):
        tailproof.open(folder).predict(pictures(1))


def test_a_shared_backbone_is_stored_and_computed_once(original, experts):
    with safe_open(original / "model.safetensors", "pt") as file:
        names = list(file.keys())
    heads = [name for name in names if name.startswith("experts/linear/")]
    assert sorted(heads) == ["experts/linear/fc.bias", "experts/linear/fc.weight"]
    whole = load_file(experts["linear"] / "model.safetensors")
    assert sum(name.startswith("backbones/1/") for name in names) == len(whole) - len(heads)
    networks = tailproof.open(original).loaded.networks
    assert [list(network.outputs) for network in networks] == [
        ["network"], ["small.1"], ["linear", "cosine"]
    ]  # fmt: skip
    passes = []
    networks[2].model.network.conv1.register_forward_hook(lambda *_: passes.append(1))
    networks[2].raw_logits(np.stack(pictures(3)))
    assert len(passes) == 1


def test_a_bundle_promises_nothing_without_its_guarantees(original):
    expert = tailproof.open(original)
    assert expert.classes == CLASSES and "stacked" in repr(expert)
    with pytest.raises(TailproofError, match=r"no guarantees\.json"):
        expert.predict(pictures(1), set=0.9)


# A stranger's folder ------------------------------------------------------------------------------


def change(folder: Path, edit, name: str = "bundle.json") -> None:
    value = json.loads((folder / name).read_text())
    edit(value)
    (folder / name).write_text(json.dumps(value))


def refused(folder: Path) -> str:
    with pytest.raises(TailproofError) as error:
        tailproof.open(folder)
    message = str(error.value)
    assert printable(message) == message and len(message) < 1000
    return message


def of_expert(name, edit):
    return lambda value: edit(value["experts"][name])


def configured(name, edit):
    return of_expert(name, lambda one: edit(one["config"]))


EDITS = {
    "no expert": lambda value: value.update(experts={}),
    "one expert": lambda value: list(map(value["experts"].pop, ("linear", "network", "small.1"))),
    "a path": lambda value: value["experts"].update({"../x": value["experts"].pop("network")}),
    "a slash": lambda value: value["experts"].update({"a/b": value["experts"].pop("network")}),
    "another expert": lambda value: value["experts"].update(more=value["experts"]["network"]),
    "a method": lambda value: value.update(method="product"),
    "a format": lambda value: value.update(format=2),
    "a field": lambda value: value.update(more=1),
    "a digest": lambda value: value.update(weights_sha256="0" * 64),
    "a negative weight": of_expert("linear", lambda one: one.update(weight=-1)),
    "a weight that is none": of_expert("linear", lambda one: one.update(weight=float("nan"))),
    "no weight": lambda value: [one.update(weight=0) for one in value["experts"].values()],
    "another backbone": of_expert("linear", lambda one: one.update(backbone=2)),
    "no backbone": of_expert("linear", lambda one: one.update(backbone=None)),
    "a backbone for all": of_expert("network", lambda one: one.update(backbone=1)),
    "backbone 0": of_expert("cosine", lambda one: one.update(backbone=0)),
    "an address": configured("network", lambda own: own.update(architecture="hf-hub:a/b")),
    "another network": configured("network", lambda own: own.update(architecture="resnet18")),
    "a file": configured("network", lambda own: own["model_args"].update(checkpoint_path="/x")),
    "another head": configured("cosine", lambda own: own["model_args"].update(head="mlp")),
    "no head": configured("cosine", lambda own: own["model_args"].pop("head")),
    "other layers": configured("cosine", lambda own: own["model_args"].update(layers=["last"])),
    "other classes": configured(
        "network", lambda own: own["pretrained_cfg"].update(label_names=["a", "c", "b"])
    ),
    "another rank": configured(
        "network", lambda own: own["tailproof"].update(target="k", heads={"k": 3})
    ),
    "other channels": configured(
        "network", lambda own: own["pretrained_cfg"].update(input_size=[1, 32, 32])
    ),
    "a temperature": of_expert("network", lambda one: one["calibration"].update(temperature=0)),
    "a calibration": of_expert(
        "network", lambda one: one["calibration"].update(weights_sha256="1" * 64)
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_changed_bundle_is_refused(folder, edit):
    change(folder, edit)
    assert str(folder) in refused(folder)


def test_lost_and_mixed_files_are_refused(folder):
    assert "weights" in _without(
        folder, "deployment.json", lambda v: v.update(weights_sha256="1" * 64)
    )
    for name in ("model.safetensors", "deployment.json"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        assert f"has no {name}" in refused(folder)
        (folder / name).write_bytes(kept)
    for content in (b"", b"[]", b"\0" * 99, b'{"format": 1, "format": 1}'):
        (folder / "bundle.json").write_bytes(content)
        assert "bundle.json" in refused(folder)


def _without(folder, name, edit) -> str:
    before = (folder / name).read_bytes()
    change(folder, edit, name)
    message = refused(folder)
    (folder / name).write_bytes(before)
    return message


def test_tensors_that_do_not_fit_are_refused(folder):
    original = load_file(folder / "model.safetensors")
    first = "experts/network/conv1.0.weight"
    for change_tensors in (
        lambda tensors: tensors.pop(first),
        lambda tensors: tensors.update({"experts/ghost/a": torch.zeros(1)}),
        lambda tensors: tensors.update({"backbones/1/more": torch.zeros(1)}),
        lambda tensors: tensors.update({first: tensors[first][:1].clone()}),
        lambda tensors: tensors.update({first: tensors[first] * torch.nan}),
        lambda tensors: tensors.update({"experts/cosine/head.weight": torch.zeros(3, 7)}),
        lambda tensors: tensors.pop("experts/cosine/head.mean"),
    ):
        tensors = dict(original)
        change_tensors(tensors)
        save_file(tensors, folder / "model.safetensors")
        digest = sha256_file(folder / "model.safetensors")
        for name in ("bundle.json", "deployment.json"):
            change(folder, lambda value, digest=digest: value.update(weights_sha256=digest), name)
        assert "model.safetensors" in refused(folder)


# A real experiment --------------------------------------------------------------------------------


def sources_of(project, method: str) -> Sources:
    results, names = project.results, ("cross_entropy", "balanced_softmax", "logit_adjustment")

    def files(file: str) -> dict[str, Path]:
        return {name: results / "experts" / name / "seed-0" / file for name in names}

    return Sources(
        experiment="tiny",
        title="Tiny digits",
        method=method,
        seed=0,
        experts=names,
        weights=files("model.safetensors"),
        configs=files("config.json"),
        calibrations=files("calibration.json"),
        logits={
            (name, split): path
            for split in ("val", "calib", "tune")
            for name, path in files(f"logits/{split}.parquet").items()
        },
        manifest=results / "shards" / "manifest.json",
        samples=results / "samples.parquet",
        metrics=results / "evaluation" / "metrics.json",
    )


@pytest.mark.parametrize("method", ENSEMBLES)
def test_every_image_of_test_is_answered_as_it_was_evaluated(finished, tmp_path, method):
    config = load_experiment(finished.folder / "config" / "experiments" / "tiny.yaml")
    sources = sources_of(finished, method)
    bundle(sources, config.evaluation, config.guarantees, tmp_path)
    logits = {
        split: [
            Logits.read(finished.results / "experts" / name / "seed-0/logits" / f"{split}.parquet")
            for name in sources.experts
        ]
        for split in ("tune", "test")
    }
    values = {split: np.stack([one.values for one in every]) for split, every in logits.items()}
    weights = stack(values["tune"], logits["tune"][0].target)
    evaluated = {
        split: Prediction(combine(method, values[split], weights), logits[split][0].target)
        for split in values
    }
    task = Task.read(sources.manifest, config.evaluation)
    tune, test = evaluated["tune"], evaluated["test"]
    rules = fit_rules(tune, np.ones(len(tune.labels)), task.tail, config.evaluation.coverages)
    samples = Grouped.of(test, head_and_tail(task.tail), np.ones(len(test.labels)))

    split = Split(sources.manifest, "test")
    images = [split.image(row) for row in range(len(split))]
    expert = tailproof.open(tmp_path)
    table = expert.predict(images, probabilities=True)
    found = table[[f"class={name}" for name in task.classes]].to_numpy()
    np.testing.assert_allclose(found, test.p, rtol=0, atol=1e-5)
    default = expert.loaded.deployment.coverage
    (chow,) = (fitted for fitted in rules["chow"] if fitted.coverage == default)
    score, _ = apply(chow, samples)
    np.testing.assert_array_equal(table["decision"] == "accept", score >= chow.threshold)

    log_p = np.log(found)
    for rule, of_rule in rules.items():
        for fitted in of_rule:
            decide = Rejector(expert.loaded.deployment, task.classes, rule, fitted.coverage)
            chosen, accepted = decide(log_p)
            score, wrong = apply(fitted, samples)
            np.testing.assert_array_equal(accepted, score >= fitted.threshold)
            np.testing.assert_array_equal(chosen != test.labels, wrong)

    measured = read_json(finished.results / "evaluation" / "guarantees.json")
    (row,) = (
        row
        for row in measured["methods"][method]["risks"]
        if row["group"] == "all" and row["risk"] == 0.1
    )
    stored = read_json(tmp_path / "guarantees.json")
    (risk,) = (one for one in stored["risks"] if one["risk"] == 0.1)
    assert risk["overall"]["threshold"] == row["fits"]["0"]["threshold"]
    promises = expert.promises
    assert set(promises["promise"]) == {"set", "risk", "precision"}
    sets = expert.predict(images[:3], set=0.9)
    assert (sets["set_size"] == sets["set"].map(len)).all()
    card = (tmp_path / "README.md").read_text()
    for name in sources.experts:
        assert f"`{sources.weights[name]}`" in card


def test_weights_of_other_experts_are_refused(finished, tmp_path):
    metrics = read_json(finished.results / "evaluation" / "metrics.json")
    metrics["ensembles"]["stacked"]["weights"]["0"].pop("cross_entropy")
    write_json(tmp_path / "metrics.json", metrics)
    sources = sources_of(finished, "stacked")
    changed = Sources(**{**vars(sources), "metrics": tmp_path / "metrics.json"})
    with pytest.raises(TailproofError, match="--forcerun evaluate"):
        bundle(changed, Evaluation(), Guarantees(), tmp_path / "bundle")
