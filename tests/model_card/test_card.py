import os
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import timm
import yaml
from PIL import Image

from tailproof import torchvision_stub
from tailproof.config.evaluation import Evaluation
from tailproof.config.recipe import Recipe
from tailproof.config.splits import SPLITS
from tailproof.evaluation.deployment import Deployment
from tailproof.files import read_json, write_json
from tailproof.model_card.card import OURS, card_of, example_of, write_card
from tailproof.model_card.card_metrics import hub_results
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.model_card.prose import limitations
from tailproof.model_card.rejection_rules import deployment_of
from tailproof.predict.command import predict_images
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert

CLASSES = ["a", "b|*<c>", "d"]
COUNTS = dict(zip(CLASSES, (120, 30, 5), strict=True))
HEADER = (
    "method,seed,weighting,rule,coverage,shift_head,shift_tail,gain_head,gain_tail,"
    "multiplier_head,multiplier_tail,threshold\n"
)
TABLE = HEADER + (
    "own,3,plain,chow,0.9,0.0,0.0,1.0,1.0,0.0,0.0,-0.25\n"
    "own,3,plain,chow,1.0,0.0,0.0,1.0,1.0,0.0,0.0,\n"
    "own,3,plain,plugin_worst,0.9,0.0,,1.5,,0.0,,-0.5\n"
    "own,3,long_tail,chow,0.9,0.0,0.0,1.0,1.0,0.0,0.0,-0.75\n"
    "other,3,plain,chow,0.9,0.0,0.0,1.0,1.0,0.0,0.0,-0.95\n"
)


def value(middle):
    return {"value": middle, "low": middle - 0.05, "high": middle + 0.05}


MEASURED = {
    "top1": value(0.8),
    "few_accuracy": value(0.5),
    "ece_uncalibrated": value(0.08),
    "ece": value(0.06),
    "ece_debiased_uncalibrated": value(0.07),
    "ece_debiased": value(0.02),
    "medium_accuracy": {"value": None, "low": None, "high": None},
    "coverage_chow_at_0.9": value(0.88),
    "risk_standard_chow_at_0.9": value(0.11),
}


CONFIDENCE = {
    "confidence_mean": [0.9, 0.8, None],
    "confidence_sd": [0.1, 0.1, None],
    "samples": [5, 4, 1],
}


