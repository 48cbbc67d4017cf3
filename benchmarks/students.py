"""What do students of the demo's ensemble learn, and from which answers?

    make bench-students                                # 5 seeds
    python benchmarks/students.py --folds 3 --seeds 0  # also held-out answers

Every expert of `config/experiments/digits_lt.yaml` is trained with every seed, and so is a student
of their stacked ensemble for each of `STUDENTS`. The student has the network and the recipe of
`balanced_softmax`. The table shows means over seeds on test with paired bootstrap intervals, as the
evaluation measures them. With `--folds K`, each expert is also trained K times on train without
every K-th image of a class, and students learn what these K networks answer for the images that
they have not seen.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data import build
from rich.console import Console
from rich.table import Table

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export
from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.config.splits import CALIBRATED
from tailproof.config.validation import load_experiment
from tailproof.data.logits import Logits
from tailproof.digests import sha256_file
from tailproof.evaluation.evaluate import evaluate
from tailproof.evaluation.teacher import Teaching, teach
from tailproof.files import read_json, write_json
from tailproof.predict.infer import infer
from tailproof.training.launcher import launch

EXPERIMENT = Path(__file__).parents[1] / "config" / "experiments" / "digits_lt.yaml"
LIKE = "balanced_softmax"
STUDENTS = {"T 2, weight 0.5": (2, 0.5), "T 4, weight 0.5": (4, 0.5)}
OWN, HELD_OUT = "own", "held-out"
"""Answers of experts for images that they have learnt, and that they have not."""


class Bench(NamedTuple):
    """What is trained, and where its files are."""

    experiment: Experiment
    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "shards" / "manifest.json"

    def train(
        self, name: str, recipe: Recipe, seed: int, manifest: Path | None = None, teacher=None
    ) -> Path:
        """Train an expert unless it is there, and write its logits for the six splits."""
        place = self.folder / "experts" / name / f"seed-{seed}"
        if not (place / "raw_logits" / "test.parquet").exists():
            states, log = self.folder / "states", self.folder / "log"
            own = manifest or self.manifest
            launch(own, recipe, seed, place, states, "", log, teacher=teacher)
            infer(place, name, seed, self.manifest, place / "raw_logits", 1, 1e9, 0)
        if not (place / "logits" / "test.parquet").exists():
            splits = self.experiment.calibration.splits
            raw = {split: place / "raw_logits" / f"{split}.parquet" for split in CALIBRATED}
            calibration = place / "calibration.json"
            calibrate(
                {split: raw[split] for split in splits}, self.experiment.calibration, calibration
            )
            export(raw, calibration, {s: place / "logits" / f"{s}.parquet" for s in CALIBRATED})
        return place

    def teach(self, seed: int, folds: int) -> dict[str, Path]:
        """Return the answers that students of a seed can learn."""
        experts = {
            name: self.train(name, recipe, seed) for name, recipe in self.experiment.experts.items()
        }
        raw = {OWN: {name: place / "raw_logits/train.parquet" for name, place in experts.items()}}
        if folds:
            raw[HELD_OUT] = {
                name: self.held_out(name, place, seed, folds) for name, place in experts.items()
            }
        answers = {}
        for kind, paths in raw.items():
            files = {
                name: Teaching(
                    paths[name], place / "calibration.json", place / "logits/tune.parquet"
                )
                for name, place in experts.items()
            }
            answers[kind] = self.folder / f"teacher-{kind}-{seed}.parquet"
            known = teach(files, seed, answers[kind])
            print(f"seed {seed}, {kind} answers:", {key: known[key] for key in ("train", "tune")})
        return answers

    def held_out(self, name: str, place: Path, seed: int, folds: int) -> Path:
        """Write what networks that are trained on the rest of train answer for each fold of it."""
        whole = Logits.read(place / "raw_logits" / "train.parquet")
        fold = folds_of(whole.target, folds)
        values = whole.values.copy()
        for number in range(folds):
            manifest = self.without(fold == number, f"fold-{number}-of-{folds}")
            recipe = self.experiment.experts[name]
            own = self.train(f"{name}-fold-{number}-of-{folds}", recipe, seed, manifest)
            answered = Logits.read(own / "raw_logits" / "train.parquet")
            values[fold == number] = answered.values[fold == number]
        path = place / f"held-out-{folds}.parquet"
        heads = {whole.metadata["target"]: values}
        Logits(whole.sample_ids, whole.labels, whole.weight, heads, whole.metadata).write(path)
        return path

    def without(self, left_out: np.ndarray, name: str) -> Path:
        """Write shards of train without some rows, and their manifest."""
        place, manifest = self.folder / name, read_json(self.manifest)
        shards = manifest["splits"]["train"]["shards"]
        rows = pa.concat_tables(pq.read_table(self.manifest.parent / own["path"]) for own in shards)
        rows = rows.filter(pa.array(~left_out))
        place.mkdir(exist_ok=True)
        pq.write_table(rows, place / "train.parquet")
        for split in manifest["splits"].values():
            for own in split["shards"]:
                own["path"] = str((self.manifest.parent / own["path"]).resolve())
        target, path = manifest["target"], (place / "train.parquet").resolve()
        labels, counts = np.unique(rows[target].to_numpy(), return_counts=True)
        named = [manifest["classes"][target][label] for label in labels]
        manifest["splits"]["train"] = {
            "rows": len(rows),
            "class_counts": {target: dict(zip(named, counts.tolist(), strict=True))},
            "shards": [
                {
                    "path": str(path),
                    "rows": len(rows),
                    "sha256": sha256_file(path),
                    "bytes": path.stat().st_size,
                }
            ],
        }
        write_json(place / "manifest.json", manifest)
        return place / "manifest.json"


def folds_of(labels: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each sample, every K-th of a class."""
    fold = np.zeros(len(labels), int)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % folds
    return fold


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(".state/bench-students"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folds", type=int, default=0)
    arguments = parser.parse_args()
    bench = Bench(load_experiment(EXPERIMENT), arguments.folder)
    if not bench.manifest.exists():
        build(bench.experiment.data, arguments.folder)
    places: dict[str, dict[int, Path]] = {}
    for seed in arguments.seeds:
        answers = bench.teach(seed, arguments.folds)
        for name, recipe in bench.experiment.experts.items():
            places.setdefault(name, {})[seed] = bench.train(name, recipe, seed)
        for kind, teacher in answers.items():
            for words, (temperature, weight) in STUDENTS.items():
                name = f"{kind} answers, {words}"
                distill = {"temperature": temperature, "weight": weight}
                fields = bench.experiment.experts[LIKE].model_dump(exclude_unset=True)
                recipe = Recipe.model_validate(fields | {"distill": distill})
                places.setdefault(name, {})[seed] = bench.train(name, recipe, seed, None, teacher)
    students = [name for name in places if name not in bench.experiment.experts]
    files = {
        name: {
            seed: {split: place / "logits" / f"{split}.parquet" for split in CALIBRATED}
            for seed, place in seeds.items()
        }
        for name, seeds in places.items()
    }
    output = arguments.folder / "evaluation"
    metrics = evaluate(
        files, bench.manifest, bench.experiment.evaluation, output, students=students
    )
    show(metrics)


def show(metrics: dict) -> None:
    """Print how far each student gets, in points of balanced accuracy on test."""
    table = Table(title="Balanced accuracy on test, points [95 %]")
    for head in (
        "",
        "balanced accuracy",
        "from the best expert",
        "beyond half of the distance",
        "share",
    ):
        table.add_column(head)
    methods = metrics["experts"] | metrics["ensembles"]
    for name, method in methods.items():
        own = method["over_seeds"]["test"]["balanced_accuracy"]
        cells = [interval(own, "mean")]
        if values := metrics["students"]["test"].get(name):
            values = values["balanced_accuracy"]
            cells += [interval(values[part], "difference") for part in ("gained", "beyond_half")]
            cells += [interval(values["share"], "value") if values["share"] else "uncertain"]
        table.add_row(name, *cells)
    Console(width=140).print(table)
    first = next(iter(metrics["students"]["test"].values()))
    print("best expert on dev:", first["best_expert"])
    distance = first["balanced_accuracy"]["distance"]
    print("from it to the ensemble:", interval(distance, "difference"))


def interval(value: dict, main: str) -> str:
    """Write a value with its interval, in percent."""
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * value[key] for key in (main, "low", "high")))


if __name__ == "__main__":
    main()
