"""`tailproof export`: what the file answers, next to what `tailproof predict` prints."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models import register_model
from torch import nn

from tailproof.bundle.tensors import pack_weights
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.digests import sha256_file
from tailproof.features.backbone_with_head import NAME as WITH_HEAD
from tailproof.files import read_json, write_json
from tailproof.models import build_model, save_expert
from tailproof.models.expert_config import ExpertConfig
from tailproof.onnx_export.command import export
from tailproof.onnx_export.compared_images import images_of
from tailproof.onnx_export.graph import WholeExpert
from tailproof.onnx_export.metadata import KEY
from tailproof.onnx_export.parity import compare, run_expert
from tailproof.predict.bundle_file import BundledExpert, BundleFile
from tailproof.predict.command import predict_images
from tailproof.predict.loaded_expert import load_expert
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert

ROOT = Path(__file__).resolve().parents[2]
TAXONOMY = {"family": ["x", "y"], "species": ["a", "b", "c"]}


def pictures(folder: Path, size=(32, 32), count=5) -> Path:
    """Draw a folder of pictures."""
    folder.mkdir(parents=True)
    for number in range(count):
        draw = np.random.default_rng(number)
        bits = draw.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(bits // (number + 1)).save(folder / f"{number}.png")
    return folder


def with_parts(folder: Path, architecture: str, *, backbone_of: Path | None = None, **args) -> Path:
    """Write an expert of a network that has further parts, or the backbone of another expert."""
    make_expert(folder)
    torch.manual_seed(0)
    network = build_model(architecture, classes=3, channels=3, options=args)
    if backbone_of:
        tensors = load_file(backbone_of / "model.safetensors")
        network.backbone.load_state_dict(tensors, strict=False)
    config = read_json(folder / "config.json")
    names = config["pretrained_cfg"].pop("label_names")
    keys = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    save_expert(
        folder,
        network.eval(),
        model_args=args,
        preprocessing={key: config["pretrained_cfg"][key] for key in keys},
        class_names=names,
        facts=config["tailproof"],
    )
    for name in ("calibration.json", "deployment.json"):
        digest = sha256_file(folder / "model.safetensors")
        write_json(folder / name, read_json(folder / name) | {"weights_sha256": digest})
    return folder


def answers(capsys, folder: Path, images: Path) -> list[dict[str, str]]:
    """The rows that `tailproof predict` prints."""
    capsys.readouterr()
    assert predict_images(str(folder), [str(images)], as_csv=True, rule="chow", coverage=None)
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def run(file: Path, images: Path) -> dict[str, np.ndarray]:
    """The outputs of a file for pictures that have the size of its input."""
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    mode = facts_of(file)["deployment"]["images"]
    pixels = [np.asarray(Image.open(path).convert(mode)) for path in sorted(images.iterdir())]
    batch = np.stack(pixels).reshape(len(pixels), *pixels[0].shape[:2], -1)
    return dict(zip(names, session.run(names, {"images": batch}), strict=True))


def facts_of(file: Path) -> dict:
    session = onnxruntime.InferenceSession(file)
    return json.loads(session.get_modelmeta().custom_metadata_map[KEY])


def tuned(folder: Path) -> Path:
    options = {"backbone": "test_vit", "options": {"img_size": 32}}
    parts = {"adaptformer": {"dim": 4, "blocks": [0]}, "cosine": True, "test_views": "flip"}
    return with_parts(folder, "tuned_network", **options, **parts)


def head_on_features(folder: Path, head: str, **options) -> Path:
    return with_parts(
        folder,
        WITH_HEAD,
        backbone="test_efficientnet",
        layers=["penultimate"],
        head=head,
        width=256,
        head_options=options,
    )


EXPERTS = {
    "resnet": lambda folder: make_expert(folder, model="test_resnet"),
    "efficientnet": lambda folder: make_expert(folder, model="test_efficientnet"),
    "byobnet": lambda folder: make_expert(folder, model="test_byobnet"),
    "convnext": lambda folder: make_expert(folder, model="test_convnext"),
    "vit": lambda folder: with_parts(folder, "test_vit", img_size=32),
    "cifar_resnet": lambda folder: make_expert(
        folder, mode="L", shape=(1, 32, 32), model="cifar_resnet20"
    ),
    "taxonomy": lambda folder: make_expert(folder, ranks=TAXONOMY),
    "tuned": tuned,
    "mlp": lambda folder: head_on_features(folder, "mlp", hidden=8),
    "knn": lambda folder: head_on_features(
        folder, "knn", sizes=[3], rows=20, neighbors=5, temperature=0.1, balanced=True
    ),
}


@pytest.mark.parametrize("kind", EXPERTS)
def test_a_file_answers_as_predict_does(kind, tmp_path, capsys):
    folder = EXPERTS[kind](tmp_path / "expert")
    images, file = pictures(tmp_path / "images"), tmp_path / "a.onnx"
    parity = export(str(folder), str(file), [str(images)], int8=False)
    assert parity.passed and parity.count == 5 and not sum(parity.different.values())
    outputs, rows = run(file, images), answers(capsys, folder, images)
    facts = facts_of(file)
    for rank, names in facts["classes"].items():
        output = outputs["probabilities" + ("" if rank == facts["target"] else f"/{rank}")]
        expected = [[float(row[f"{rank}={name}"]) for name in names] for row in rows]
        np.testing.assert_allclose(output, expected, atol=1e-5)
    names = facts["classes"][facts["target"]]
    assert [names[index] for index in outputs["class_index"]] == [
        row[facts["target"]] for row in rows
    ]
    assert [bool(one) for one in outputs["accepted"]] == [
        row["decision"] == "accept" for row in rows
    ]
    assert outputs["logits"].dtype == np.float32


def test_the_file_and_its_record_say_what_it_is_without_a_path(colour_expert, tmp_path):
    images, file = pictures(tmp_path / "images"), tmp_path / "a.onnx"
    export(str(colour_expert), str(file), [str(images)], int8=False)
    twin = tmp_path / "b.onnx"
    export(str(colour_expert), str(twin), [str(images)], int8=False)
    assert file.read_bytes() == twin.read_bytes()
    record = read_json(f"{file}.json")
    assert record["sha256"] == sha256_file(file) and record["file"] == "a.onnx"
    assert record["parity"]["passed"] and record["parity"]["count"] == 5
    assert record["parity"] == facts_of(file)["parity"]
    assert record["expert"]["model.safetensors"] == facts_of(file)["weights_sha256"]
    for text in (file.read_bytes(), Path(f"{file}.json").read_bytes()):
        assert str(tmp_path).encode() not in text and str(ROOT).encode() not in text


def test_the_docs_run_a_file_without_torch(tmp_path, capsys):
    folder = make_expert(tmp_path / "expert")
    (tmp_path / "new").mkdir()
    bits = np.random.default_rng(3).integers(0, 256, (90, 150, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(bits).save(tmp_path / "new" / "0001.jpg", exif=turned)
    (row,) = answers(capsys, folder, tmp_path / "new")
    export(str(folder), str(tmp_path / "lynxes.onnx"), [str(tmp_path / "new")], int8=False)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(), re.DOTALL)
    blocked = "import sys\nsys.modules |= dict.fromkeys(['torch', 'timm', 'tailproof'])\n"
    process = subprocess.run(
        [sys.executable, "-c", blocked + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    name, probability, decision = process.stdout.split()
    assert (name, decision) == (row["class"], row["decision"])
    assert float(probability) == pytest.approx(float(row["probability"]), abs=1e-4)


def test_int8_is_written_with_what_it_changes(colour_expert, tmp_path):
    images, plain, small = pictures(tmp_path / "images"), tmp_path / "a.onnx", tmp_path / "b.onnx"
    export(str(colour_expert), str(plain), [str(images)], int8=False)
    parity = export(str(colour_expert), str(small), [str(images)], int8=True)
    assert small.stat().st_size < plain.stat().st_size / 2
    record = read_json(f"{small}.json")
    assert record["precision"] == facts_of(small)["precision"] == "int8"
    assert record["ranges"] == "given images"
    assert record["parity"]["different"] == parity.different
    assert 0 < parity.largest_difference < 1


@register_model
def branching_network(pretrained=False, num_classes=3, in_chans=3, **_) -> nn.Module:
    """A network that does something else with bright pictures, which no trace can say."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_features, self.pretrained_cfg = in_chans, {"architecture": "branching_network"}
            self.fc = nn.Linear(in_chans, num_classes)

        def forward(self, x):
            mean = x.mean((2, 3))
            return self.fc(mean if x.mean() < 0 else -20 * mean)

    return Branching()


