"""A run that is killed, damaged or moved ends in the bytes of one that was left alone."""

import csv
import io
import os
import pickle
import random
import shutil
import signal
import time
from contextlib import suppress

import psutil
import pytest
import torch

from tailproof.digests import sha256_bytes
from tailproof.files import read_json
from tailproof.predict.infer import infer
from tailproof.runtime.job_logging import ATTEMPT
from tailproof.training.checkpoint_store import KEY_LENGTH, newest_first
from tests.training.interrupted_runs import STAGES, finish, outputs, start


@pytest.fixture(scope="module")
def straight(digits, tmp_path_factory):
    """What a run writes that nothing ever happened to."""
    folder = tmp_path_factory.mktemp("straight")
    assert finish(start(digits, folder)) == 0
    return outputs(folder)


def wait_for_state(folder, process):
    """Wait until the run has saved a state."""
    while not list((folder / "states").glob("*/epoch-*.pt")):
        assert process.is_alive(), (folder / "train.log").read_text()
        time.sleep(0.01)


def start_and_pause(digits, folder, changes=None):
    """Start a run that stops where it has saved its first state, and wait for that."""
    process = start(digits, folder, changes, crash=("renamed", 1, signal.SIGSTOP))
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert process.is_alive(), log(folder)
        time.sleep(0.01)
    return process


def interrupted(digits, folder, number=signal.SIGKILL):
    """Send a run a signal where it has saved its first state."""
    process = start_and_pause(digits, folder)
    os.kill(process.pid, number)
    os.kill(process.pid, signal.SIGCONT)
    return finish(process)


def history(folder):
    with open(folder / "expert/seed-0/history.csv", newline="") as file:
        return list(csv.DictReader(file))


def attempts(folder):
    return read_json(folder / "expert/seed-0/training.json")["attempts"]


def attempts_begun(folder):
    return sum(len(read_json(path)) for path in (folder / "states").glob("*/attempts.json"))


def log(folder):
    path = folder / "train.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(("workers", "kills"), [(0, 6), (2, 4)])
