"""A small results folder: drawn logits and pictures, everything else by the stages' own code."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.export import export
from tailproof.config.experiment import Experiment
from tailproof.config.splits import SPLITS
from tailproof.data.grey_thumbnail import SIDE, thumbnail
from tailproof.data.images import encode_png
from tailproof.data.leakage import measure_leakage
from tailproof.data.logits import Logits
from tailproof.data.near_duplicates import list_near_duplicates
from tailproof.data.splits import summarise
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.data.thumbnails import write_class_thumbnails
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.readers import read_history
from tailproof.digests import sha256_bytes
from tailproof.evaluation.evaluate import evaluate
from tailproof.files import write_json
from tailproof.guarantees.guarantee import guarantee
from tailproof.inspection.held_out_predictions import INSPECTED
from tailproof.inspection.inspect import inspect
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.records import File, Record

HELD_OUT = {"tune": 8, "dev": 6, "test": 12}
EPOCHS = 5
ATTEMPTS = [  # of even and odd seeds
    [{"first_epoch": 1, "last_epoch": 3}, {"first_epoch": 4, "last_epoch": EPOCHS}],
    [{"first_epoch": 1, "last_epoch": EPOCHS}],
]


def class_counts(classes: int, largest: int = 60, imbalance: float = 20) -> np.ndarray:
    share = imbalance ** (-np.arange(classes) / max(classes - 1, 1))
    return np.maximum(1, (largest * share).astype(int))


def write_results(
    folder: Path,
    classes: list[str],
    experts=("plain", "adjusted"),
    seeds=(0, 1),
    held_out=HELD_OUT,
    positive=None,
    students=(),
    **changes,
) -> Experiment:
    """Fill results/NAME with all that the report reads; return the configuration."""
    experiment = Experiment.model_validate(
        {
            "title": "Drawn digits",
            "description": "Logits from a random generator.",
            "data": {"source": {"name": "digits"}},
            "recipe": {"epochs": EPOCHS},
            "experts": {
                name: {"loss": {"name": "logit_adjustment", "tau": index}}
                | ({"distill": {}} if name in students else {})
                for index, name in enumerate(experts)
            },
            "seeds": list(seeds),
            "evaluation": {"many_shot": 40, "few_shot": 10, "bootstrap": 100},
            **changes,
        }
    )
    train = class_counts(len(classes))
    counts = {
        split: train // (1 if split == "train" else 3) if split in SPLITS[:3] else None
        for split in SPLITS
    } | {split: np.full(len(classes), count) for split, count in held_out.items()}
    labels = {split: np.repeat(np.arange(len(classes)), count) for split, count in counts.items()}
    _write_data(folder, classes, counts, labels, positive)
    _write_near_duplicates(folder, classes, labels, experiment)
    files = {
        expert: {
            seed: _write_expert(folder, expert, seed, index, train, labels, experiment)
            for seed in seeds
        }
        for index, expert in enumerate(experts)
    }
    manifest = folder / "shards" / "manifest.json"
    evaluate(files, manifest, experiment.evaluation, folder / "evaluation", students=students)
    guarantee(
        files,
        manifest,
        folder / "samples.parquet",
        experiment.evaluation,
        experiment.guarantees,
        folder.name,
        folder / "evaluation",
        students=students,
    )
    _inspect(folder, files, experiment)
    _write_preflight(folder, experiment)
    rows = {split: len(each) for split, each in labels.items()}
    known = {"balanced_accuracy": 0.995, "confidence": 0.9}
    taught = {"teacher": {"weights": {}, "train": known, "tune": known}}
    _write_records(folder, experiment, {"export": {"rows": rows}, "teach": taught})
    if students:
        _write_cost(folder, experiment)
    return experiment


def _inspect(folder: Path, files: dict, experiment: Experiment) -> None:
    logits = {
        split: [paths[split] for seeds in files.values() for paths in seeds.values()]
        for split in INSPECTED
    }
    manifest = folder / "shards" / "manifest.json"
    inspect(
        manifest,
        folder / "samples.parquet",
        logits,
        experiment.evaluation,
        folder / "inspection",
    )


def _write_cost(folder: Path, experiment: Experiment) -> None:
    single = {"parameters": 460_000, "multiply_adds": 69_000_000, "images_per_second": 900.0}
    parts = len(experiment.combined)
    ensemble = {"parameters": parts * 460_000, "multiply_adds": parts * 69_000_000}
    methods = dict.fromkeys(experiment.evaluated, single)
    methods["stacked"] = ensemble | {"images_per_second": 900.0 / parts}
    cost = {"device": "a processor", "threads": 1, "batch_size": 32, "methods": methods}
    write_json(folder / "experts" / "cost.json", cost)


def _write_preflight(folder: Path, experiment: Experiment) -> None:
    """Write what the preflight estimated: epochs of 2 s, and one warning."""
    names = list(experiment.experts)
    warning = Finding(
        "no_schedule", "the rate <stays> the same", "warning", evidence={"experts": names},
        change={"schedule": {"name": "cosine"}}, expects="a lower loss at the end",
    )  # fmt: skip
    sizes = {"epochs": EPOCHS, "weights_mb": 2.0, "checkpoints_mb": 8.0, "logits_mb": 1.0}
    found = {"experts": dict.fromkeys(names, sizes), "findings": [warning.to_jsonable()]}
    timed = {"epoch": [2.0], "run": 11.0, "peak_memory_mb": 300.0, "host_memory_mb": 300.0}
    probe = {"device": "a processor", "experts": dict.fromkeys(names, timed), "findings": []}
    write_json(folder / "preflight.json", found)
    write_json(folder / "preflight_timing.json", probe)
    write_class_thumbnails(folder / "shards" / "manifest.json", folder / "thumbnails.json")


OUTPUTS = {
    "prepare": ["samples.parquet", "raw.parquet"],
    "near_duplicates": ["near_duplicates/pairs.parquet"],
    "split": ["splits.parquet"],
    "leakage": ["near_duplicates/leakage.json"],
    "shard": ["shards/{}/part-{}.parquet"],
    "manifest": ["shards/manifest.json"],
    "preflight": ["preflight.json"],
    "thumbnails": ["thumbnails.json"],
    "train": ["experts/{}/seed-{}/model.safetensors", "experts/{}/seed-{}/training.json"],
    "infer": ["experts/{}/seed-{}/raw_logits/test.parquet"],
    "calibrate": ["experts/{}/seed-{}/calibration.json"],
    "export": ["experts/{}/seed-{}/logits/test.parquet"],
    "teach": ["experts/{}-{}.parquet"],
    "cost": ["experts/cost.json"],
    "diagnose": ["experts/{}/seed-{}/diagnosis.json"],
    "card": ["experts/{}/seed-{}/README.md"],
    "evaluate": ["evaluation/metrics.json"],
    "guarantee": ["evaluation/guarantees.json"],
    "inspect": ["inspection/summary.json"],
}


def _write_records(folder: Path, experiment: Experiment, results: dict) -> None:
    """Write a record for each job; files that were drawn, not made, get a digest of their path."""
    for index, job in enumerate(expected_jobs(experiment)):
        rule, name = job.split("/")
        paths = [f"results/drawn/{each.format(*name.rsplit('-', 1))}" for each in OUTPUTS[rule]]
        record = {
            "experiment": "drawn",
            "rule": rule,
            "name": name,
            "wildcards": dict(zip(("expert", "seed"), name.rsplit("-", 1), strict=False)),
            "inputs": [],
            "outputs": [File(path=p, sha256=sha256_bytes(p.encode()), bytes=9) for p in paths],
            "parameters": {},
            "running": {},
            "seeds": [],
            "code": {
                "version": "0.1.0",
                "closure": sha256_bytes(rule.encode()),
                "runtime": sha256_bytes(b"runtime"),
                "commit": None,
                "dirty": False,
                "difference": None,
                "packages": {},
                "python": "3.11.7",
            },
            "machine": {
                "host": f"node{index}",
                "user": "somebody",
                "slurm_job": None,
                "device": "a processor",
                "threads": 1,
                "peak_memory_bytes": 1,
            },
            "started": datetime(2026, 1, 1, tzinfo=UTC),
            "ended": datetime(2026, 1, 1, 0, index, tzinfo=UTC),
            "command": "snakemake",
            "log": "a.log",
            "results": results.get(rule, {}),
            "undeclared": [],
        }
        Record.model_validate(record).write(folder / "provenance" / f"{job}.json")


def _write_data(folder, classes, counts, labels, positive):
    table = pd.DataFrame(counts, index=classes)[list(SPLITS)]
    samples = pd.DataFrame(index=range(table.to_numpy().sum() + 3))
    dropped = {
        "duplicates_dropped": 2,
        "conflicting_dropped": 1,
        "unlabelled_dropped": 3,
        "shared_groups_dropped": 0,
        "official_test_dropped": 0,
    }
    prepared = {"samples": len(samples), "bad_images": 0, "skipped": [], "warnings": []}
    write_json(folder / "prepare.json", prepared)
    write_json(folder / "splits.json", summarise(samples, dropped, table, "label", classes))
    _write_samples(folder / "samples.parquet", labels)
    shards = {}
    for split in SPLITS:
        rows = np.array_split(np.arange(len(labels[split])), 2)
        shards[split] = [f"{split}/part-{part:05d}.parquet" for part in range(2)]
        for name, part in zip(shards[split], rows, strict=True):
            if split != "test":
                _write_shard(folder / "shards" / name, split, part, labels[split])
    write_json(
        folder / "shards" / "manifest.json",
        {
            "target": "label",
            "mode": "RGB",
            "positive": positive,
            "ranks": ["label"],
            "classes": {"label": classes},
            "ancestors": {"label": {}},
            "splits": {
                split: {
                    "rows": len(labels[split]),
                    "class_counts": {
                        "label": dict(zip(classes, counts[split].tolist(), strict=True))
                    },
                    "shards": [{"path": name} for name in shards[split]],
                }
                for split in SPLITS
            },
        },
    )


def _write_near_duplicates(folder, classes, labels, experiment):
    """Compare the pictures; many are alike, because they are few waves."""
    rows = [
        {"sample_id": _sample(split, row), "label": classes[label], "split": split, "path": "a.png",
         "thumbnail": thumbnail(_pixels(label, row)).tobytes()}
        for split in SPLITS for row, label in enumerate(labels[split])
    ]  # fmt: skip
    table = with_metadata(pa.Table.from_pylist(rows), {"ranks": ["label"]})
    near = folder / "near_duplicates"
    paths = [folder / "drawn.parquet"] * 2 + [near / "pairs.parquet", folder / "drawn.parquet"]
    compared = pa.schema([("sample_id", pa.string()), ("thumbnail", pa.binary(SIDE * SIDE))])
    write_parquet(paths[0], table.cast(_with(table.schema, compared)))
    list_near_duplicates(paths[3], paths[2])
    outputs = near / "leakage.json", near / "cross_class_pairs.csv"
    measure_leakage(*paths, experiment.data, *outputs)
    paths[0].unlink()


def _with(schema, changed):
    for field in changed:
        schema = schema.set(schema.get_field_index(field.name), field)
    return schema


def _write_samples(path: Path, labels: dict[str, np.ndarray]) -> None:
    ids = [_sample(split, row) for split in SPLITS for row in range(len(labels[split]))]
    table = {"sample_id": ids, "group": ids, "path": ids, "row": pa.nulls(len(ids), pa.int64())}
    write_parquet(path, pa.table(table))


def _write_shard(path, split, rows, labels):
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": encode_png(_pixels(labels[row], row)), "path": None} for row in rows]
    columns = {
        "sample_id": pa.array([_sample(split, row) for row in rows], pa.string()),
        "image": pa.array(images, image),
        "label": pa.array(labels[rows], pa.int64()),
    }
    write_parquet(path, pa.table(columns), row_group_size=7)


def _pixels(label: int, row: int) -> np.ndarray:
    y, x = np.mgrid[:12, :12] / 12
    colour = np.random.default_rng(label).uniform(60, 255, 3)
    wave = 0.55 + 0.45 * np.sin(2 * np.pi * (x * (label % 4) + y * (label % 3 + 1)) + row)
    return (wave[..., None] * colour).astype(np.uint8)


def _sample(split: str, row: int) -> str:
    return f"{split}/<{row}>.png"


def _write_expert(folder, expert, seed, index, train, labels, experiment):
    rng = np.random.default_rng([index, seed])
    prior = train / train.sum()
    base = folder / "experts" / expert / f"seed-{seed}"
    paths = {
        kind: {split: base / kind / f"{split}.parquet" for split in SPLITS[1:]}
        for kind in ("raw_logits", "logits")
    }
    for split, path in paths["raw_logits"].items():
        y = labels[split]
        tilt = np.log(prior) * (1 - 0.4 * index)
        values = 2.6 * np.eye(len(train))[y] + rng.normal(size=(len(y), len(train))) + tilt
        metadata = {
            "expert": expert,
            "seed": seed,
            "split": split,
            "target": "label",
            "weights_sha256": "0" * 64,
        }
        ids = np.array([_sample(split, row) for row in range(len(y))], object)
        weight = prior[y] / prior[y].mean()
        values = (1.7 * values).astype(np.float32)
        Logits(ids, {"label": y.astype(np.int64)}, weight, {"label": values}, metadata).write(path)
    calibration = base / "calibration.json"
    raw = {split: paths["raw_logits"][split] for split in experiment.calibration.splits}
    calibrate(raw, experiment.calibration, calibration)
    export(paths["raw_logits"], calibration, paths["logits"])
    _history(rng).to_csv(base / "history.csv", index=False)
    write_json(base / "training.json", training(seed))
    found = diagnose(read_history(base / "history.csv"), Context(classes=len(train)))
    write_json(base / "diagnosis.json", {"findings": [each.to_jsonable() for each in found]})
    return paths["logits"]


def training(seed: int) -> dict:
    """What training.json tells of a run that took 2.5 s an epoch on the processor."""
    place = {
        "device": "cpu",
        "start": "2026-01-01T00:00:00+00:00",
        "end": "2026-01-01T00:00:10+00:00",
        "seconds": 10.0,
    }
    return {
        "epochs": EPOCHS,
        "seconds_an_epoch": [2.5] * EPOCHS,
        "state": "0123",
        "attempts": [place | attempt for attempt in ATTEMPTS[seed % 2]],
    }


def _history(rng: np.random.Generator) -> pd.DataFrame:
    epoch = np.arange(1, EPOCHS + 1)
    history = pd.DataFrame({"epoch": epoch})
    for part in ("train", "val"):
        rise = 1 - np.exp(-epoch / 3) + rng.normal(0, 0.02, EPOCHS)
        history[f"{part}_loss"] = 2.3 * (1 - rise) + 0.4
        for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
            history[f"{part}_{metric}"] = 0.9 * rise
    unseen = history["epoch"] == 2  # an epoch without validation
    history.loc[unseen, [name for name in history if name.startswith("val_")]] = np.nan
    return history.assign(learning_rate=0.1)


CLASSES = [
    "<script>alert(1)</script>",
    'x" onerror="alert(2)',
    "NA",
    "1",
    "a & b",
    "$\\frac{1}{0}$",
]
