"""What the pipeline adds to its computations: an experiment next to one bare process.

    make bench-overhead

The bare process makes the same shards, trains the same experts, and computes the same logits and
metrics with the functions that the stages call: without Snakemake, records, checks, diagnosis,
cards, report and audit. Both start in empty folders and import everything themselves. The table
shows processor time, which a busy neighbour changes less than wall time. Each process of the
pipeline counts itself. What no process counts, such as loader workers, is in the last row.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proof import copy_workflow
from rich.console import Console
from rich.table import Table
from same_results import files_of

from tailproof.project import PIPELINE as ROOT

METER = """\
import atexit, json, os, resource, sys, time

start = time.time()


def note():
    used = resource.getrusage(resource.RUSAGE_SELF)
    path = sys.argv[0].split(os.sep)
    name = path[-1].split(".")[-2] if "scripts" in path else path[-2] if len(path) > 1 else "other"
    line = [name, used.ru_utime + used.ru_stime, time.time() - start]
    with open(os.environ["METER"], "a") as file:
        file.write(json.dumps(line) + "\\n")


atexit.register(note)
"""


def processor_seconds(command: list[str], folder: Path, **variables: str) -> tuple[float, float]:
    """Run a command in a folder; return processor and wall seconds, with all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start


def run_pipeline(folder: Path, experiment: str, cores: int) -> tuple[float, float, dict]:
    """Return processor and wall seconds, and by stage: processes, processor and wall seconds."""
    copy_workflow(folder)
    shutil.copytree(ROOT / "config", folder / "config", dirs_exist_ok=True)
    (folder / "config/config.yaml").write_text(f"experiments: [{experiment}]\n")
    (folder / "meter").mkdir()
    (folder / "meter/sitecustomize.py").write_text(METER)
    path = os.pathsep.join((str(folder / "src"), str(folder / "meter")))
    meter = folder / "meter/times"
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "all"]
    cpu, wall = processor_seconds(command, folder, PYTHONPATH=path, METER=str(meter))
    stages = defaultdict(lambda: [0, 0.0, 0.0])
    for line in meter.read_text().splitlines():
        stage, *seconds = json.loads(line)
        for place, value in enumerate((1, *seconds)):
            stages[stage][place] += value
    return cpu, wall, stages


def run_bare(experiment: str) -> None:
    """Compute an experiment in this process and folder; print processor seconds by stage."""
    seconds = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        seconds[stage] = seconds.get(stage, 0) + time.process_time() - start

    with timed("imports"):
        from data import build

        from tailproof.calibration.calibrate import calibrate
        from tailproof.calibration.export import export
        from tailproof.config.splits import CALIBRATED, SPLITS
        from tailproof.config.validation import load_experiment
        from tailproof.evaluation.evaluate import evaluate
        from tailproof.predict.infer import infer
        from tailproof.training.launcher import launch
    config = load_experiment(ROOT / "config/experiments" / f"{experiment}.yaml")
    results = Path("results", experiment)
    with timed("data"):
        manifest = build(config.data, results)
    logits = {}
    for name, recipe in config.experts.items():
        for seed in config.seeds:
            folder = results / "experts" / name / f"seed-{seed}"
            raw, calibrated = (
                {split: folder / kind / f"{split}.parquet" for split in splits}
                for kind, splits in (("raw_logits", SPLITS), ("logits", CALIBRATED))
            )
            with timed("train"):
                launch(manifest, recipe, seed, folder, ".state", "bare", "train.log")
            with timed("infer"):
                threads = recipe.threads or os.cpu_count()
                infer(folder, name, seed, manifest, folder / "raw_logits", threads, 2**30, 0)
            with timed("calibrate"):
                fitted_on = {split: raw[split] for split in config.calibration.splits}
                calibrate(fitted_on, config.calibration, folder / "calibration.json")
            with timed("export"):
                shown = {split: raw[split] for split in calibrated}
                export(shown, folder / "calibration.json", calibrated)
            logits.setdefault(name, {})[str(seed)] = {
                split: calibrated[split] for split in ("tune", "dev", "test")
            }
    with timed("evaluate"):
        evaluate(logits, manifest, config.evaluation, results / "evaluation")
    Path("seconds.json").write_text(json.dumps(seconds))


def show(stages: dict, bare: dict, totals: dict) -> None:
    """Print the tables."""
    table = Table(title="by stage")
    for head in ("stage", "processes", "processor s", "wall s", "bare, processor s"):
        table.add_column(head, justify="left" if head == "stage" else "right")
    rest = totals["pipeline"][0] - sum(values[1] for values in stages.values())
    listed = sorted(stages.items(), key=lambda item: -item[1][1])
    for stage, (count, cpu, wall) in [*listed, ("not counted", (0, rest, 0.0))]:
        own = bare.pop(stage, None)
        texts = ("" if value is None else f"{value:.1f}" for value in (cpu, wall, own))
        table.add_row(stage, str(count), *texts)
    for stage, own in bare.items():
        table.add_row(f"{stage} (bare only)", "", "", "", f"{own:.1f}")
    Console().print(table)
    for name, (cpu, wall) in totals.items():
        print(f"{name:<10} {cpu:7.1f} s of processor time, {wall:7.1f} s")
    ratios = [a / b for a, b in zip(totals["pipeline"], totals["bare"], strict=True)]
    print(f"pipeline / bare: {ratios[0]:.2f} of processor time, {ratios[1]:.2f} of wall time")


def main() -> None:
    """Run both and compare them, results included."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", default="digits_lt")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--bare", action="store_true", help="compute in this process and folder")
    options = parser.parse_args()
    if options.bare:
        run_bare(options.experiment)
        return
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        pipeline, bare = Path(first), Path(second)
        command = [sys.executable, __file__, options.experiment, "--bare"]
        totals = {"bare": processor_seconds(command, bare)}
        *total, stages = run_pipeline(pipeline, options.experiment, options.cores)
        totals["pipeline"] = tuple(total)
        show(stages, json.loads((bare / "seconds.json").read_text()), totals)
        one, other = (
            files_of(place / "results" / options.experiment) for place in (bare, pipeline)
        )
        same = sum(content == other.get(path) for path, content in one.items())
        print(f"{same} of {len(one)} weights, histories and logits are the same bytes")


if __name__ == "__main__":
    main()