def test_a_file_that_would_answer_otherwise_is_not_written(tmp_path):
    assert timm.is_model("branching_network")
    folder = make_expert(tmp_path / "expert", model="branching_network")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32), "white").save(tmp_path / "images" / "white.png")
    with pytest.raises(TailproofError, match="not written"):
        export(str(folder), str(tmp_path / "a.onnx"), [str(tmp_path / "images")], int8=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expert", "images"]


def test_every_rule_is_compared(colour_expert, tmp_path):
    expert = load_expert(colour_expert)
    images = images_of(colour_expert, expert, [str(pictures(tmp_path / "images"))])
    log_p = run_expert(expert, images)
    p = np.exp(log_p["class"])
    outputs = {"probabilities": p, "class_index": p.argmax(1), "accepted": p.max(1) >= 0.9}
    same = compare(expert, None, log_p, outputs, images)
    assert same.passed and same.decisions == {"chow": 10, "of the file": 5}
    outputs["probabilities"] = p[:, ::-1]
    other = compare(expert, None, log_p, outputs, images)
    moved = int((p.argmax(1) != 1).sum())
    assert not other.passed and other.classes_different == moved
    assert other.different["chow"] == 2 * moved and not other.different["of the file"]


@pytest.mark.parametrize("case", ["exists", "results", "no images", "no package", "no picture"])
def test_what_cannot_be_exported_is_refused(case, colour_expert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, output, folder = [str(pictures(tmp_path / "images"))], "a.onnx", str(colour_expert)
    if case == "exists":
        Path(output).write_text("mine")
    elif case == "results":
        output = "results/tiny/a.onnx"
    elif case == "no images":
        images = []
    elif case == "no package":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    else:
        Path("text.png").write_text("no picture")
        images = ["text.png"]
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(TailproofError) as error:
        export(folder, output, images, int8=False)
    assert {"no package": "tailproof[onnx]", "no images": "--images"}.get(case, "") in str(
        error.value
    )
    assert sorted(path for path in tmp_path.rglob("*")) == before


def bundle_of(folder: Path, method: str) -> Path:
    """Write an ensemble: two heads on one backbone, and a network that takes another size."""
    options = {
        "backbone": "test_resnet",
        "layers": ["penultimate"],
        "head": "cosine",
        "width": 96,
        "head_options": {"scale": 8.0},
    }
    root = folder.with_name("parts")
    linear = make_expert(root / "linear")
    experts = {
        "linear": linear,
        "cosine": with_parts(root / "cosine", WITH_HEAD, backbone_of=linear, **options),
        "small": make_expert(root / "small", shape=(3, 24, 24)),
    }
    for name in ("linear", "cosine"):
        path = experts[name] / "config.json"
        config = read_json(path)
        config["tailproof"]["recipe"] = {"features": {"size": 32}}
        write_json(path, config)
    configs = {name: ExpertConfig.read(path / "config.json") for name, path in experts.items()}
    folder.mkdir()
    packed = pack_weights(
        {name: path / "model.safetensors" for name, path in experts.items()},
        configs,
        folder / "model.safetensors",
    )
    calibrations = {
        name: CalibrationFile.read(path / "calibration.json") for name, path in experts.items()
    }
    assert packed.backbones == {"linear": 1, "cosine": 1, "small": None}
    described = BundleFile(
        experiment="drawn",
        method=method,
        seed=0,
        weights_sha256=packed.sha256,
        experts={
            name: BundledExpert(
                weight=weight,
                weights_sha256=calibrations[name].weights_sha256,
                backbone=packed.backbones[name],
                config=configs[name],
                calibration=calibrations[name],
            )
            for name, weight in (("linear", 0.5), ("cosine", 0.75), ("small", 0.25))
        },
        sources={},
    )
    write_json(folder / "bundle.json", described.model_dump(mode="json"))
    deployment = read_json(experts["linear"] / "deployment.json")
    write_json(folder / "deployment.json", deployment | {"weights_sha256": packed.sha256})
    return folder


def test_a_file_of_a_bundle_answers_as_predict_does(tmp_path, capsys):
    folder = bundle_of(tmp_path / "bundle", "stacked")
    images, file = pictures(tmp_path / "images", size=(40, 32)), tmp_path / "a.onnx"
    parity = export(str(folder), str(file), [str(images)], int8=False)
    assert parity.passed and sum(parity.decisions.values()) == 15
    session = onnxruntime.InferenceSession(file)
    feeds = images_of(folder, load_expert(folder), [str(images)]).feeds(["images", "images_2"])
    logits, p, chosen, accepted = session.run(None, next(feeds))
    rows = answers(capsys, folder, images)
    np.testing.assert_allclose(
        p, [[float(row[f"class={name}"]) for name in "abc"] for row in rows], atol=1e-5
    )
    assert ["abc"[index] for index in chosen] == [row["class"] for row in rows]
    assert [bool(one) for one in accepted] == [row["decision"] == "accept" for row in rows]
    assert logits.shape == (5, 9)
    assert [one["height"] for one in facts_of(file)["inputs"]] == [24, 32]


@pytest.mark.parametrize("method", ["mean_logits", "mean_probabilities"])
def test_every_ensemble_is_combined_as_in_the_evaluation(method, tmp_path):
    folder = bundle_of(tmp_path / "bundle", method)
    expert = load_expert(folder)
    images = images_of(folder, expert, [str(pictures(tmp_path / "images"))])
    whole = WholeExpert(expert, lambda p: ()).eval()
    with torch.inference_mode():
        feed = next(images.feeds(["a", "b"]))
        _, p = whole(*(torch.from_numpy(feed[name]) for name in "ab"))
    np.testing.assert_allclose(p, np.exp(run_expert(expert, images)["class"]), atol=1e-6)
