"""A tiny experiment that was published: a git repository, and DVC's remote in a folder."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import ROOT
from tests.warm_python import run_module

IDENTITY = {
    f"GIT_{role}_{fact}": value
    for role in ("AUTHOR", "COMMITTER")
    for fact, value in (("NAME", "A Reader"), ("EMAIL", "reader@example.org"))
}
OF_DVC = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots")


@dataclass(frozen=True)
class Checkout:
    """A working copy, in which real commands are run."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The copy's own package first."""
        own = {
            "PYTHONPATH": str(self.folder / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc" / "tmp" / "site"),
        }
        return {**os.environ, **IDENTITY, **own}

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Run a command of the system or of this environment."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self, *command: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def tailproof(self, *arguments: str) -> subprocess.CompletedProcess:
        return run_module(self.folder, self.environment, "tailproof.cli", *arguments)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        command = ("snakemake", "--cores", "2", *arguments)
        return run_module(self.folder, self.environment, *command)

    def copy(self, folder: Path) -> "Checkout":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)


@dataclass(frozen=True)
class Published:
    """Where an experiment was published from, and to.

    Attributes:
        checkout: where it was run; to be copied before it is changed.
        origin: the bare git repository.
        remote: the folder that DVC pushed to.
        staged: what `tailproof publish` left in git's index, before it was committed.
    """

    checkout: Checkout
    origin: Path
    remote: Path
    staged: set[str]

    def clone(self, folder: Path) -> Checkout:
        """A fresh clone; DVC's files are still to be pulled."""
        Checkout(self.origin).told("git", "clone", "--quiet", str(self.origin), str(folder))
        return Checkout(folder)


@pytest.fixture(scope="session")
def published(finished, tmp_path_factory) -> Published:
    """The finished experiment, committed to git, published, pushed."""
    place = tmp_path_factory.mktemp("published")
    origin, remote = place / "origin.git", place / "remote"
    checkout = Checkout(finished.copy(place / "checkout").folder)
    add_dvc(checkout.folder)
    checkout.told("git", "init", "--quiet", "--initial-branch", "main")
    checkout.told("dvc", "remote", "add", "--default", "shared", str(remote))
    checkout.told("git", "add", "--", ".", ":!results")
    checkout.told("git", "commit", "--quiet", "--message", "Code")
    done = checkout.tailproof("publish")
    assert done.returncode == 0, done.stdout + done.stderr
    staged = set(checkout.told("git", "diff", "--cached", "--name-only").splitlines())
    checkout.told("git", "commit", "--quiet", "--message", "Publish tiny")
    checkout.told("dvc", "push", "--quiet")
    checkout.told("git", "clone", "--quiet", "--bare", ".", str(origin))
    checkout.told("git", "remote", "add", "origin", str(origin))
    return Published(checkout, origin, remote, staged)


def add_dvc(folder: Path) -> None:
    """Copy what the repository tells DVC, without what DVC keeps beside it."""
    for name in OF_DVC:
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target)
        else:
            shutil.copy(ROOT / name, target)