@pytest.fixture
def facts() -> ExpertFacts:
    """What is known of an expert that was drawn."""
    over = {name: {**each, "mean": each["value"], "seeds": 1} for name, each in MEASURED.items()}
    return ExpertFacts(
        experiment="drawn",
        title="Drawn _things_",
        source="image_folder",
        expert="own",
        seed=3,
        config={
            "architecture": "test_resnet",
            "num_classes": 3,
            "pretrained_cfg": {"input_size": [3, 32, 32]},
            "tailproof": {
                "target": "class",
                "heads": {"class": 3},
                "recipe": Recipe(
                    model={"name": "test_resnet", "weights": "hub"}, tune={"adapter": "norm"}
                ).result_fields(),
                "precision": "fp32",
                "epoch": 7,
            },
        },
        calibration={
            "temperature": 1.25,
            "samples": 42,
            "fit_on": ["calib"],
            "weights_sha256": "e" * 64,
            "other_ranks": {},
            "warnings": ["calib holds only 42 samples"],
        },
        training={
            "parameters": 1234,
            "trained_parameters": 123,
            "epochs": 9,
            "stopped_early": True,
        },
        diagnosis={"findings": [{"severity": "warning", "title": "Overfits from epoch 5 on"}]},
        promises={
            "weights_sha256": "e" * 64,
            "shares": [0.5, 0.3, 0.2],
            "sets": [{"coverage": 0.85}, {"coverage": 0.95}],
            "notes": ["tune has 42 samples in 7 groups"],
        },
        manifest={
            "mode": "RGB",
            "splits": {split: {"class_counts": {"class": COUNTS}} for split in SPLITS},
        },
        splits={
            "samples": 940,
            "unlabelled_dropped": 0,
            "duplicates_dropped": 10,
            "conflicting_dropped": 0,
            "shared_groups_dropped": 0,
            "official_test_dropped": 0,
            "classes_under_10_training_samples": ["d"],
        },
        metrics={
            "classes": CLASSES,
            "groups": {"many": ["a"], "medium": ["b|*<c>"], "few": ["d"]},
            "notes": [],
            "class_confidence": {"own": {"3": CONFIDENCE}},
            "sample_groups": {"temperatures": {"own": {"3": 0.8}}},
            "calibration": {"test": {"own": {"ece_debiased": value(-0.05)}}},
            "experts": {"own": {"seeds": {"3": {"test": MEASURED}}, "over_seeds": {"test": over}}},
        },
        evaluation=Evaluation(),
        digests={"results/drawn/model.safetensors": "e" * 64},
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rejectors.csv"
    path.write_text(TABLE)
    return path


def written(facts, table, folder):
    names = ("README.md", "example.py", "p.json", "guarantees.json")
    write_card(facts, table, *(folder / name for name in names))
    return (folder / "README.md").read_text()


def test_a_card_says_what_is_known_and_nothing_else(facts, table, tmp_path):
    card = written(facts, table, tmp_path)
    front = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in front
    (result,) = front["model-index"][0]["results"]
    assert {each["name"]: each["value"] for each in result["metrics"]} == {
        "top-1 accuracy, 95 % interval [0.7500, 0.8500]": 0.8,
        "accuracy, classes with few training samples, 95 % interval [0.4500, 0.5500]": 0.5,
        "expected calibration error, 95 % interval [0.0100, 0.1100]": 0.06,
    }
    for said in (
        '("Drawn \\_things\\_")',
        "940 samples",
        "10 exact duplicates",
        "| train | 155 | training |",
        "| b\\|\\*\\<c\\> | medium | 30 | 30 |",
        "123 of 1,234 parameters trained",
        "the publisher's weights",
        "adapter norm, blocks all",
        "9 epochs (stopped early), batches of 128, fp32",
        "- Weights: epoch 7,",
        "| top-1 accuracy | 80.0 % [75.0, 85.0] |",
        "8.0 % [3.0, 13.0] before, 6.0 % [1.0, 11.0] after; without the",
        "| 0.9 | 0.7500 | 88.0 % [83.0, 93.0] | 11.0 % [6.0, 16.0] |",
        "from 5 (d) to 120 (a)",
        "fewer than 20 training images: d.",
        "fewer than 10 training samples: d.",
        "- Calibration: calib holds only 42 samples.",
        "- Promises: tune has 42 samples in 7 groups.",
        "- Training (warning): Overfits from epoch 5 on.",
        "--set 0.85 ",
        f"| `results/drawn/model.safetensors` | `{'e' * 64}` |",
    ):
        assert said in card, said
    assert "mean of" not in card and "classes with a medium" not in card
    assert not any("8.0 %" in text for text in limitations(facts)), "the temperature helped"
    assert not [line for line in card.splitlines() if line.endswith(" ")]


def test_a_metric_without_an_interval_has_none_in_its_name(facts):
    top1 = facts.metrics["experts"]["own"]["seeds"]["3"]["test"]["top1"]
    top1 |= {"low": top1["value"], "high": top1["value"]}
    assert "top-1 accuracy" in [result["metric_name"] for result in hub_results(facts)]


def test_calibration_that_made_things_worse_is_reported(facts, table):
    facts.metrics["experts"]["own"]["seeds"]["3"]["test"]["ece"] = value(0.1)
    assert not any("8.0 %" in text for text in limitations(facts)), "within noise"
    facts.metrics["calibration"]["test"]["own"]["ece_debiased"] = value(0.08)
    (sentence,) = (text for text in limitations(facts) if "8.0 %" in text)
    assert "10.0 %" in sentence
    assert sentence in card_of(facts, deployment_of(facts, table), "").replace("\\", "")


def test_many_classes_are_counted_and_not_listed(facts, table):
    names = [f"class-{number}" for number in range(100)]
    counts = dict.fromkeys(names, 1)
    facts.metrics["classes"] = names
    facts.metrics["groups"] = {"many": [], "medium": [], "few": names}
    for split in facts.manifest["splits"].values():
        split["class_counts"] = {"class": counts}
    card = card_of(facts, deployment_of(facts, table), "")
    assert "| few | 100 |" in card and "| class-99 |" not in card
    assert "100 classes have fewer than 20 training images: class-0, " in card
    assert "class-19 and 80 more." in card


def test_the_rules_of_an_expert_are_its_own(facts, table, tmp_path):
    written(facts, table, tmp_path)
    own = Deployment.read(tmp_path / "p.json")
    assert (own.images, own.tail, own.coverage) == ("RGB", ["d"], 0.9)
    assert own.assumptions.shares == facts.promises["shares"] == [0.5, 0.3, 0.2]
    assert [(each.coverage, each.threshold) for each in own.rules["chow"]] == [
        (0.9, -0.25),
        (1.0, None),
    ]
    (worst,) = own.rules["plugin_worst"]
    assert worst.gain == (1.5, None) and worst.rule().gain.tolist() == [1.5]
    table.write_text(HEADER)
    with pytest.raises(TailproofError, match="own, seed 3"):
        deployment_of(facts, table)


@pytest.fixture
def files(facts, tmp_path):
    """The files of the facts, with the path of guarantee_rules.json."""
    rules = tmp_path / "guarantee_rules.json"
    write_json(rules, {"own": {"3": facts.promises, "4": {}}, "other": {"3": {}}})
    names = ("config", "calibration", "training", "diagnosis", "manifest", "splits", "metrics")
    files = {name: str(tmp_path / f"{name}.json") for name in names}
    for name, path in files.items():
        write_json(path, getattr(facts, name))
    return files | {"promises": str(rules)}, rules


def read_facts(files, expert="own", seed=3):
    named = {"experiment": "drawn", "title": "", "source": "digits"}
    return ExpertFacts.read(files, "a.safetensors", Evaluation(), **named, expert=expert, seed=seed)


def test_an_expert_that_was_not_evaluated_is_refused(facts, files):
    assert read_facts(files[0]).digests["a.safetensors"] == "e" * 64
    for expert, seed in (("own", 4), ("nobody", 3)):
        with pytest.raises(TailproofError, match="--forcerun evaluate"):
            read_facts(files[0], expert, seed)


def test_the_models_that_need_tailproof_are_known_by_name():
    modules = ("resnet_cifar", "scan_lines", "tuned_network", "backbone_with_head")
    own = [name for module in modules for name in timm.list_models(module=module)]
    assert len(own) >= 5 and all(name.startswith(OURS) for name in own)
    others = set(timm.list_models()) - set(own)
    assert not [name for name in others if name.startswith(OURS)]


def examined(folder, image) -> list[tuple[float, str]]:
    """What example.py prints, run without tailproof where the model does not need it."""
    # Beside a CPU build of torch torchvision may need what tailproof does for it, and only that.
    start = f"import runpy; kept = runpy.run_path({torchvision_stub.__file__!r}); "
    code = start + f"runpy.run_path({str(folder / 'example.py')!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['', {str(image)!r}]; {code}; "
         "assert 'tailproof' not in sys.modules"],
        cwd=folder.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pairs = [line.strip("()").split(", ", 1) for line in done.stdout.splitlines()]
    return [(float(p), name.strip("'")) for p, name in pairs]


