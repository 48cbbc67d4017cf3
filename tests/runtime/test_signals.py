"""A process may be asked to leave at any moment: while it starts, works and ends."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.held_import import hold_imports
from tests.project import TINY

SEED_FOLDER = "results/tiny/experts/only/seed-0"
BYTES = ("model.safetensors", "config.json", "history.csv")

PROGRAM = """
import os, signal, sys, time
from tailproof.runtime.errors import Interrupted
from tailproof.runtime.signals import REQUEST, take_signals

def ask(name):
    os.kill(os.getpid(), getattr(signal, name))

take_signals()
try:
    {body}
except Interrupted:
    sys.exit(75)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
@pytest.mark.parametrize(
    ("body", "status", "shown"),
    [
        ("with REQUEST.leave_at_once(): ask(name); print('on')", 75, ""),
        ("ask(name)\n    with REQUEST.leave_at_once(): print('on')", 75, ""),
        ("with REQUEST.save_first(): ask(name); print(REQUEST.signal)", 75, "NAME"),
        ("with REQUEST.save_first(): ask(name); print('on'); REQUEST.check(); print(1)", 75, "on"),
        (
            "with REQUEST.leave_at_once():\n"
            "        with REQUEST.save_first(): ask(name); print('on')\n"
            "        print('further')",
            75,
            "on",
        ),
        ("with REQUEST.leave_at_once(): pass\n    ask(name); print('done')", 0, "done"),
        ("ask(name); print('on', flush=True); ask(name); time.sleep(60)", "ended", "on"),
    ],
    ids=["at once", "before", "saves", "checks", "saves within", "done", "twice"],
)
def test_the_first_signal_is_answered_and_the_second_ends(name, body, status, shown):
    program = PROGRAM.format(body=body.replace("(name)", f"({name!r})"))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = -getattr(signal, name)
    assert done.returncode == (ended if status == "ended" else status), done.stderr
    assert done.stdout.strip() == shown.replace("NAME", name)


@pytest.mark.parametrize(
    "module",
    ["tailproof.runtime.job", "tailproof.training.worker", "tailproof.training.torchrun"],
)
def test_nothing_but_python_is_imported_before_signals_are_taken(module):
    def roots(statement):
        program = f"import sys; {statement}; print(*{{n.split('.')[0] for n in sys.modules}})"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(done.stdout.split()) - set(sys.stdlib_module_names)

    assert roots(f"import {module}") - roots("pass") == {"tailproof"}


def write_expert(project, recipe):
    recipe = {**TINY["recipe"], **recipe}
    project.write(
        "config/experiments/tiny.yaml", {**TINY, "recipe": recipe, "experts": {"only": {}}}
    )


def train(project, *options):
    done = project.snakemake(f"{SEED_FOLDER}/model.safetensors", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def forget_training(project):
    shutil.rmtree(project.folder / SEED_FOLDER)
    shutil.rmtree(project.folder / ".state")


def weights_and_history(project):
    return {name: (project.folder / SEED_FOLDER / name).read_bytes() for name in BYTES}


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """A project with one more expert, trained undisturbed, and the scripts that Snakemake ran."""
    project = finished.copy(tmp_path_factory.mktemp("trained") / "project")
    (project.results / "shards" / "manifest.json").unlink()
    write_expert(project, {})
    train(project, "--skip-script-cleanup")
    return project


def start_held(project, stage, condition, count=1):
    """Start the process of a stage as Snakemake did; return it when it is held in an import.

    Args:
        project: with the script that Snakemake ran.
        stage: the rule.
        condition: see `hold_imports`.
        count: of the processes that must be held.
    """
    held = project.folder / "held"
    holds = hold_imports(held, condition)
    (script,) = (project.folder / ".snakemake" / "scripts").glob(f"*.{stage}.py")
    environment = project.environment
    environment["PYTHONPATH"] += f"{os.pathsep}{held}"
    command = [sys.executable, script]
    process = subprocess.Popen(command, cwd=project.folder, env=environment)
    while len(list(holds.iterdir())) < count:
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_training_leaves_while_it_imports_torch(trained, tmp_path):
    """By each signal, one attempt after the other; the next one trains from the start."""
    project = trained.copy(tmp_path / "project")
    straight = weights_and_history(project)
    forget_training(project)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        process = start_held(project, "train", "name == 'torch'")
        process.send_signal(number)
        assert process.wait() == 75
        assert not list((project.folder / SEED_FOLDER).glob("*"))
        shutil.rmtree(project.folder / "held")
    train(project)
    assert weights_and_history(project) == straight


def test_a_training_of_two_processes_leaves_while_they_import_torch(trained, tmp_path):
    project = trained.copy(tmp_path / "project")
    write_expert(project, {"devices": 2})
    forget_training(project)
    shutil.rmtree(project.folder / ".snakemake" / "scripts")
    train(project, "--skip-script-cleanup")
    forget_training(project)
    process = start_held(project, "train", "name == 'torch' and 'RANK' in os.environ", 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    assert not list((project.folder / SEED_FOLDER).glob("*"))


def test_a_stage_that_saves_nothing_leaves_at_once(trained, tmp_path):
    project = trained.copy(tmp_path / "project")
    manifest = project.results / "shards" / "manifest.json"
    before = manifest.read_bytes()
    manifest.unlink()
    process = start_held(project, "manifest", "name == 'pydantic'")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    assert not manifest.exists()
    done = project.snakemake("results/tiny/shards/manifest.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert manifest.read_bytes() == before
