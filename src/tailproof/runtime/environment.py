"""Describes the code and the machine of a running job, for its record."""

import getpass
import os
import platform
import resource
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from tailproof.runtime.code_digest import runtime_digest
from tailproof.runtime.git import ask_git, working_tree_difference
from tailproof.runtime.packages import installed
from tailproof.runtime.records import Code, Machine


def describe_code(closure: str, packages: Iterable[str]) -> Code:
    """Return the running code: Tailproof's version and digests, and the project's git commit."""
    root = Path()
    commit = ask_git(root, "rev-parse", "HEAD")
    difference = working_tree_difference(root) if commit else None
    return Code(
        version=version_now(),
        closure=closure,
        runtime=runtime_digest(),
        commit=commit.decode().strip() if commit else None,
        dirty=difference is not None,
        difference=difference,
        packages={name: installed(name) for name in packages},
        python=platform.python_version(),
    )


def version_now() -> str:
    """Return the version of this package."""
    return installed("tailproof")


def describe_machine(threads: int) -> Machine:
    """Return the machine that this process runs on and its peak memory so far."""
    peaks = [resource.getrusage(who).ru_maxrss for who in _PROCESSES]
    return Machine(
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        user=_user(),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        device=_device(),
        threads=threads,
        peak_memory_bytes=max(peaks) * (1 if sys.platform == "darwin" else 1024),
    )


def snakemake_command() -> str:
    """Return the command line of the Snakemake that started this process, or its own."""
    for process in psutil.Process().parents():
        words = process.cmdline()
        if any("snakemake" in Path(word).name for word in words[:3]):
            return " ".join(["snakemake", *words[_first(words) :]])
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _first(words: list[str]) -> int:
    return 1 + next(i for i, word in enumerate(words) if "snakemake" in Path(word).name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
