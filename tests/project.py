"""The real pipeline, run by the real Snakemake in a copy of the repository."""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.warm_python import run_module

ROOT = Path(__file__).resolve().parents[1]

NEEDED = ("Snakefile", "rules", "workflow", "envs", "src", "profiles", "constraints.txt")

TINY = {
    "title": "Tiny digits",
    "data": {"source": {"name": "digits"}, "long_tail": {"kind": "exponential", "imbalance": 10}},
    "recipe": {"model": {"name": "cifar_resnet20"}, "epochs": 2, "batch_size": 64},
    "experts": {
        "cross_entropy": {"loss": {"name": "cross_entropy"}},
        "balanced_softmax": {"loss": {"name": "balanced_softmax"}},
        "logit_adjustment": {"loss": {"name": "logit_adjustment", "tau": 2}},
    },
    "evaluation": {"many_shot": 50, "few_shot": 20, "bootstrap": 100},
}


@cache
def _compile_source() -> None:
    """Compile what projects copy, so that no process of theirs does it again.

    The hash of a file's text decides whether its code is taken: a test may edit the file.
    """
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(ROOT / "src", quiet=1, invalidation_mode=mode)


@dataclass(frozen=True)
class Project:
    """A copy of what the workflow needs, with one tiny experiment."""

    folder: Path

    @classmethod
    def fresh(cls, folder: Path) -> "Project":
        """A project of which nothing was run yet."""
        folder.mkdir(exist_ok=True)
        _compile_source()
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                ignore = shutil.ignore_patterns("*.egg-info", "*.pyc.*")  # being written
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy(source, folder / name)
        project = cls(folder)
        project.write("config/config.yaml", {"experiments": ["tiny"], "results": "results"})
        project.write("config/experiments/tiny.yaml", TINY)
        return project

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def copy(self, folder: Path) -> "Project":
        """The same project with its results elsewhere, to be changed."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def write(self, name: str, value: dict) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    @property
    def environment(self) -> dict[str, str]:
        """The project's own package first."""
        return {**os.environ, "PYTHONPATH": str(self.folder / "src")}

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("snakemake", "--cores", "2", *arguments)

    def plan(self, *targets: str) -> subprocess.CompletedProcess:
        """Ask Snakemake which jobs it would run."""
        return self.snakemake("--dry-run", *targets)

    def tailproof(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run("tailproof.cli", *arguments)

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
        return run_module(self.folder, self.environment, module, *arguments)
