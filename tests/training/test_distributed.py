"""Several processes train one expert as one would, and stop together."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from tailproof.config.recipe import Recipe
from tailproof.files import read_json, write_json
from tests.training import interrupted_runs
from tests.training.interrupted_runs import finish, outputs, start

# Without batch norm, whose statistics are of each process's own samples.
RECIPE = {
    "model": {
        "name": "vit_tiny_patch16_224",
        "options": {"img_size": 8, "patch_size": 2, "depth": 2, "embed_dim": 48, "num_heads": 3},
    },
    "optimizer": {"learning_rate": 0.02},
    "epochs": 3,
}


def expert(folder):
    return Path(folder) / "expert/seed-0"


def assert_alike(first, second):
    """The two runs gave the same weights and history, up to the order of float additions."""
    one, other = (load_file(expert(folder) / "model.safetensors") for folder in (first, second))
    for name, value in one.items():
        assert np.allclose(value, other[name], rtol=1e-3, atol=2e-5), name
    rows = []
    for folder in (first, second):
        with open(expert(folder) / "history.csv", newline="") as file:
            rows.append([[float(v or 0) for v in row.values()] for row in csv.DictReader(file)])
    assert np.allclose(*rows, rtol=1e-4)


@pytest.fixture(scope="module")
def alone(digits, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert finish(start(digits, folder, RECIPE)) == 0
    return folder


def wait_for(process, found):
    """Wait until `found` returns something, and return it."""
    while not (result := found()):
        assert process.is_alive()
        time.sleep(0.02)
    return result


def states(folder):
    return list((folder / "states").glob("*/epoch-*.pt"))


def workers(process):
    """Return the training processes, in the order of their ranks."""
    children = psutil.Process(process.pid).children(recursive=True)
    found = [c for c in children if "tailproof.training.worker" in c.cmdline()]
    return sorted(found, key=lambda child: int(child.environ()["RANK"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "grad_accum_steps": 3,
            "loss": {"name": "cross_entropy", "class_weights": "balanced"},
            "eval_image_size": 10,
            "phases": [
                {"from_epoch": 1},
                {"from_epoch": 2, "image_size": 12, "batch_size": 32},
            ],
        },
    ],
    ids=["plain", "accumulated, weighted, in phases"],
)
def test_two_processes_train_what_one_does(digits, tmp_path, changes):
    recipe = {**RECIPE, **changes}
    assert finish(start(digits, tmp_path / "one", {**recipe, "grad_accum_steps": 1})) == 0
    assert finish(start(digits, tmp_path / "two", {**recipe, "devices": 2})) == 0
    assert_alike(tmp_path / "one", tmp_path / "two")
    (entry,) = read_json(expert(tmp_path / "two") / "training.json")["attempts"]
    assert entry["processes"] == 2


def test_three_processes_that_are_killed_end_in_the_same_bytes_and_two_go_on(digits, tmp_path):
    """With three or more the order in which gradients are added could depend on the attempt."""
    recipe = {**RECIPE, "devices": 3, "batch_size": 66}
    assert finish(start(digits, tmp_path / "straight", recipe)) == 0
    process = start(digits, tmp_path / "killed", recipe)
    wait_for(process, lambda: states(tmp_path / "killed"))
    ranks = workers(process)
    process.kill()
    finish(process)
    psutil.wait_procs(ranks)  # they end with the process that started them
    shutil.copytree(tmp_path / "killed", tmp_path / "fewer")
    assert finish(start(digits, tmp_path / "fewer", {**recipe, "devices": 2})) == 0
    facts = read_json(expert(tmp_path / "fewer") / "training.json")
    assert [entry["processes"] for entry in facts["attempts"]] == [3, 2]
    assert_alike(tmp_path / "fewer", tmp_path / "straight")
    assert finish(start(digits, tmp_path / "killed", recipe)) == 0
    assert " after step " in (tmp_path / "killed/train.log").read_text()
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "straight")


def test_a_signal_to_every_process_saves_once_and_leaves(digits, tmp_path, alone):
    process = start(digits, tmp_path, {**RECIPE, "devices": 2})
    wait_for(process, lambda: states(tmp_path))
    os.kill(process.pid, signal.SIGSTOP)  # the others receive it first
    for rank in workers(process):
        rank.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    assert finish(process) == 75
    (key,) = (tmp_path / "states").iterdir()
    (entry,) = read_json(key / "attempts.json")
    assert entry["reason"] == "SIGTERM"
    assert finish(start(digits, tmp_path, RECIPE)) == 0
    assert_alike(tmp_path, alone)


def test_a_process_that_dies_stops_all_and_is_named(digits, tmp_path):
    process = start(digits, tmp_path, {**RECIPE, "devices": 2, "epochs": 500})
    wait_for(process, lambda: states(tmp_path))
    ranks = workers(process)
    ranks[1].kill()
    assert finish(process) == 1
    assert not any(rank.is_running() for rank in ranks)
    first, *_ = (tmp_path / "stderr.txt").read_text().strip().splitlines()
    assert "rank 1 " in first and "Signal 9 (SIGKILL)" in first


def test_the_error_of_a_process_is_reported_first(digits, tmp_path):
    wrong = {"optimizer": {"learning_rate": 1e25}, "schedule": {"name": "constant"}}
    assert finish(start(digits, tmp_path, {**RECIPE, **wrong, "devices": 2})) == 1
    output = (tmp_path / "stderr.txt").read_text()
    assert output.strip().startswith("train failed: process rank ")
    assert "epoch 1, step" in output.splitlines()[1]


def test_the_first_failure_on_one_of_several_nodes_is_reported(digits, tmp_path):
    """Its neighbours, on its node and on the other, only lose a connection."""
    recipe = {**interrupted_runs.RECIPE, **RECIPE, "epochs": 500, "devices": 2, "nodes": 2}
    states = tmp_path / "states"
    (states / "key").mkdir(parents=True)
    train = {"manifest": str(digits), "recipe": Recipe(**recipe).model_dump(mode="json"), "seed": 0}
    train |= {"folder": str(expert(tmp_path)), "states": str(states), "key": "key", "until": 0}
    train["teacher"] = None
    job, log = tmp_path / "job.json", tmp_path / "train.log"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = f"localhost:{free.getsockname()[1]}"
    write_json(job, {"train": train, "log": str(log), "scratch": str(tmp_path), "meeting": meeting})
    command = [sys.executable, "-m", "tailproof.training.torchrun", job]
    nodes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]  # as srun does
    while not list((states / "key").glob("epoch-*.pt")):
        assert all(node.poll() is None for node in nodes)
        time.sleep(0.02)
    (victim,) = (rank for node in nodes for rank in workers(node) if rank.environ()["RANK"] == "1")
    victim.kill()
    assert [node.wait() for node in nodes] == [1, 1]
    failure = (tmp_path / "failed").read_text()
    assert failure.startswith("process rank 1 ") and "Signal 9 (SIGKILL)" in failure
    assert "onnection" in (tmp_path / "train.log").read_text()