def mix_classes(expert, kind):
    """Give the expert of three classes a calibrator of a kind."""
    if kind == "temperature":
        return
    factors = np.array([0.5, 1.5, 1.0]) if kind == "vector" else np.eye(3) + 0.2 * np.ones((3, 3))
    mixing = {"calibrator": kind, "factors": factors.tolist(), "bias": [0.3, -0.2, 0.0]}
    path = expert / "calibration.json"
    write_json(path, read_json(path) | mixing)


@pytest.mark.parametrize("mode", ["L", "RGB", "float32"])
def test_the_example_needs_timm_and_the_folder_alone(tmp_path, capsys, mode):
    bands = {"L": 1, "RGB": 3, "float32": 4}[mode]
    ranks = {"family": ["x", "y"], "class": ["a", "b", "c"]} if mode == "RGB" else None
    expert = make_expert(tmp_path / "expert", mode=mode, shape=(bands, 32, 32), ranks=ranks)
    columns = slice(2, 5) if mode == "RGB" else slice(0, 3)
    kind = {"L": "vector", "RGB": "temperature", "float32": "matrix"}[mode]
    mix_classes(expert, kind)
    code = example_of(read_json(expert / "config.json"), mode, columns, kind)
    (expert / "example.py").write_text(code)
    assert len([line for line in code.splitlines() if line]) <= (
        10 if kind == "temperature" else 12
    )
    bits = np.random.default_rng(0).integers(0, 256, (32, 32, bands), np.uint8)
    image = tmp_path / ("image.npy" if mode == "float32" else "image.png")
    if mode == "float32":
        np.save(image, bits / 255)
    else:
        Image.fromarray(bits.squeeze()).save(image)
    found = examined(expert, image)
    assert predict_images(str(expert), [str(image)], as_csv=True, rule="chow", coverage=None)
    row = capsys.readouterr().out.splitlines()[1].split(",")
    assert found[0] == (pytest.approx(float(row[2]), abs=1e-5), row[1])
    assert sum(p for p, _ in found) == pytest.approx(1, abs=1e-5)


def test_a_card_has_the_same_bytes_each_time(facts, table, tmp_path):
    (tmp_path / "again").mkdir()
    assert written(facts, table, tmp_path) == written(deepcopy(facts), table, tmp_path / "again")


def test_promises_are_those_of_the_expert_and_its_weights(facts, files, table, tmp_path):
    paths, rules = files
    written(read_facts(paths), table, tmp_path)
    assert read_json(tmp_path / "guarantees.json") == facts.promises
    other = {**facts.promises, "weights_sha256": "1" * 64}
    for wrong in ({}, {"own": {"4": facts.promises}}, {"own": {"3": other}}):
        write_json(rules, wrong)
        with pytest.raises(TailproofError, match="--forcerun guarantee"):
            read_facts(paths)
