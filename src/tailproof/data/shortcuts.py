"""The stage shortcut_probe: checks whether simple summaries of the images predict the class.

Simple models of summaries of each image are fitted on train and measured on dev. If one of them
does well, the data leak the answer: an expert can succeed without learning shapes.
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
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.score_curve import ScoreCurve, epoch_points

FITTED, MEASURED = "train", "dev"
LIMIT = 20_000  # first samples of a split; shards are in random order, so the sample is fair
CORE = 0.15  # half the side of the core, divided by the side of the image
LEAK = 0.9  # AUROC at which a warning starts
SUMMARIES = {
    "total_flux": "the mean of each band",
    "core_pixels": "the mean of each band in the middle of the image",
    "borders": "mean and spread of each band along the edges",
    "file_size": "bytes of the encoded image, its height and width",
}
"""The input of each model, by name; the model ``all`` sees all of them."""


def probe(manifest: str | Path, output: str | Path) -> dict[str, Any]:
    """Write shortcuts.json.

    A logistic regression with squares and products is fitted to each summary, and to all
    together. Its AUROC is the mean over classes of one class against the others; guessing gives
    0.5. For two classes, operating points at low false-positive rates are listed next to it.

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
                f"the split {split} has samples of only one class, expected two or more: add "
                "samples of other classes, or enlarge the split in data.splits"
            )
    positive = facts["positive"]
    index = None if positive is None else facts["classes"][facts["target"]].index(positive)
    reached = {}
    for name in (*SUMMARIES, "all"):
        values = {split: _columns(shown[split], name) for split in shown}
        reached[name] = _reached(values, labels, index)
    result = {
        "fitted_on": FITTED,
        "measured_on": MEASURED,
        "rows": {split: len(codes) for split, codes in labels.items()},
        "summaries": {**SUMMARIES, "all": "all of these"},
        "reached": reached,
        "warnings": [
            _warning(name, metrics["auroc"])
            for name, metrics in reached.items()
            if metrics["auroc"] >= LEAK
        ],
    }
    write_json(output, result)
    return result


def _warning(name: str, auroc: float) -> str:
    inputs = SUMMARIES.get(name, "these summaries")
    return (
        f"a model that sees nothing but {inputs} reaches an AUROC of {auroc:.3f} on {MEASURED}: "
        "the data may leak the answer"
    )


def summarise(image: np.ndarray, size: int) -> dict[str, list[float]]:
    """Return the summaries of one image.

    Args:
        image: [H, W] or [H, W, bands].
        size: size of the encoded image in bytes.
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
    summaries, labels = [], []
    for summary, label in track(rows, f"probe {split}", min(LIMIT, facts["splits"][split]["rows"])):
        summaries.append(summary)
        labels.append(label)
    columns = {name: np.array([summary[name] for summary in summaries]) for name in SUMMARIES}
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
) -> dict[str, float]:
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
    by_class = {
        code: float(ScoreCurve.of(column, truth == code, once).auroc()[0])
        for code, column in zip(model.classes_.tolist(), scores.T, strict=True)
    }
    defined = [value for value in by_class.values() if not np.isnan(value)]
    metrics = {"auroc": float(f"{np.mean(defined):.6g}")}
    if positive in by_class:
        column = scores[:, model.classes_.tolist().index(positive)]
        points = epoch_points(column, truth == positive)
        metrics |= {name: float(f"{v:.6g}") for name, v in points.items() if name != "val_auroc"}
    return metrics
