"""Folders, files and names from strangers: read right, or refused with one sentence."""

import csv
import io
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from tailproof.digests import sha256_file
from tailproof.files import write_json
from tailproof.models import load_expert, meta_network
from tailproof.predict.command import predict_images
from tailproof.provenance.dotted_path import read_keyed
from tailproof.report.results import read_table
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import csv_line, printable
from tests.predict.conftest import make_expert
from tests.strategies import PLAIN

SMALL_FILES = ("config.json", "calibration.json", "deployment.json")
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_expert(
        tmp_path_factory.mktemp("original"), ranks={"kind": ["a", "b"], "class": ["a", "b", "c"]}
    )


@pytest.fixture
def expert(original, tmp_path) -> Path:
    """A copy of a good expert, to be changed."""
    return Path(shutil.copytree(original, tmp_path / "expert"))


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("image") / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """The network: nobody may ask it, even if the failure would be handled."""
    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments)
        raise OSError("no network in tests")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert asked == []


def change(path: Path, edit) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def trust_weights(folder: Path) -> None:
    """Have the small files name the digest of the weights, as a stranger would."""
    digest = sha256_file(folder / WEIGHTS)
    for name in SMALL_FILES[1:]:
        change(folder / name, lambda value: value.update(weights_sha256=digest))


def refused(folder: Path, *places: Path) -> str:
    with pytest.raises(TailproofError) as error:
        run(folder, *places)
    return checked(str(error.value))


def checked(message: str) -> str:
    assert printable(message) == message
    assert len(message) < 1000
    return message


def run(folder: Path, *places: Path) -> bool:
    return predict_images(
        str(folder), list(map(str, places)), as_csv=True, rule="chow", coverage=None
    )


def rows_of(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in rows:
        values = [float(value) for name, value in row.items() if "=" in name]
        assert all(0 <= value <= 1 for value in [*values, float(row["probability"])])
        assert math.isclose(sum(values), 2, abs_tol=1e-4), "one for each of two ranks"
        assert row["decision"] in ("accept", "reject")
    return rows


def test_the_original_is_fine(expert, image, capsys):
    assert run(expert, image)
    assert len(rows_of(capsys.readouterr().out)) == 1


# What config.json says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:timm/resnet18.a1_in1k",
        "hf_hub:timm/resnet18",
        "local-dir:/tmp",
        "timm/resnet18",
        "../resnet18",
        "https://example.invalid/resnet18",
        "resnet18.a1_in1k",
        "resnet18\n",
        "nonsense",
        "",
        3,
        None,
        ["resnet18"],
    ],
)
def test_only_names_of_the_registry_are_architectures(expert, image, name):
    change(expert / "config.json", lambda value: value.update(architecture=name))
    assert "config.json" in refused(expert, image)
    with pytest.raises(TailproofError):
        load_expert(expert)


