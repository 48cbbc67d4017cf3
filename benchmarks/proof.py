"""How long `snakemake -n` takes, next to Snakemake without our code, and an audit per gigabyte.

    make bench-proof

The same graph without our code has as many rules, jobs, inputs and outputs, and no parameters.
Processor seconds, medians and ranges: a busy neighbour changes them less than wall time.

Measured on 2 cores that many others shared, Python 3.11, Snakemake 9.27.1:

    150 jobs done       2.85 (2.78 to 2.94) s, without our code 2.06 (2.04 to 2.10) s, ratio 1.38
    1,034 jobs to do    7.94 s, without our code 4.22 s (one run), ratio 1.88
"""

import json
import os
import resource
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
MANY = {  # 993 trainings, of 170 points with 3 seeds
    "grid": {"optimizer.weight_decay": [number / 1e5 for number in range(170)]},
    "halving": {"rungs": [1, 2, 3, 4]},
}
PLAIN = """\
import json

with open("stages.json") as file:
    STAGES = json.load(file)


rule all:
    input:
        [
            f"out/{stage}/{job}/{number}"
            for stage, value in STAGES.items()
            for job in value["jobs"]
            for number in range(value["outputs"])
        ],


for stage in STAGES:

    rule:
        name: stage
        input:
            lambda w, stage=stage: STAGES[stage]["jobs"][w.job],
        output:
            [f"out/{stage}/{{job}}/{number}" for number in range(STAGES[stage]["outputs"])],
        shell:
            "touch {output}"
"""


def main() -> None:
    modules = sorted((ROOT / "src").rglob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        first, *times = [seconds_of_digests(folder) for _ in range(REPEATS + 1)]
        text = f"{spread(times)} s, the first time {first:.2f} s"
        print(f"digest of the code of all {len(modules)} modules: {text}")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "ours")
        jobs = finished(project)
        plain = without_our_code(jobs, Path(folder, "plain"), done=True)
        compare(f"snakemake -n, {len(jobs)} jobs done", project, plain, "Nothing to be done")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "ours")
        write_project(project, seeds=3, sweep=MANY)
        jobs = planned(project)
        plain = without_our_code(jobs, Path(folder, "plain"), done=False)
        compare(f"snakemake -n, {len(jobs)} jobs to do", project, plain, f"total {len(jobs) + 1}")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(FILES)]
        for path in paths:
            path.write_bytes(os.urandom(MEGABYTES * 2**20))
        sha256_files(paths)  # warms the cache
        times = [seconds(lambda: sha256_files(paths)) for _ in range(REPEATS)]
        rates = [FILES * MEGABYTES / 1024 / taken for taken in times]
        print(f"hashing, {FILES} files of {MEGABYTES} MiB, warm: {spread(rates)} GiB/s")


def seconds_of_digests(cache: str) -> float:
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
        return float(run(ROOT, "-c", program, str(script), XDG_CACHE_HOME=cache).stdout)


def compare(title: str, ours: Path, plain: Path, expected: str) -> None:
    """Time dry runs of both in turn, and print a row for each."""
    times = {"ours": [], "without our code": []}
    for _ in range(REPEATS):
        for name, project in zip(times, (ours, plain), strict=True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = run(project, "-m", "snakemake", "-n", "--quiet", "rules")
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
            assert expected in " ".join((done.stdout + done.stderr).split()), done.stdout
            times[name].append(cpu)
    for name, values in times.items():
        print(f"{title}, {name}: {spread(values)} s of processor time")
    print(f"ratio: {statistics.median(times['ours']) / statistics.median(values):.2f}")


def copy_workflow(project: Path) -> None:
    """Copy the workflow and the package into a new project."""
    for name in NEEDED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project / name)


def write_project(project: Path, seeds: int, **sections: object) -> None:
    """Make a project with one experiment, `many`."""
    project.mkdir()
    copy_workflow(project)
    experiment = {
        "title": "Many seeds",
        "data": {"source": {"name": "digits"}},
        "recipe": {"epochs": 5, "export": "best"},
        "seeds": list(range(seeds)),
        **sections,
    }
    (project / "config/experiments").mkdir(parents=True)
    (project / "config/experiments/many.yaml").write_text(yaml.safe_dump(experiment))
    (project / "config/config.yaml").write_text("experiments: [many]\n")


def planned(project: Path) -> list[dict]:
    """Return the stage, the inputs and the outputs of each job of the experiment."""
    program = (
        "import json; from tailproof.provenance.snakemake_bridge import plan\n"
        "jobs = plan('results/many/audit.json')\n"
        "print(json.dumps([[job.rule, job.inputs, job.outputs] for job in jobs]))\n"
    )
    return json.loads(run(project, "-c", program).stdout)


def finished(project: Path) -> list[dict]:
    """Make a project whose outputs are there and known to Snakemake; return its jobs.

    The stages to the preflight are run, since planning reads their results.
    """
    write_project(project, SEEDS, experts={"cross_entropy": {}})
    run(project, "-m", "snakemake", "--cores", "2", "results/many/preflight.json")
    jobs = planned(project)
    for path in [Path(project, path) for _, _, outputs in jobs for path in outputs]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run(project, "-m", "snakemake", "--touch", "--forceall", "--cores", "1")
    return jobs


def without_our_code(jobs: list[dict], plain: Path, *, done: bool) -> Path:
    """Make a project with the same graph: rules, jobs, inputs and outputs."""
    stages, places = {}, {}
    for number, (rule, _, outputs) in enumerate(jobs):
        stage = stages.setdefault(f"{rule}_{len(outputs)}", {"outputs": len(outputs), "jobs": {}})
        stage["jobs"][str(number)] = []
        for place, path in enumerate(outputs):
            places[path] = f"out/{rule}_{len(outputs)}/{number}/{place}"
    for number, (rule, inputs, outputs) in enumerate(jobs):
        listed = stages[f"{rule}_{len(outputs)}"]["jobs"][str(number)]
        listed += [places[path] for path in inputs if path in places]
    plain.mkdir()
    (plain / "stages.json").write_text(json.dumps(stages))
    (plain / "Snakefile").write_text(PLAIN)
    if done:
        for path in map(plain.joinpath, places.values()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        run(plain, "-m", "snakemake", "--touch", "--forceall", "--cores", "1")
    return plain


def run(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src"), **variables},
        check=True,
        capture_output=True,
        text=True,
    )


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