def test_kills_at_random_moments_change_no_byte(digits, tmp_path, workers, kills):
    """`make test-chaos` sets the number of kills, for both numbers of workers."""
    kills = int(os.environ.get("TAILPROOF_KILLS", kills))
    recipe = {"epochs": kills, "workers": workers, "cache_gb": 0}
    reference, folder = tmp_path / "reference", tmp_path / "killed"
    assert finish(start(digits, reference, recipe)) == 0
    chance, done = random.Random(workers), 0
    while done < kills:
        crash = (chance.choice(STAGES), chance.randint(1, 3)) if done % 2 else None
        begun = attempts_begun(folder)
        process = start(digits, folder, recipe, crash=crash)
        if crash is None:
            while attempts_begun(folder) == begun:
                assert process.is_alive()
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
        code = finish(process)
        assert code in (0, -signal.SIGKILL), log(folder)
        if code == 0:
            break
        done += 1
    assert finish(start(digits, folder, recipe)) == 0, log(folder)
    assert outputs(folder) == outputs(reference)
    assert done == kills, f"the run was over after {done} kills"
    logits = []
    for run in (reference, folder):
        expert = run / "expert/seed-0"
        infer(expert, "expert", 0, digits, run / "logits", 1, 2**30, 0)
        logits.append({p.name: p.read_bytes() for p in (run / "logits").iterdir()})
    assert len(logits[0]) == 6 and logits[0] == logits[1]
    told = attempts(folder)
    assert [entry["attempt"] for entry in told] == list(range(1, len(told) + 1))
    assert {entry["reason"] for entry in told[:-1]} == {"killed"}
    assert told[-1]["reason"] == "finished" and len(told) == done + 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_stage_of_a_write_leaves_a_whole_state(digits, tmp_path, straight, stage):
    assert finish(start(digits, tmp_path, crash=(stage, 3))) == -signal.SIGKILL
    assert finish(start(digits, tmp_path)) == 0
    assert " after step " in log(tmp_path)
    assert outputs(tmp_path) == straight
    assert not list((tmp_path / "states").glob("*/.epoch-*")), "no half-written file is left"


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "empty"])
def test_a_damaged_state_is_told_and_the_one_before_is_used(digits, tmp_path, straight, damage):
    assert finish(start(digits, tmp_path, crash=("created", 4))) == -signal.SIGKILL
    (folder,) = (tmp_path / "states").iterdir()
    newest, before = newest_first(folder)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    whole = {"truncated": content[: len(content) // 2], "bit flipped": content, "empty": b""}
    newest.write_bytes(whole[damage])
    assert finish(start(digits, tmp_path)) == 0
    assert f"{newest} is damaged" in log(tmp_path)
    step = int(before.name.split("step-")[1].split(".")[0])
    assert f"after step {step}" in log(tmp_path)
    assert outputs(tmp_path) == straight


def _hold_a_list(state):
    return ["of something else"]


def _lose_the_model(state):
    del state["run"]["model"]
    return state


def _reshape_a_tensor(state):
    model = state["run"]["model"]
    key = next(iter(model))
    model[key] = model[key][:1]
    return state


def _take_another_recipe(state):
    state["run"]["recipe"]["batch_size"] += 1
    return state


def _skip_an_epoch(state):
    state["run"]["epoch"] += 1
    return state


def _hold_no_run(state):
    return {"run": None, "seconds": [], "origin": None}


CHANGES = (
    _hold_a_list,
    _lose_the_model,
    _reshape_a_tensor,
    _take_another_recipe,
    _skip_an_epoch,
    _hold_no_run,
)


def _write_state(path, content: bytes):
    """Replace a state by another content, of which its name has the right digest."""
    path.unlink()
    stem = path.name.split(".", maxsplit=1)[0]
    path = path.with_name(f"{stem}.{sha256_bytes(content)[:KEY_LENGTH]}.pt")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", pickle.dumps(print), b"PK\x03\x04"], ids=repr)
def test_a_state_that_torch_cannot_read_is_set_aside(digits, tmp_path, straight, content):
    assert finish(start(digits, tmp_path, crash=("created", 4))) == -signal.SIGKILL
    (folder,) = (tmp_path / "states").iterdir()
    newest, before = newest_first(folder)
    damaged = _write_state(newest, content)
    assert finish(start(digits, tmp_path)) == 0
    assert damaged.with_name(f"{damaged.name}.damaged").exists()
    assert f"{damaged} is damaged" in log(tmp_path)
    step = int(before.name.split("step-")[1].split(".")[0])
    assert f"after step {step}" in log(tmp_path)
    assert outputs(tmp_path) == straight


def test_states_of_something_else_are_set_aside(digits, tmp_path, straight):
    """Each of the two states is something else; the run starts at epoch 1, however often."""
    for first, second in zip(CHANGES[::2], CHANGES[1::2], strict=True):
        assert finish(start(digits, tmp_path, crash=("created", 4))) == -signal.SIGKILL
        (folder,) = (tmp_path / "states").iterdir()
        for path, change in zip(newest_first(folder), (first, second), strict=True):
            buffer = io.BytesIO()
            torch.save(change(torch.load(path, weights_only=True)), buffer)
            _write_state(path, buffer.getvalue())
    assert finish(start(digits, tmp_path)) == 0
    assert "starts at epoch 1" in log(tmp_path)
    assert len(list(folder.glob("*.damaged"))) == len(CHANGES)
    assert outputs(tmp_path) == straight


def test_damaged_states_ahead_do_not_swallow_the_new_ones(digits, tmp_path, straight):
    """Both states are damaged: the run starts anew, and what it saves from then on is kept."""
    assert finish(start(digits, tmp_path, crash=("created", 5))) == -signal.SIGKILL
    (folder,) = (tmp_path / "states").iterdir()
    for state in newest_first(folder):
        state.write_bytes(state.read_bytes()[:-1])
    assert finish(start(digits, tmp_path, crash=("created", 3))) == -signal.SIGKILL
    assert "starts at epoch 1" in log(tmp_path) and len(list(folder.glob("*.damaged"))) == 2
    assert finish(start(digits, tmp_path)) == 0
    assert "epoch 1 after step 6" in log(tmp_path)
    assert outputs(tmp_path) == straight


def test_workers_left_behind_keep_no_one_waiting(digits, tmp_path, straight):
    """Many workers with much in their pipes are gone with the process that started them."""
    recipe = {"workers": 6, "cache_gb": 0}
    process = start_and_pause(digits, tmp_path, recipe)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    psutil.wait_procs(workers)
    assert finish(start(digits, tmp_path, recipe)) == 0
    assert outputs(tmp_path) == straight


def test_a_job_that_waits_for_another_leaves_when_asked(digits, tmp_path):
    first = start(digits, tmp_path, {"epochs": 1000})
    wait_for_state(tmp_path, first)
    (tmp_path / "train.log").unlink()
    second = start(digits, tmp_path, {"epochs": 1000})
    while str(tmp_path / "states") not in log(tmp_path):
        assert second.is_alive()
        time.sleep(0.02)
    os.kill(second.pid, signal.SIGTERM)
    assert finish(second) == 75
    first.kill()
    finish(first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_its_own_status(digits, tmp_path, straight, number):
    assert interrupted(digits, tmp_path, number) == 75
    assert f"by {number.name} in epoch" in log(tmp_path)
    assert finish(start(digits, tmp_path)) == 0
    assert [entry["reason"] for entry in attempts(tmp_path)] == [number.name, "finished"]
    assert outputs(tmp_path) == straight


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_the_loaders_workers_too(digits, tmp_path, straight, number):
    """As Slurm and a terminal send it: to every process."""
    recipe = {"workers": 2, "cache_gb": 0}
    process = start_and_pause(digits, tmp_path, recipe)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    for member in (*workers, psutil.Process(process.pid)):
        member.send_signal(number)
    os.kill(process.pid, signal.SIGCONT)
    assert finish(process) == 75
    assert finish(start(digits, tmp_path, recipe)) == 0
    assert outputs(tmp_path) == straight


def test_a_second_signal_leaves_at_once(digits, tmp_path):
    process = start(digits, tmp_path, {"epochs": 1000})
    wait_for_state(tmp_path, process)
    os.kill(process.pid, signal.SIGSTOP)  # both arrive before the next batch boundary
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    while process.is_alive():
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.001)
    assert finish(process) in (-signal.SIGTERM, 75)


def test_another_name_in_another_folder_finds_the_state(digits, tmp_path, straight):
    assert interrupted(digits, tmp_path / "a") == -signal.SIGKILL
    shutil.copytree(tmp_path / "a" / "states", tmp_path / "b" / "states")
    assert (
        finish(start(digits, tmp_path / "b", {"workers": 1, "checkpoint": {"minutes": 1.0}})) == 0
    )
    assert " after step " in log(tmp_path / "b")
    assert outputs(tmp_path / "b") == straight


def test_another_configuration_never_does_unless_it_says_so(digits, tmp_path):
    assert interrupted(digits, tmp_path) == -signal.SIGKILL
    (key,) = (path.name for path in (tmp_path / "states").iterdir())
    changes = {"optimizer": {"learning_rate": 0.01}}
    assert finish(start(digits, tmp_path, changes)) == 0
    assert "starts at epoch 1" in log(tmp_path)
    alone = read_json(tmp_path / "expert/seed-0/training.json")
    assert alone["resumed_from"] is None
    first = alone["initial_weights"]

    assert finish(start(digits, tmp_path, {**changes, "resume_from": key})) == 0
    facts = read_json(tmp_path / "expert/seed-0/training.json")
    assert facts["initial_weights"] == first
    assert facts["resumed_from"]["key"] == key and facts["resumed_from"]["epoch"] >= 1
    recipe = read_json(tmp_path / "expert/seed-0/config.json")["tailproof"]["recipe"]
    assert recipe["resume_from"] == key, "the override is recorded with the weights"

    assert finish(start(digits, tmp_path, {**changes, "resume_from": "0123"})) == 1
    assert "recipe.resume_from is '0123'" in log(tmp_path)
    assert f"{tmp_path}/states/0123" in log(tmp_path)
    rates = {row["epoch"]: row["learning_rate"] for row in history(tmp_path)}
    assert float(rates["4"]) < 0.01, "the rate is that of this recipe, not of the state's"
    adamw = {"optimizer": {"name": "adamw", "learning_rate": 0.001}, "resume_from": key}
    assert finish(start(digits, tmp_path, adamw)) == 1
    assert "the state does not fit" in log(tmp_path)
    wide = {"model": {"name": "cifar_resnet32"}, "resume_from": key}
    assert finish(start(digits, tmp_path, wide)) == 1
    assert "the state does not fit" in log(tmp_path)


def test_a_finished_run_is_not_trained_again(digits, tmp_path, straight):
    assert finish(start(digits, tmp_path)) == 0
    shutil.rmtree(tmp_path / "expert")
    assert finish(start(digits, tmp_path)) == 0
    assert "epoch 1 " not in log(tmp_path).rpartition(ATTEMPT)[2]
    assert outputs(tmp_path) == straight
    assert len(attempts(tmp_path)) == 2


def test_the_same_run_twice_at_once_is_trained_once(digits, tmp_path, straight):
    first, second = start(digits, tmp_path), start(digits, tmp_path)
    assert finish(first) == finish(second) == 0
    assert outputs(tmp_path) == straight
    assert len(history(tmp_path)) == 4
    assert [entry["reason"] for entry in attempts(tmp_path)] == ["finished"] * 2


def test_without_space_the_run_goes_on_with_its_old_state(digits, tmp_path, straight):
    """A state holds the weights more than twice: it does not fit where the weights alone do."""
    size = len(straight["model.safetensors"])
    assert finish(start(digits, tmp_path, largest_file=int(1.5 * size))) == 0
    assert "could not be saved" in log(tmp_path)
    assert outputs(tmp_path) == straight
    assert not list((tmp_path / "states").glob("*/*epoch-*")), "nothing half-written is left"
