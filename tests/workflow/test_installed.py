"""The wheel, installed: a project of one's own, and the workflow as a module of another."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.stages import TIMED
from tests.project import ROOT, TINY
from tests.warm_python import run_module

pytestmark = pytest.mark.timeout(1800)  # a minute of real processes; longer on a busy machine

NOT_IN_GIT = (".git", ".venv", ".snakemake", "results", "logs", "raw", ".state", "__pycache__")
ONLY = "cross_entropy"
AUTHOR = {
    f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
GIT = {**os.environ, **AUTHOR}


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, outside of any checkout.

    Attributes:
        programs: the folder of Python.
        packages: the folder of the installed package.
    """

    programs: Path
    packages: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
        return inherited | {"PATH": f"{self.programs}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The other packages are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "env", with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", folder / "env", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", next(folder.glob("*.whl"))], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": folder / "env"}))
    # Folders that a .pth file names are searched, their own .pth files (an editable install) not.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("\n".join(others) + "\n")
    return Installed(folder / "env" / "bin", packages)


@pytest.fixture
def run(installed):
    """Run a module with the installed Python; it must end well."""

    def run(folder, module, *arguments, **variables):
        done = subprocess.run(
            [installed.programs / "python", "-m", module, *arguments],
            cwd=folder,
            env=installed.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def fork(installed):
    """Run a module in a fork that imports the installed package; it must end well."""

    def fork(folder, module, *arguments):
        environment = installed.environment | {"PYTHONPATH": str(installed.packages)}
        done = run_module(folder, environment, module, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return fork


def tiny(folder, **changes):
    """Make the project's experiment a tiny one."""
    (folder / "config" / "config.yaml").write_text(
        (folder / "config" / "config.yaml").read_text().replace("digits_lt", "tiny")
    )
    text = yaml.safe_dump({**TINY, **changes}, sort_keys=False)
    (folder / "config" / "experiments" / "tiny.yaml").write_text(text)


OF_ALL_EXPERTS = {
    "README.md",
    "audit.json",
    "deployment.json",
    "guarantees.json",
    "preflight.json",
}


def different_files(one, other):
    """Return the results whose bytes differ, of those that one expert alone decides.

    Those that hold times or digests of code are not compared.
    """
    files = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    left_out = {*TIMED, *OF_ALL_EXPERTS}
    shared = [file for file in files if len(file.parts) == 1 or file.parts[0] == "shards"]
    own = [file for file in files if file.parts[:2] == ("experts", ONLY)]
    compared = [file for file in [*shared, *own] if file.name not in left_out]
    assert len(compared) > 30
    return [str(f) for f in compared if (one / f).read_bytes() != (other / f).read_bytes()]


def test_a_project_of_ones_own_runs_proves_and_plans(run, fork, finished, tmp_path, monkeypatch):
    """A run from scratch elsewhere, by the installed package, gives the bytes of a checkout's.

    The installed Python runs the first jobs; the other jobs, the plans and the audit are run by
    forks, which import the installed package.
    """
    run(tmp_path, "tailproof.cli", "init", "study")
    study = tmp_path / "study"
    tiny(study, experts={ONLY: TINY["experts"][ONLY]})
    monkeypatch.chdir(study)
    run(study, "snakemake", "--cores", "2", "results/tiny/splits.parquet")
    fork(study, "snakemake", "--cores", "2")
    assert different_files(finished.results, study / "results" / "tiny") == []
    ledger = read_ledger("tiny")
    first = ledger.records["results/tiny/provenance/split/split.json"]
    assert first.command == "snakemake --cores 2 results/tiny/splits.parquet"
    fork(study, "tailproof.cli", "audit", "tiny")
    assert "Nothing to be done" in fork(study, "snakemake", "--cores", "2", "--dry-run")
    plan = fork(study, "snakemake", "--profile", "slurm", "--dry-run", "--forcerun", "split")
    assert re.search(r"^train +1$", plan, flags=re.M)
    subprocess.run(["git", "init", "--quiet", study], check=True)
    kept = subprocess.run(
        ["git", "-C", study, "status", "--porcelain", "--untracked-files=all"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "results/tiny/provenance/train/" in kept
    assert "model.safetensors" not in kept
    run(study, "dvc", "commit", "--force", "--quiet")
    cached = list((study / ".dvc" / "cache").rglob("*"))
    assert sum(path.is_file() for path in cached) > 20


def test_a_workflow_of_ones_own_uses_the_rules(fork, tmp_path):
    fork(tmp_path, "tailproof.cli", "init", "study", "--results", "out")
    study = tmp_path / "study"
    tiny(study)
    (study / "Snakefile").write_text(
        "from tailproof.project import SNAKEFILE\n\n"
        'configfile: "config/config.yaml"\n\n'
        "module tailproof:\n    snakefile: SNAKEFILE\n    config: config\n\n"
        "use rule * from tailproof as tp_*\n\n"
        "rule mine:\n    default_target: True\n"
        '    input: "out/tiny/shards/manifest.json"\n'
        '    output: "mine.txt"\n    shell: "wc -c {input} > {output}"\n'
    )
    fork(study, "snakemake", "--cores", "2")
    assert (study / "mine.txt").is_file()
    assert (study / "out" / "tiny" / "provenance" / "prepare" / "prepare.json").is_file()
    assert not (study / "results").exists()


def test_snakedeploy_deploys_the_repository(run, tmp_path):
    """The forge is a folder: git asks it in place of the host that snakedeploy names."""
    forge = tmp_path / "github"
    repository = forge / "someone" / "tailproof"
    repository.parent.mkdir(parents=True)
    shutil.copytree(ROOT, repository, ignore=shutil.ignore_patterns(*NOT_IN_GIT))
    for command in ("init --quiet --initial-branch main", "add --all", "commit --quiet -m all"):
        subprocess.run(["git", "-C", repository, *command.split()], check=True, env=GIT)
    study = tmp_path / "study"
    study.mkdir()
    deploy = ["deploy-workflow", str(repository), str(study), "--branch", "main"]
    program = "from snakedeploy.client import main; main()"
    subprocess.run([sys.executable, "-c", program, *deploy], check=True, env=GIT)
    assert 'path="Snakefile"' in (study / "workflow" / "Snakefile").read_text()
    redirect = tmp_path / "gitconfig"
    redirect.write_text(f'[url "file://{forge}/"]\n    insteadOf = https://github.com/\n')
    plan = run(
        study,
        "snakemake",
        "--dry-run",
        GIT_CONFIG_GLOBAL=str(redirect),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert "audit" in plan
