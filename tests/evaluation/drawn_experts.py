"""A small long-tailed problem with experts whose logits are drawn, not trained."""

import json
from pathlib import Path

import numpy as np

from tailproof.data.logits import Logits

CLASSES = 6
COUNTS = np.array([300, 150, 60, 30, 12, 5])
SIZES = {"tune": 120, "dev": 110, "test": 160}
SHARPNESS = {"plain": 1.0, "adjusted": 0.8, "third": 0.7}


def write_experts(root: Path, experts=("plain", "adjusted"), seeds=(0, 1), sizes=SIZES):
    """Write manifest.json and logits; return the files as evaluate takes them."""
    rng = np.random.default_rng(0)
    prior = COUNTS / COUNTS.sum()
    names = [f"class {index}" for index in range(CLASSES)]
    splits = {}
    for split, samples in sizes.items():
        labels = rng.permutation(np.arange(samples) % CLASSES)
        weight = prior[labels] / prior[labels].mean()
        ids = np.array([f"{split}-{row}" for row in range(samples)], object)
        splits[split] = (ids, labels, weight)
    files: dict = {}
    for index, expert in enumerate(experts):
        for seed in seeds:
            drawn = np.random.default_rng([index, seed])
            for split, (ids, labels, weight) in splits.items():
                noise = drawn.normal(size=(len(ids), CLASSES))
                tilt = np.log(prior) * (1.0 if expert == "plain" else 0.2)
                values = (2.2 * np.eye(CLASSES)[labels] + noise + tilt) * SHARPNESS[expert]
                path = root / "experts" / expert / f"seed-{seed}" / "logits" / f"{split}.parquet"
                metadata = {
                    "expert": expert,
                    "seed": seed,
                    "split": split,
                    "target": "label",
                    "weights_sha256": "0" * 64,
                    "temperature": 1.5,
                }
                columns = {"label": labels.astype(np.int64)}
                values = values.astype(np.float32)
                Logits(ids, columns, weight, {"label": values}, metadata).write(path)
                files.setdefault(expert, {}).setdefault(seed, {})[split] = path
    manifest = {
        "target": "label",
        "ranks": ["label"],
        "ancestors": {"label": {}},
        "classes": {"label": names},
        "splits": {
            "train": {"class_counts": {"label": dict(zip(names, COUNTS.tolist(), strict=True))}}
        },
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return files


NEGATIVES = {"tune": 300, "dev": 500, "test": 2000}
POSITIVES = {"tune": 40, "dev": 50, "test": 200}


def write_two_classes(root: Path, positives=POSITIVES):
    """Write a rare class 'lens' and its controls, with ties, as `write_experts` does."""
    names, files = ["lens", "control"], {}
    for index, (expert, sharpness) in enumerate({"plain": 3.0, "second": 4.0}.items()):
        for seed in (0, 1):
            rng = np.random.default_rng([index, seed])
            for split, negatives in NEGATIVES.items():
                labels = np.repeat([0, 1], [positives[split], negatives])
                ids = np.array([f"{split}-{row}" for row in range(len(labels))], object)
                noise = np.round(8 * rng.normal(size=(len(ids), 2))) / 8  # exact, so they tie
                values = (sharpness / 2 * np.eye(2)[labels] + noise).astype(np.float32)
                path = root / "experts" / expert / f"seed-{seed}" / "logits" / f"{split}.parquet"
                metadata = {
                    "expert": expert,
                    "seed": seed,
                    "split": split,
                    "target": "label",
                    "weights_sha256": "0" * 64,
                    "temperature": 1.5,
                }
                columns, weight = {"label": labels.astype(np.int64)}, np.ones(len(ids))
                Logits(ids, columns, weight, {"label": values}, metadata).write(path)
                files.setdefault(expert, {}).setdefault(seed, {})[split] = path
    manifest = {
        "target": "label",
        "positive": "lens",
        "ranks": ["label"],
        "ancestors": {"label": {}},
        "classes": {"label": names},
        "splits": {"train": {"class_counts": {"label": {"lens": 100, "control": 900}}}},
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return files
