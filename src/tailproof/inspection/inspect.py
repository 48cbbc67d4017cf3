"""The stage inspect: labels that are likely wrong, odd images, and a gallery of the classes."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from tailproof.config.evaluation import Evaluation
from tailproof.config.splits import TRAIN
from tailproof.data.images import decode
from tailproof.data.shard_reader import rows_of
from tailproof.data.thumbnails import Picture, find_pictures
from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.task import Task
from tailproof.files import read_json, write_json, write_text
from tailproof.inspection.gallery import Gallery
from tailproof.inspection.held_out_predictions import INSPECTED, HeldOutPredictions
from tailproof.inspection.label_noise import LabelDoubts, doubt_labels
from tailproof.inspection.label_studio import find_image_urls
from tailproof.inspection.labels_to_check import (
    DoubtfulLabel,
    list_doubtful_labels,
    write_labels_to_check,
)
from tailproof.inspection.odd_images import OddImage, Rule, Summary, odd_images, rules_of, summarise
from tailproof.runtime.progress import track
from tailproof.untrusted_text import csv_line

POOLS = {"val": 0, "calib": 1, "tune": 2, "dev": 2}
"""Splits of one pool have the same class shares: tune and dev are cut from the held-out images, and
val may be an official set of its own."""

LIKELY = 0.5
"""A label that is wrong with a larger probability is more likely wrong than right."""

SHOWN_LABELS = 24
SHOWN_ODD = 6  # of each kind
PAIRS = 10
ODD_COLUMNS = ("sample_id", "split", "label", "kind", "value", "limit")


class OddSample(NamedTuple):
    """An odd image with its sample, as odd_images.csv lists it; see `OddImage`."""

    sample_id: str
    split: str
    label: str
    kind: str
    value: float
    limit: float


def inspect(
    manifest: str | Path,
    samples: str | Path,
    logits: Mapping[str, Iterable[str | Path]],
    config: Evaluation,
    folder: str | Path,
) -> dict[str, Any]:
    """Write summary.json, labels_to_check.csv, odd_images.csv and pictures.json.

    Test is not looked at, and labels of train are not judged, because experts have learnt them.
    Memory holds one row group of images, a few numbers per image, a block of logits of every
    expert, and the shown pictures.

    Args:
        manifest: shards/manifest.json.
        samples: samples.parquet.
        logits: for each split of `INSPECTED` the calibrated logits of every expert and seed.
        config: the thresholds of many-shot and few-shot classes.
        folder: where the files are written.

    Returns:
        the content of summary.json.

    Raises:
        TailproofError: a shard or a file of logits is damaged, or they do not fit together.
    """
    folder, task = Path(folder), Task.read(manifest, config)
    gallery = Gallery(task)
    counts, summaries = _summaries(manifest, gallery)
    rules = rules_of(summaries)
    odd = _with_samples(odd_images(rules), manifest, task, counts)
    predictions = HeldOutPredictions.read(logits, len(task.classes))
    pools = np.array([POOLS[split] for split in INSPECTED])[predictions.splits]
    doubts = doubt_labels(predictions.mean, task.train_counts, pools)
    doubtful = list_doubtful_labels(predictions, doubts, task.classes)
    urls = find_image_urls(samples, [label.sample_id for label in doubtful])
    shown = [sample for rule in rules for sample in _of_kind(odd, rule.kind)[:SHOWN_ODD]]
    pictures = _pictures(manifest, [*_pictured(doubtful, urls), *shown])
    write_labels_to_check(folder / "labels_to_check.csv", doubtful, urls, pictures)
    write_text(folder / "odd_images.csv", "".join(map(csv_line, (ODD_COLUMNS, *odd))))
    write_json(
        folder / "pictures.json",
        {
            "labels": _with_pictures(doubtful[:SHOWN_LABELS], pictures),
            "odd": _with_pictures(shown, pictures),
            "classes": gallery.as_json(),
        },
    )
    summary = {
        "splits": dict(zip(INSPECTED, np.bincount(predictions.splits).tolist(), strict=True)),
        "images": len(summaries),
        "labels": {
            "listed": len(doubtful),
            "noise": {name: _short(number) for name, number in doubts.noise._asdict().items()},
            "groups": _by_group(predictions, doubts, task),
            "pairs": _pairs(predictions, doubts, task),
        },
        "odd": [_of_rule(rule, len(_of_kind(odd, rule.kind))) for rule in rules],
    }
    write_json(folder / "summary.json", summary)
    return summary


def _summaries(manifest: str | Path, gallery: Gallery) -> tuple[dict[str, int], np.ndarray]:
    """Return the number of images of each inspected split, and the summaries of all of them."""
    facts = read_json(manifest)
    counts = {split: facts["splits"][split]["rows"] for split in (TRAIN, *INSPECTED)}

    def rows() -> Iterator[Summary]:
        for split in counts:
            for data, label in rows_of(manifest, facts, split):
                if split == TRAIN and label is not None:
                    gallery.add(data, label)
                yield summarise(decode(data, facts["mode"]))

    numbers = array("d")
    for summary in track(rows(), "inspect", sum(counts.values())):
        numbers.extend(summary)
    return counts, np.array(numbers).reshape(-1, len(Summary._fields))


def _with_samples(
    odd: list[OddImage], manifest: str | Path, task: Task, counts: dict[str, int]
) -> list[OddSample]:
    """Return odd images with their samples, which are looked up by position."""
    facts, folder = read_json(manifest), Path(manifest).parent
    starts = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    listed: dict[int, OddSample] = {}
    for split, start in starts.items():
        inside = [image for image in odd if start <= image.index < start + counts[split]]
        if not inside:
            continue
        paths = [folder / shard["path"] for shard in facts["splits"][split]["shards"]]
        table = pq.read_table(paths, columns=["sample_id", task.target])
        for image in inside:
            row = image.index - start
            code = table[task.target][row].as_py()
            label = "" if code is None else task.classes[code]
            value, limit = _short(image.value), _short(image.limit)
            sample_id = table["sample_id"][row].as_py()
            listed[image.index] = OddSample(sample_id, split, label, image.kind, value, limit)
    return [listed[image.index] for image in odd]


def _of_kind(odd: list[OddSample], kind: str) -> list[OddSample]:
    return [sample for sample in odd if sample.kind == kind]


def _pictured(doubtful: list[DoubtfulLabel], urls: dict[str, str | None]) -> list[DoubtfulLabel]:
    """Return the labels whose pictures are on the page or in the table."""
    return [
        label
        for rank, label in enumerate(doubtful)
        if rank < SHOWN_LABELS or urls[label.sample_id] is None
    ]


def _pictures(
    manifest: str | Path, samples: Iterable[DoubtfulLabel | OddSample]
) -> dict[str, Picture]:
    by_split: dict[str, set[str]] = {}
    for sample in samples:
        by_split.setdefault(sample.split, set()).add(sample.sample_id)
    pictures: dict[str, Picture] = {}
    for split, sample_ids in by_split.items():
        pictures |= find_pictures(manifest, split, "sample_id", sample_ids)
    return pictures


def _with_pictures(
    samples: Iterable[DoubtfulLabel | OddSample], pictures: dict[str, Picture]
) -> list[dict[str, Any]]:
    return [
        {**sample._asdict(), "picture": pictures[sample.sample_id]._asdict()} for sample in samples
    ]


def _by_group(
    predictions: HeldOutPredictions, doubts: LabelDoubts, task: Task
) -> dict[str, dict[str, float]]:
    """Return by group of the given label: labels, those likely wrong, and expected wrong ones."""
    groups = {}
    for group in GROUPS:
        members = task.groups[group][predictions.labels]
        probability = doubts.probability[members]
        groups[group] = {
            "classes": int(task.groups[group].sum()),
            "labels": len(probability),
            "likely_wrong": int((probability > LIKELY).sum()),
            "expected_wrong": _short(probability.sum()),
        }
    return groups


def _pairs(
    predictions: HeldOutPredictions, doubts: LabelDoubts, task: Task
) -> list[dict[str, str | int]]:
    """Return the most frequent pairs of given and suggested class among likely wrong labels."""
    likely = doubts.probability > LIKELY
    pairs = np.stack([predictions.labels[likely], doubts.suggested[likely]], axis=1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:PAIRS]
    return [
        {
            "label": task.classes[distinct[row, 0]],
            "suggested": task.classes[distinct[row, 1]],
            "count": int(counts[row]),
        }
        for row in order
    ]


def _of_rule(rule: Rule, count: int) -> dict[str, Any]:
    return {
        "kind": rule.kind,
        "above": rule.above,
        "limit": _short(rule.limit),
        "median": _short(np.median(rule.values)),
        "count": count,
    }


def _short(number: float) -> float:
    return float(f"{number:.4g}")
