"""The stage shortcut_probe: whether the classes can be told apart without looking at shapes.

Simple models on summaries of each image, fitted on train and measured on dev. Where these do well,
an expert need not learn what it is meant to: the data leak the answer.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from tailproof.data.images import decode
from tailproof.data.shard_reader import rows_of
from tailproof.files import read_json, write_json
from tailproof.operating_points import ScoreCurve, epoch_points
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track

FITTED, MEASURED = "train", "dev"
LIMIT = 20_000  # samples of a split: shards are in random order, so the first are a fair sample
CORE = 0.15  # half the side of the core, as a share of the image's
LEAK = 0.9  # AUROC from which on it is warned of
SUMMARIES = {
    "total_flux": "the mean of each band",
    "core_pixels": "the mean of each band in the middle of the image",
    "borders": "mean and spread of each band along the edges",
    "file_size": "bytes of the encoded image, its height and width",
}
"""What a model is shown, by its name; ``all`` is shown everything."""


def probe(manifest: str | Path, output: str | Path) -> dict[str, Any]:
    """Write shortcuts.json.

    Each summary, and all together, enter a logistic regression with squares and products. Its
    AUROC is the mean over classes of one against the others, 0.5 for guessing; for two classes
    what is found at low false-positive rates is listed beside it.

    Args:
        manifest: shards/manifest.json.
        output: the file.

    Raises:
        TailproofError: a shard is missing or damaged, or a split has one class only.
    """
    facts = read_json(manifest)
    shown, labels = {}, {}
    for split in (FITTED, MEASURED):
        shown[split], labels[split] = _summaries(manifest, facts, split)
        if len(np.unique(labels[split])) < 2:
            raise TailproofError(
                f"the split {split} has one class only: there is nothing to tell apart"
            )
    positive = facts["positive"]
    index = None if positive is None else facts["classes"][facts["target"]].index(positive)
    found = {}
    for name in (*SUMMARIES, "all"):
        values = {split: _columns(shown[split], name) for split in shown}
        found[name] = _reached(values, labels, index)
    result = {
        "fitted_on": FITTED,
        "measured_on": MEASURED,
        "rows": {split: len(each) for split, each in labels.items()},
        "summaries": {**SUMMARIES, "all": "all of these"},
        "reached": found,
        "warnings": [
            _warning(name, each["auroc"]) for name, each in found.items() if each["auroc"] >= LEAK
        ],
    }
    write_json(output, result)
    return result


def _warning(name: str, auroc: float) -> str:
    seen = SUMMARIES.get(name, "these summaries")
    return (
        f"a model that sees nothing but {seen} reaches an AUROC of {auroc:.3f} on {MEASURED}: the "
        "data may leak the answer"
    )


def summarise(image: np.ndarray, size: int) -> dict[str, list[float]]:
    """Return the summaries of one image.

    Args:
        image: [H, W] or [H, W, bands].
        size: bytes that it is encoded in.
    """
    pixels = np.atleast_3d(image).astype(np.float64)
    height, width, _ = pixels.shape
    half = [max(1, round(side * CORE)) for side in (height, width)]
    core = pixels[
        max(0, height // 2 - half[0]) : height // 2 + half[0],
        max(0, width // 2 - half[1]) : width // 2 + half[1],
    ]
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return {
        "total_flux": pixels.mean((0, 1)).tolist(),
        "core_pixels": core.mean((0, 1)).tolist(),
        "borders": [*edges.mean(0), *edges.std(0)],
        "file_size": [size, height, width],
    }


def _summaries(
    manifest: str | Path, facts: dict[str, Any], split: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rows = islice(_decoded(manifest, facts, split), LIMIT)
    found, labels = [], []
    for each, label in track(rows, f"probe {split}", min(LIMIT, facts["splits"][split]["rows"])):
        found.append(each)
        labels.append(label)
    columns = {name: np.array([each[name] for each in found]) for name in SUMMARIES}
    return columns, np.array(labels)


def _decoded(
    manifest: str | Path, facts: dict[str, Any], split: str
) -> Iterator[tuple[dict[str, list[float]], int]]:
    for data, label in rows_of(manifest, facts, split):
        if label is not None:
            yield summarise(decode(data, facts["mode"]), len(data)), label


def _columns(shown: dict[str, np.ndarray], name: str) -> np.ndarray:
    return np.hstack(list(shown.values())) if name == "all" else shown[name]


def _reached(
    values: dict[str, np.ndarray], labels: dict[str, np.ndarray], positive: int | None
) -> dict[str, float | None]:
    model = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    ).fit(values[FITTED], labels[FITTED])
    truth, scores = labels[MEASURED], model.decision_function(values[MEASURED])
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    once = np.ones((1, len(truth)), np.uint8)
    each = {
        code: float(ScoreCurve.of(column, truth == code, once).auroc()[0])
        for code, column in zip(model.classes_.tolist(), scores.T, strict=True)
    }
    known = [value for value in each.values() if not np.isnan(value)]
    found = {"auroc": float(f"{np.mean(known):.6g}")}
    if positive in each:
        column = scores[:, model.classes_.tolist().index(positive)]
        points = epoch_points(column, truth == positive)
        found |= {name: float(f"{v:.6g}") for name, v in points.items() if name != "val_auroc"}
    return found
