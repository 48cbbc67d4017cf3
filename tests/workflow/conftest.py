"""The real pipeline, run by the real Snakemake in a copy of the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

TINY = {
    "title": "Tiny digits",
    "data": {"source": {"name": "digits"}, "profile": {"kind": "exponential", "imbalance": 10}},
    "recipe": {"model": {"name": "cifar_resnet20"}, "epochs": 2, "batch_size": 64},
    "experts": {
        "cross_entropy": {"loss": {"name": "cross_entropy"}},
        "balanced_softmax": {"loss": {"name": "balanced_softmax"}},
        "logit_adjust": {"loss": {"name": "logit_adjust", "tau": 2}},
    },
    "evaluation": {"many": 50, "few": 20, "bootstrap": 100},
}


class Project:
    """A copy of what the workflow needs, with one tiny experiment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "rules", "workflow", "envs", "src", "profiles"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source,
                    folder / name,
                    ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
                )
            else:
                shutil.copy(source, folder / name)
        self.write("config/config.yaml", {"experiments": ["tiny"]})
        self.write("config/experiments/tiny.yaml", TINY)

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def write(self, name: str, value: dict) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def project(tmp_path) -> Project:
    """A fresh project, nothing run yet."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose tiny experiment has been run whole."""
    project = Project(tmp_path_factory.mktemp("finished"))
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return project
