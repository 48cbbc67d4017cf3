"""How long `snakemake -n` takes on a finished experiment of 100 jobs, and an audit per gigabyte.

make bench-proof
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tailproof.digests import sha256_files
from tailproof.project import PIPELINE as ROOT

NEEDED = ("Snakefile", "rules", "workflow", "envs", "src", "profiles", "constraints.txt")
SEEDS = 22  # 22 experts of 4 jobs each, and 12 jobs besides
REPEATS = 5
FILES, MEGABYTES = 8, 256


def main() -> None:
    modules = sorted((ROOT / "src").rglob("*.py"))
    times = [seconds_of_digests() for _ in range(REPEATS)]
    print(f"digest of the code of all {len(modules)} modules: {spread(times)} s")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        jobs = finished(project)
        times = [seconds(snakemake(project, "-n")) for _ in range(REPEATS)]
        print(f"snakemake -n, {jobs} jobs done: {spread(times)} s")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(FILES)]
        for path in paths:
            path.write_bytes(os.urandom(MEGABYTES * 2**20))
        sha256_files(paths)  # warms the cache
        times = [seconds(lambda: sha256_files(paths)) for _ in range(REPEATS)]
        rates = [FILES * MEGABYTES / 1024 / taken for taken in times]
        print(f"hashing, {FILES} files of {MEGABYTES} MiB, warm: {spread(rates)} GiB/s")


def seconds_of_digests() -> float:
    """Time it in a process of its own, since a module is remembered once it was read."""
    source = ROOT / "src"
    names = [
        ".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")
    ]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "all.py")
        script.write_text("".join(f"import {name.removesuffix('.__init__')}\n" for name in names))
        program = (
            "import sys, time; from tailproof.runtime.code_digest import code_digest;"
            "start = time.perf_counter(); code_digest(sys.argv[1]);"
            "print(time.perf_counter() - start)"
        )
        return float(run(ROOT, "-c", program, str(script)).stdout)


def finished(project: Path) -> int:
    """Make a project whose outputs are there and known to Snakemake; return how many jobs."""
    for name in NEEDED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project / name)
    experiment = {
        "title": "Many seeds",
        "data": {"source": {"name": "digits"}},
        "experts": {"cross_entropy": {}},
        "seeds": list(range(SEEDS)),
    }
    (project / "config/experiments").mkdir(parents=True)
    (project / "config/experiments/many.yaml").write_text(yaml.safe_dump(experiment))
    (project / "config/config.yaml").write_text("experiments: [many]\n")
    program = (
        "from tailproof.provenance.snakemake_bridge import plan; from pathlib import Path\n"
        "jobs = plan('results/many/audit.json')\n"
        "for path in [Path(path) for job in jobs for path in job.outputs]:\n"
        "    path.parent.mkdir(parents=True, exist_ok=True)\n"
        "    path.touch()\n"
        "print(len(jobs))\n"
    )
    made = run(project, "-c", program)
    snakemake(project, "--touch", "--forceall", "--cores", "1")()
    dry_run = snakemake(project, "-n")()
    assert "Nothing to be done" in dry_run.stdout + dry_run.stderr, dry_run.stdout
    return int(made.stdout)


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        check=True,
        capture_output=True,
        text=True,
    )


def snakemake(project: Path, *arguments: str):
    return lambda: run(project, "-m", "snakemake", *arguments)


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
