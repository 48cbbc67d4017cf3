"""The real pipeline through the profile slurm on a real Slurm."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.project import ROOT, TINY, Project
from tests.slurm.cluster import Cluster

LONG = {**TINY["recipe"], "epochs": 6, "checkpoint": {"steps": 20}}
# Each is held after its epoch HELD and interrupted there, or while it starts.
HELD = 4
EXPERTS = {
    "requeued": {},
    "limited": {"epochs": 7},
    "lost": {"epochs": 8},
    "starting": {"epochs": 2},
    "two_nodes": {"epochs": 2, "nodes": 2},
}
# For this cluster: it keeps no accounts.
HERE = ("--slurm-status-command", "squeue")
SNAKEMAKE = Path(__file__).with_name("eager_snakemake.py")


@dataclass(frozen=True)
class SlurmProject(Project):
    """A project with the profile, and the cluster that it is for."""

    cluster: Cluster

    @classmethod
    def on(cls, cluster: Cluster, folder: Path) -> "SlurmProject":
        """A project of which nothing was run yet."""
        project = cls(Project.fresh(folder).folder, cluster)
        shutil.copytree(ROOT / "slurm", folder / "slurm")
        project.write_experts(EXPERTS)
        return project

    def write_experts(self, experts: dict) -> None:
        tiny = {**TINY, "recipe": LONG, "experts": experts}
        self.write("config/experiments/tiny.yaml", tiny)

    @property
    def environment(self) -> dict[str, str]:
        return (
            super().environment
            | self.cluster.environment
            | {
                "PYTHONPATH": f"{self.folder / 'src'}{os.pathsep}{self.folder / 'held'}",
                "OMP_NUM_THREADS": "1",
            }
        )

    def set_resources(self, rule: str, **values: str) -> None:
        """Add to the profile's resources of a rule."""
        path = self.folder / "slurm" / "config.yaml"
        profile = yaml.safe_load(path.read_text())
        profile["set-resources"][rule] |= values
        self.write("slurm/config.yaml", profile)

    def submit(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake with the profile; what it says goes to submit.txt."""
        with open(self.folder / "submit.txt", "w") as told:
            return subprocess.Popen(
                [sys.executable, SNAKEMAKE, "--profile", "slurm", *HERE, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        return (self.folder / "submit.txt").read_text()

    def log(self, expert: str) -> str:
        path = self.folder / "logs" / "tiny" / "train" / f"{expert}-0.log"
        return path.read_text() if path.exists() else ""


def stop(process: subprocess.Popen) -> None:
    """End Snakemake at once if it still runs: asked to, it would wait for its jobs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def slurm(tmp_path, cluster) -> SlurmProject:
    """A fresh project, nothing run yet."""
    return SlurmProject.on(cluster, tmp_path)