@pytest.mark.parametrize(
    "arguments",
    [
        {"pretrained": True},
        {"pretrained_cfg": {"url": "https://example.invalid/w.pth"}},
        {"pretrained_cfg": "a1_in1k"},
        {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
        {"checkpoint_path": "/etc/passwd"},
        {"cache_dir": "/tmp"},
        {"features_only": True},
        {"num_classes": 5},
        {"layers": [3] * 300},
        {"width": 10**9},
        {"act_layer": "../../x"},
        {"unknown": 1},
    ],
)
def test_model_args_shape_a_network_and_do_nothing_else(expert, image, arguments):
    change(expert / "config.json", lambda value: value["model_args"].update(arguments))
    refused(expert, image)


@pytest.mark.parametrize("key", ["url", "file", "hf_hub_id", "state_dict", "source"])
def test_pretrained_cfg_names_no_other_weights(expert, image, key):
    change(expert / "config.json", lambda value: value["pretrained_cfg"].update({key: "x"}))
    assert f"pretrained_cfg.{key}" in refused(expert, image)


@pytest.mark.parametrize(
    "edit",
    [
        lambda prepared: prepared.update(label_names=["x"]),
        lambda prepared: prepared.update(label_names=[1, 2, 3, 4, 5]),
        lambda prepared: prepared.update(label_names=["a", "b", "c", "c", "d"]),
        lambda prepared: prepared.update(label_names=["a", "b", "c", "d", ""]),
        lambda prepared: prepared.update(label_names=["a", "b", "c", "d", "\ud800"]),
        lambda prepared: prepared.update(label_names=None),
        lambda prepared: prepared.update(num_classes=6),
        lambda prepared: prepared.update(mean=[0.4, 0.4]),
        lambda prepared: prepared.update(mean=[0.4, 0.4, float("nan")]),
        lambda prepared: prepared.update(std=[0.2, 0.2, 0.0]),
        lambda prepared: prepared.update(std=[0.2, 0.2, -1]),
        lambda prepared: prepared.update(std=[0.2, 0.2, "1"]),
        lambda prepared: prepared.update(input_size=[1, 60000, 60000]),
        lambda prepared: prepared.update(input_size=[3, 60000, 60000]),
        lambda prepared: prepared.update(input_size=[3, 0, 32]),
        lambda prepared: prepared.update(input_size=[3, 32]),
        lambda prepared: prepared.update(input_size=[3, 32, 10**30]),
        lambda prepared: prepared.update(input_size=[1, 32, 32]),
        lambda prepared: prepared.update(custom_load=True),
    ],
)
def test_the_preprocessing_must_be_possible(expert, image, edit):
    change(expert / "config.json", lambda value: edit(value["pretrained_cfg"]))
    assert "config.json" in refused(expert, image)


@pytest.mark.parametrize(
    "edit",
    [
        lambda facts: facts.update(target="other"),
        lambda facts: facts.update(heads={"kind": 2, "class": 4}),
        lambda facts: facts.update(heads={"kind": 5, "class": 0}),
        lambda facts: facts.update(heads={"class": 5}),
        lambda facts: facts.update(heads={"genus": 2, "class": 3}),
        lambda facts: facts.update(heads={}),
        lambda facts: facts.pop("heads"),
        lambda facts: facts.update(target=["class"]),
    ],
)
def test_ranks_must_fit_the_outputs(expert, image, edit):
    change(expert / "config.json", lambda value: edit(value["tailproof"]))
    assert "config.json" in refused(expert, image)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_giant_patch14_dinov2", {}),
        ("vit_tiny_patch16_224", {"depth": 60_000}),
        ("vit_tiny_patch16_224", {"embed_dim": 60_000, "num_heads": 1}),
        ("resnet152", {}),
        ("test_resnet2", {}),
        ("test_vit", {}),
    ],
)
def test_another_architecture_is_refused_before_memory_is_allocated(expert, image, name, arguments):
    def edit(value):
        value["architecture"] = name
        value["model_args"].update(arguments)

    change(expert / "config.json", edit)
    assert name in refused(expert, image)


@pytest.mark.timeout(300)
def test_a_network_that_takes_for_ever_to_build_is_refused(expert, image, monkeypatch):
    monkeypatch.setattr(meta_network, "SECONDS", 1.0)

    def edit(value):
        value["architecture"] = "tiny_vit_5m_224"
        value["model_args"]["window_sizes"] = [60] * 4

    change(expert / "config.json", edit)
    assert "seconds" in refused(expert, image)


# What calibration.json and deployment.json say ----------------------------------------------------


@pytest.mark.parametrize(
    "temperature",
    [0, -1, float("nan"), float("inf"), 1e-300, 1e300, 10**400, True, "1.5", None, [1.5]],
)
@pytest.mark.parametrize("rank", ["class", "kind"])
def test_a_temperature_is_a_number_that_a_fit_can_give(expert, image, rank, temperature):
    def edit(value):
        fit = value if rank == "class" else value["other_ranks"]["kind"]
        fit["temperature"] = temperature

    change(expert / "calibration.json", edit)
    assert "calibration.json" in refused(expert, image)


def test_every_rank_has_a_temperature(expert, image):
    change(expert / "calibration.json", lambda value: value["other_ranks"].pop("kind"))
    assert "kind" in refused(expert, image)


def with_rules(edit):
    return lambda value: [edit(rule) for rule in value["rules"]["chow"]]


@pytest.mark.parametrize(
    "edit",
    [
        with_rules(lambda rule: rule.update(threshold=None)),
        with_rules(lambda rule: rule.update(threshold=0.5)),
        with_rules(lambda rule: rule.update(threshold=float("-inf"))),
        with_rules(lambda rule: rule.update(threshold="0.5")),
        with_rules(lambda rule: rule.update(coverage=0)),
        with_rules(lambda rule: rule.update(coverage=1.5)),
        with_rules(lambda rule: rule.update(coverage=1)),
        with_rules(lambda rule: rule.update(shift=[0, 1e308])),
        with_rules(lambda rule: rule.update(shift=[0, None])),
        with_rules(lambda rule: rule.update(gain=[1, 0])),
        with_rules(lambda rule: rule.update(gain=[1])),
        with_rules(lambda rule: rule.update(gain=[1, float("nan")])),
        with_rules(lambda rule: rule.update(multiplier=[None, None])),
        lambda value: value.update(rules={}),
        lambda value: value.update(rules={"chow": []}),
        lambda value: value.update(coverage=0.7),
        lambda value: value.update(coverage=0),
        lambda value: value.update(tail=["z"]),
        lambda value: value.update(tail=[3]),
        lambda value: value.update(tail=["a", "b", "c"]),
        lambda value: value.update(images="L"),
        lambda value: value.update(images="CMYK"),
        lambda value: value.update(weights_sha256="0"),
        lambda value: value.update(more=1),
    ],
)
def test_rules_must_be_possible(expert, image, edit):
    change(expert / "deployment.json", edit)
    assert "deployment.json" in refused(expert, image)


