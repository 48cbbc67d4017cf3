"""How often jobs read their inputs to check them: shards of a whole run, records of many jobs.

python benchmarks/hashing.py [a checkout of another commit]

It counts the files that Python opens, which includes hashing and reading records. Reads by pyarrow,
which opens shards itself, are not counted. Bytes of shards in the tiny experiment, one expert:

| job | version 0.1 | version 0.2 |
| --- | --- | --- |
| train | 126588 | 63294 |
| infer | 299728 | 149864 |
| report | 70774 | 16508 |
| thumbnails (part of report before) | | 54266 |

The table of records needs version 0.2.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# The tests of the checkout have the tiny experiment with its keys.
sys.path.insert(0, sys.argv[1] if sys.argv[1:] else str(Path(__file__).resolve().parents[1]))
from tests.project import NEEDED, TINY

HOOK = """
import atexit, json, os, sys
opened = {}
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        path = os.path.relpath(arguments[0])
        if path.startswith("results/") and (arguments[1] or "r").startswith("r"):
            opened[path] = opened.get(path, 0) + 1
def report():
    name = os.path.basename(sys.argv[0])
    if ".py" in name and opened:
        with open(os.environ["OPENED"], "a") as file:
            file.write(json.dumps([name, opened]) + "\\n")
if "OPENED" in os.environ:
    sys.addaudithook(note)
    atexit.register(report)
"""
EXPERIMENT = {**TINY, "experts": {"cross_entropy": {}}}
JOBS = ("train", "infer", "thumbnails", "card", "report")
RECORDS = (25, 400)


def main(checkout: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        environment = prepare(checkout, project)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
        subprocess.run(command, cwd=project, env=environment, check=True)
        print("| job | shards read by Python | of them opened more than once | records read |")
        print("| --- | --- | --- | --- |")
        for name, (shards, again, records) in sorted(reads(project).items()):
            print(f"| {name} | {shards} bytes | {again} bytes | {records} |")
        os.environ.pop("OPENED")
        print("\n| records of the experiment | checking one input |\n| --- | --- |")
        for count in RECORDS:
            print(f"| {count} | {1000 * seconds(project, environment, count):.1f} ms |")


def prepare(checkout: Path, project: Path) -> dict[str, str]:
    """Link the workflow and write one tiny experiment; return the environment to run it in."""
    for name in NEEDED:
        subprocess.run(["cp", "-r", checkout / name, project / name], check=True)
    (project / "config/experiments").mkdir(parents=True)
    (project / "config/config.yaml").write_text("experiments: [tiny]\n")
    (project / "config/experiments/tiny.yaml").write_text(json.dumps(EXPERIMENT))
    hook = project / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    os.environ["OPENED"] = str(project / "opened.jsonl")
    return {**os.environ, "PYTHONPATH": f"{hook}:{project / 'src'}"}


def reads(project: Path) -> dict[str, tuple[int, int, int]]:
    """Return bytes of shards, those of second and later reads, and records, by stage."""
    found: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for line in (project / "opened.jsonl").read_text().splitlines():
        name, opened = json.loads(line)
        stage = name.rsplit(".", 2)[-2]
        shards = {
            path: n
            for path, n in opened.items()
            if path.endswith(".parquet") and "/shards/" in path
        }
        size = {path: (project / path).stat().st_size for path in shards}
        total = sum(n * size[path] for path, n in shards.items())
        again = sum((n - 1) * size[path] for path, n in shards.items())
        records = sum(n for path, n in opened.items() if "/provenance/" in path)
        if stage in JOBS:
            found[stage] = max(found[stage], (total, again, records))
    return found


def seconds(project: Path, environment: dict[str, str], count: int) -> float:
    """Return how long a job takes to check one input among so many records."""
    folder = project / "results/tiny/provenance/shard"
    first = (folder / "train-00000.json").read_text()
    for number in range(count):
        (folder / f"copy-{number:05d}.json").write_text(first)
    program = (
        "import time\n"
        "from tailproof.runtime import recorder\n"
        "files = recorder.described(['results/tiny/splits.json'])\n"
        "start = time.perf_counter()\n"
        "recorder._check_inputs(files)\n"
        "print(time.perf_counter() - start)\n"
    )
    command = [sys.executable, "-c", program]
    times = [
        float(
            subprocess.run(
                command, cwd=project, env=environment, check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(5)
    ]
    return sorted(times)[2]


if __name__ == "__main__":
    main(Path(sys.path[0]))
