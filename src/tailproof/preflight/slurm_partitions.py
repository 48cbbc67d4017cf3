"""Whether Slurm would refuse a job, asked before the first one starts."""

import shutil
import subprocess

from tailproof.runtime.errors import TailproofError, suggestion


def check_partitions(wanted: dict[str, str]) -> None:
    """Check what Slurm would refuse when a job is submitted, which may be a day from here.

    Args:
        wanted: the partitions that the jobs of a rule ask for, separated by commas, by rule.

    Raises:
        TailproofError: Slurm is not here or does not answer, or has no such partition.
    """
    if shutil.which("sbatch") is None:
        raise TailproofError(
            "the profile slurm needs Slurm's commands, and sbatch is not on the path: "
            "run on a login node of the cluster, or load Slurm's module"
        )
    command = ["sinfo", "--all", "--noheader", "--format=%R"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TailproofError(f"Slurm does not answer: {done.stderr.strip()}")
    partitions = done.stdout.split()
    for rule, name in wanted.items():
        if not set(name.split(",")) <= set(partitions):
            raise TailproofError(
                f"slurm_partition of {rule} is '{name}', a partition that this cluster does not "
                f"have{suggestion(name, partitions)}; it has: {', '.join(sorted(partitions))}; "
                "set it in slurm/config.yaml"
            )