@pytest.mark.parametrize("number", [1, 3, 10**20])
def test_the_folder_of_another_version_is_named(expert, image, number):
    change(expert / "deployment.json", lambda value: value.update(format=number))
    message = refused(expert, image)
    assert f"format {number}" in message and "version" in message


def test_the_folder_of_version_0_1_is_named(expert, image):
    (expert / "deployment.json").rename(expert / "predict.json")
    assert "0.1" in refused(expert, image)


# Files of any content and kind --------------------------------------------------------------------

CONTENTS = {
    "empty": b"",
    "cut": b'{"a": 1',
    "null": b"null",
    "list": b"[]",
    "text": b'"text"',
    "two bytes a letter": '{"a": 1}'.encode("utf-16"),
    "no text": b"\xff\xfe\x00\x01" * 100,
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many digits": b'{"temperature": ' + b"1" * 5000 + b"}",
    "NaN": b'{"temperature": NaN}',
    "Infinity": b'{"temperature": -Infinity}',
    "twice": b'{"temperature": 1, "temperature": 2}',
    "huge": b'{"temperature": "' + b"x" * (17 * 2**20) + b'"}',
    "long text": b'{"temperature": "' + b"\x1b[31m" * 2**16 + b'"}',
    "long key": b'{"' + b"x" * 2**20 + b'": 1}',
    "NUL": b"\0" * 4096,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", SMALL_FILES)
def test_any_content_is_one_sentence(expert, image, name, content):
    (expert / name).write_bytes(content)
    assert name in refused(expert, image)


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_byte_order_mark_is_no_fault(expert, image, name):
    (expert / name).write_bytes(b"\xef\xbb\xbf" + (expert / name).read_bytes())
    assert run(expert, image)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [*SMALL_FILES, WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket", "loop", "dead link"])
def test_a_file_of_another_kind_is_one_sentence(expert, image, name, kind):
    place(expert / name, kind)
    assert name in refused(expert, image)


def place(path: Path, kind: str) -> Path:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            before = Path.cwd()
            os.chdir(path.parent)  # the path of a socket must be short
            server.bind(path.name)
            os.chdir(before)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(path.with_name("nowhere"))
    return path


def test_a_folder_may_be_a_link_and_an_archive_is_refused(expert, image, tmp_path):
    (tmp_path / "link").symlink_to(expert)
    assert run(tmp_path / "link", image)
    with zipfile.ZipFile(tmp_path / "expert.zip", "w") as archive:
        archive.write(expert / "config.json", "config.json")
    assert "archive" in refused(tmp_path / "expert.zip", image)
    for name in ("hf-hub:timm/resnet18.a1_in1k", "https://example.invalid/expert"):
        assert "not a folder" in refused(Path(name), image)


NASTY = st.sampled_from(
    [
        -1, 0, 2, 10**30, 1e308, -1e308, 1e-320, True, "", "a", "=x", "\x1b[31m", "\u202e",
        "\ud800",
        "x" * 10_000, "hf-hub:timm/resnet18", "local-dir:.", "https://example.invalid", "../..",
        "resnet18", "test_vit", "L", "float32", [], {}, [1, 60000, 60000], [None, None],
        {"url": "https://example.invalid"}, ["a", "a"],
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "pretrained",
        "pretrained_cfg",
        "checkpoint_path",
        "url",
        "img_size",
        "format",
        "kind",
        "",
        "\n",
    ]
)


def places(value, path=()):
    yield path
    items = {}
    if isinstance(value, dict | list):
        items = value if isinstance(value, dict) else dict(enumerate(value))
    for key, item in items.items():
        yield from places(item, (*path, key))


def changed(value, draw):
    """A copy of a JSON value with one change anywhere in it."""
    value = deepcopy(value)
    *above, last = draw(st.sampled_from([path for path in places(value) if path]))
    parent = value
    for key in above:
        parent = parent[key]
    kind = draw(st.sampled_from(["replace", "remove", "add"]))
    if kind == "replace":
        parent[last] = draw(NASTY | PLAIN)
    elif kind == "remove":
        del parent[last]
    elif isinstance(parent, dict):
        parent[draw(KEYS | st.text(max_size=3))] = draw(NASTY | PLAIN)
    else:
        parent.insert(last, draw(NASTY | PLAIN))
    return value


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SMALL_FILES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_is_read_right_or_refused(original, image, capsys, tmp_path, name, data):
    folder = tmp_path / "expert"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    value = json.loads((folder / name).read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        value = changed(value, data.draw)
    (folder / name).write_text(json.dumps(value))
    capsys.readouterr()
    try:
        read = run(folder, image)
    except TailproofError as error:
        checked(str(error))
        return
    output = capsys.readouterr()
    if not read:  # the image does not suit what the changed folder wants
        assert "expected" in output.err and len(rows_of(output.out)) == 0
        for line in output.err.splitlines():
            checked(line)
    else:
        assert len(rows_of(output.out)) == 1
        assert printable(output.out.replace("\n", "")) == output.out.replace("\n", "")


# Weights ------------------------------------------------------------------------------------------


def rewrite(folder: Path, edit) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)
    trust_weights(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors["conv1.0.weight"].view(-1)[:1].fill_(float("nan")),
        lambda tensors: tensors["bn1.running_var"][:1].fill_(float("inf")),
        lambda tensors: tensors.update({"fc.bias": tensors["fc.bias"].half()}),
        lambda tensors: tensors.update({"fc.bias": tensors["fc.bias"].double()}),
        lambda tensors: tensors.update({"fc.bias": tensors["fc.bias"][:3].clone()}),
        lambda tensors: tensors.update({"fc.bias": tensors["fc.bias"][:, None].clone()}),
        lambda tensors: tensors.update({"more": torch.zeros(1)}),
        lambda tensors: tensors.pop("fc.bias"),
        lambda tensors: tensors.clear(),
    ],
)
def test_other_weights_are_refused(expert, image, edit):
    rewrite(expert, edit)
    assert WEIGHTS in refused(expert, image)


