"""A run that is trained for now, rung by rung, ends in the bytes of one that never stopped."""

import signal

import pytest

from tailproof.files import read_json
from tests.training.interrupted_runs import finish, outputs, start


@pytest.fixture(scope="module")
def straight(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    assert finish(start(digits, folder)) == 0
    return folder


def rung(folder):
    return (folder / "expert/seed-0/rung.csv").read_text()


def test_rung_by_rung_is_the_same_as_straight_on(digits, tmp_path, straight):
    whole = outputs(straight)
    lines = whole["history.csv"].decode().splitlines(keepends=True)
    for until in (1, 3):
        assert finish(start(digits, tmp_path, until=until)) == 0
        assert rung(tmp_path) == "".join(lines[: until + 1])
        assert not (tmp_path / "expert/seed-0/model.safetensors").exists()
    assert finish(start(digits, tmp_path)) == 0
    assert outputs(tmp_path) == whole
    told = read_json(tmp_path / "expert/seed-0/training.json")
    assert [entry["reason"] for entry in told["attempts"]] == [
        "trained until epoch 1", "trained until epoch 3", "finished",
    ]  # fmt: skip
    assert [(e["first_epoch"], e["last_epoch"]) for e in told["attempts"]] == [
        (1, 1), (2, 3), (4, 4),
    ]  # fmt: skip


def test_a_rung_asked_for_again_is_the_same_though_the_run_has_gone_on(digits, tmp_path, straight):
    assert finish(start(digits, tmp_path, until=2)) == 0
    before = rung(tmp_path)
    assert finish(start(digits, tmp_path)) == 0
    assert finish(start(digits, tmp_path, until=2)) == 0
    assert rung(tmp_path) == before
    assert finish(start(digits, tmp_path)) == 0
    assert outputs(tmp_path) == outputs(straight)


def test_a_rung_that_is_killed_goes_on(digits, tmp_path, straight):
    assert finish(start(digits, tmp_path, crash=("written", 4), until=3)) == -signal.SIGKILL
    assert finish(start(digits, tmp_path, until=3)) == 0
    assert " after step " in (tmp_path / "train.log").read_text()
    assert finish(start(digits, tmp_path)) == 0
    assert outputs(tmp_path) == outputs(straight)


def test_without_normalization_pixels_are_left_in_zero_to_one(digits, tmp_path):
    assert finish(start(digits, tmp_path, {"normalize": False, "epochs": 1})) == 0
    config = read_json(tmp_path / "expert/seed-0/config.json")["pretrained_cfg"]
    assert (config["mean"], config["std"]) == ([0.0], [1.0])
