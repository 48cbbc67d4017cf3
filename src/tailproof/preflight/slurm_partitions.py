"""Checks that Slurm accepts the partitions of all jobs before the first one starts."""

import shutil
import subprocess

from tailproof.runtime.errors import TailproofError, suggestion


def check_partitions(wanted: dict[str, str]) -> None:
    """Check that all partitions exist, since some jobs are submitted only much later.

    Args:
        wanted: the comma-separated partitions of each rule, by rule.

    Raises:
        TailproofError: Slurm is not installed, does not answer, or lacks a partition.
    """
    if shutil.which("sbatch") is None:
        raise TailproofError(
            "the profile slurm needs sbatch, which is not on the PATH: run on a login node of the "
            "cluster or load the Slurm module"
        )
    command = ["sinfo", "--all", "--noheader", "--format=%R"]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise TailproofError(f"Slurm does not answer: {done.stderr.strip()}")
    partitions = done.stdout.split()
    for rule, name in wanted.items():
        if not set(name.split(",")) <= set(partitions):
            raise TailproofError(
                f"slurm_partition of {rule} is '{name}'{suggestion(name, partitions)}, expected "
                f"one of {', '.join(sorted(partitions))}: set it in slurm/config.yaml"
            )