def test_damaged_weights_are_refused(expert, image):
    content = (expert / WEIGHTS).read_bytes()
    for damaged in (content[:-1], content + b"\0", content[:100], b"", b"PK\3\4" + content):
        (expert / WEIGHTS).write_bytes(damaged)
        trust_weights(expert)
        assert WEIGHTS in refused(expert, image)


@pytest.mark.timeout(600)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 4000), byte=st.integers(0, 255))
def test_any_byte_of_the_weights_may_be_wrong(original, image, tmp_path, place, byte):
    folder = tmp_path / "expert"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place] = byte
    (folder / WEIGHTS).write_bytes(content)
    trust_weights(folder)
    try:
        assert run(folder, image)
    except TailproofError as error:
        checked(str(error))


# Images -------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_no_file_in_a_folder_stops_the_others(expert, image, tmp_path, capsys):
    folder = tmp_path / "images"
    (folder / "deep.png").mkdir(parents=True)
    for name in ("1.png", "deep.png/2.PNG", "\udcff.png", "a\nb.png", "\x1b[31m.png"):
        shutil.copy(image, folder / name)
    kinds = ("pipe", "device", "socket", "loop", "dead link")
    bad = [place(folder / f"{kind}.png", kind) for kind in kinds]
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    with (folder / "huge.tif").open("wb") as file:
        file.truncate(300 * 2**20)
    bad += [folder / name for name in ("empty.png", "text.jpg", "huge.tif")]
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    (folder / "again").symlink_to(folder)
    assert not run(expert, folder)
    output = capsys.readouterr()
    assert len(rows_of(output.out)) == 5
    *errors, passed_over, summary = output.err.splitlines()
    assert sorted(error.split(".")[0].split("/")[-1] for error in errors) == sorted(
        path.stem for path in bad
    )
    assert ".txt (1)" in passed_over and "hidden files (1)" in passed_over
    assert "5 images" in summary and "8 could not be read" in summary
    for line in (*output.out.splitlines(), *output.err.splitlines()):
        assert printable(line) == line


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_must_not_be_read_does_not_stop_the_others(expert, image, tmp_path, capsys):
    folder = tmp_path / "images"
    (folder / "locked").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        shutil.copy(image, folder / name)
    (folder / "2.png").chmod(0)
    (folder / "locked").chmod(0)
    assert not run(expert, folder)
    (folder / "locked").chmod(0o700)
    output = capsys.readouterr()
    assert len(rows_of(output.out)) == 1
    assert "2 could not be read" in output.err


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_a_place_that_is_no_image_is_reported(expert, image, tmp_path, capsys, kind):
    assert not run(expert, place(tmp_path / "x.png", kind), image)
    output = capsys.readouterr()
    assert len(rows_of(output.out)) == 1 and "x.png" in output.err


# Names --------------------------------------------------------------------------------------------

NAMES = [
    "=1+1", "@SUM(A1)", "+x", "-x", "\t=x", "\r=x", "a;=x", "\x1b[31mred", "a\nb", "\u202egnp.exe",
    "[red]", "[/]", "\\", "\x9b2J", "a,b", '"', "<script>", "../x",
]  # fmt: skip


def test_names_neither_run_in_a_spreadsheet_nor_act_on_a_terminal(
    image, tmp_path, capsys, monkeypatch
):
    ranks = {"=rank": ["@a", "b"], "class": NAMES}
    folder = make_expert(tmp_path / "expert", ranks=ranks)
    change(folder / "deployment.json", lambda value: value.update(tail=[NAMES[0]]))
    images = [
        shutil.copy(image, tmp_path / name) for name in ("=1.png", "@[red]\x1b[31m.png", "\n-.png")
    ]
    monkeypatch.chdir(tmp_path)
    names = [Path(path).name for path in images]
    for as_csv in (True, False):
        assert predict_images(str(folder), names, as_csv=as_csv, rule="chow", coverage=None)
        output = capsys.readouterr().out
        lines = [line for line in output.splitlines() if line.strip(" ─")]
        assert len(lines) == 4
        assert all(printable(line) == line for line in lines)
        if as_csv:
            cells = [cell for row in csv.reader(io.StringIO(output)) for cell in row]
            assert not any(cell.startswith(("=", "@", "+", "-", "\t", "\r")) for cell in cells)
            assert "'=1.png" in cells
        else:
            assert "@[red]\\x1b[31m.png" in output


def test_the_tables_of_the_evaluation_are_read_back_as_they_were(tmp_path):
    rows = [["dev", "plain", name, 0.5] for name in NAMES]
    path = tmp_path / "per_class.csv"
    path.write_text(
        "".join(map(csv_line, [["split", "method", "class", "recall"], *rows])), newline=""
    )
    assert read_table(path)["class"].tolist() == NAMES
    content, keys = read_keyed(path)
    assert keys == ["split", "method", "class"]
    assert list(content["dev"]["plain"]) == NAMES


# The output ---------------------------------------------------------------------------------------


def tailproof(*arguments, shell: str = "", **variables) -> subprocess.CompletedProcess:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "tailproof.cli", *map(str, arguments)]
    if shell:
        command = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *command]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=buffered | variables,
    )


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "not"])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["predict", "EXPERT", "IMAGE"]])
def test_a_full_stdout_is_one_sentence(expert, image, arguments, variables):
    named = {"EXPERT": expert, "IMAGE": image}
    arguments = [named.get(argument, argument) for argument in arguments]
    done = tailproof(*arguments, shell="> /dev/full", **variables)
    assert done.returncode == 1
    sentences = [line for line in done.stderr.splitlines() if line.startswith("tailproof: ")]
    assert len(sentences) == 1 and "stdout" in sentences[0]
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_reader_that_leaves_is_no_error_to_speak_of(expert, image):
    done = tailproof("predict", expert, *[image] * 500, "--csv", shell="| head -c 10")
    assert len(done.stdout) == 10
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    done = tailproof("--help", shell="| true")
    assert done.returncode in (0, 1) and done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_traceback(closed):
    done = tailproof("--version", shell=closed)
    assert done.returncode == (1 if ">&- 2" in closed or closed == ">&-" else 0)
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_is_no_traceback(tmp_path):
    done = tailproof("predict", tmp_path / "Žlutý", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "\\u017d" in done.stderr.lower()


def test_an_expert_that_is_saved_is_an_expert_that_loads(tmp_path):
    """What `save_expert` writes for networks of every kind is what is accepted."""
    for name in ("test_resnet", "test_vit", "test_efficientnet", "deit_tiny_distilled_patch16_224"):
        folder = make_expert(tmp_path / name, model=name, shape=(3, 224, 224))
        write_json(tmp_path / "config.json", json.loads((folder / "config.json").read_text()))
        load_expert(folder)
