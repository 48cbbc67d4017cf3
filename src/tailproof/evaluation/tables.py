"""The CSV tables next to metrics.json, for the report and for DVC's plots."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.calibration.metrics import BINS, equal_width_bins
from tailproof.config.evaluation import WORST_ERRORS
from tailproof.evaluation import roc
from tailproof.evaluation.bootstrap import bounds, finite_or_none, over_seeds
from tailproof.evaluation.class_mixes import class_mix_rows
from tailproof.evaluation.method import Method
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.selective import GRID
from tailproof.evaluation.table_columns import COLUMNS
from tailproof.evaluation.task import REPORTED_SPLITS, Task
from tailproof.evaluation.weighted_samples import ClassSums, nanmean, ratio
from tailproof.files import write_text
from tailproof.untrusted_text import csv_line

Row = tuple[Any, ...]


def write(
    folder: Path,
    task: Task,
    methods: list[Method],
    sample_ids: dict[str, np.ndarray],
    class_mixes: dict[str, dict[str, Any]],
) -> None:
    """Write every table of COLUMNS as NAME.csv; an undefined number is an empty cell.

    Text that a spreadsheet would run has an apostrophe: `tailproof.untrusted_text.plain_cell`
    removes it.

    Args:
        folder: folder of the tables.
        task: the classification task.
        methods: experts and ensembles, measured.
        sample_ids: {split: its samples}.
        class_mixes: {split: {method: accuracy under other class mixes}}.
    """
    rows = {
        "summary": _summary(methods),
        "per_class": _per_class(task, methods),
        "reliability": _reliability(methods),
        "risk_coverage": _risk_coverage(methods),
        "confusion": _confusion(task, methods),
        "errors": _errors(task, methods, sample_ids["dev"]),
        "rejectors": _rejectors(task, methods),
        "low_fpr": roc.rows(task, methods),
        "roc": roc.roc(task, methods),
        "class_mixes": class_mix_rows(class_mixes),
    }
    write_tables(folder, COLUMNS, rows)


def write_tables(folder: Path, columns: dict[str, str], rows: Mapping[str, Iterable[Row]]) -> None:
    """Write each table as NAME.csv, with its columns as the first line."""
    for name, table_rows in rows.items():
        lines = map(csv_line, (columns[name].split(), *table_rows))
        write_text(folder / f"{name}.csv", "".join(lines))


def _per_split(methods: list[Method]) -> Iterator[tuple[str, Method]]:
    return ((split, method) for split in REPORTED_SPLITS for method in methods)


def _pooled(predictions: dict[str, dict[str, Prediction]], split: str) -> list[Prediction]:
    return [splits[split] for splits in predictions.values()]


def _summary(methods: list[Method]) -> Iterator[Row]:
    for split, method in _per_split(methods):
        for metric, by_seed in method.values[split].items():
            estimate = over_seeds(by_seed)
            yield (split, method.name, method.kind, metric, *estimate.values())


def _per_class(task: Task, methods: list[Method]) -> Iterator[Row]:
    for split, method in _per_split(methods):
        sums = [
            ClassSums.of(prediction, np.ones((1, len(prediction.labels))))
            for prediction in _pooled(method.predictions, split)
        ]
        recalls = method.class_recalls[split]
        precision, f1 = (
            nanmean(np.stack([getattr(class_sums, name)[0] for class_sums in sums], axis=-1))
            for name in ("precision", "f1")
        )
        for index, name in enumerate(task.classes):
            yield (
                split, method.name, name, task.group_of(index), int(task.train_counts[index]),
                int(sums[0].support[0, index]), finite_or_none(recalls[index].value),
                *recalls[index][1:],
                finite_or_none(precision[index]), finite_or_none(f1[index]),
            )  # fmt: skip


def _reliability(methods: list[Method]) -> Iterator[Row]:
    for split, method in _per_split(methods):
        for stage, predictions in (("before", method.raw), ("after", method.predictions)):
            pooled = _pooled(predictions, split)
            confidence = np.concatenate([prediction.confidence for prediction in pooled])
            correct = np.concatenate([prediction.correct for prediction in pooled])
            cell = equal_width_bins(confidence, BINS)
            count, confidence_sum, hits = (
                np.bincount(cell, values, BINS) for values in (None, confidence, correct)
            )
            for index in range(BINS):
                yield (
                    split, method.name, stage, index, finite_or_none(index / BINS),
                    finite_or_none((index + 1) / BINS),
                    finite_or_none(ratio(confidence_sum, count)[index]),
                    finite_or_none(ratio(hits, count)[index]), int(count[index]),
                )  # fmt: skip


def _risk_coverage(methods: list[Method]) -> Iterator[Row]:
    for split, method in _per_split(methods):
        for key, curve in method.curves[split].items():
            for index, coverage in enumerate(GRID):
                risk = curve[:, index]
                yield (split, method.name, *key, coverage, finite_or_none(risk[0]), *bounds(risk))


def _confusion(task: Task, methods: list[Method]) -> Iterator[Row]:
    for split, method in _per_split(methods):
        pooled = _pooled(method.predictions, split)
        pairs = np.concatenate([np.stack([each.labels, each.predicted], axis=1) for each in pooled])
        for (true, predicted), count in zip(
            *np.unique(pairs, axis=0, return_counts=True), strict=True
        ):
            yield split, method.name, task.classes[true], task.classes[predicted], int(count)


def _errors(task: Task, methods: list[Method], sample_ids: np.ndarray) -> Iterator[Row]:
    """Yield the most confident errors of each method on dev, for its first seed."""
    for method in methods:
        seed, splits = next(iter(method.predictions.items()))
        prediction = splits["dev"]
        wrong = np.flatnonzero(~prediction.correct)
        order = wrong[np.argsort(-prediction.confidence[wrong], kind="stable")][:WORST_ERRORS]
        for rank, row in enumerate(order, start=1):
            yield (
                method.name, seed, rank, sample_ids[row], task.classes[prediction.labels[row]],
                task.classes[prediction.predicted[row]],
                finite_or_none(prediction.confidence[row]),
            )  # fmt: skip


def _rejectors(task: Task, methods: list[Method]) -> Iterator[Row]:
    """Yield every fitted rule; cells of a group without classes are empty."""
    has_classes = [not task.tail.all(), bool(task.tail.any())]
    for method in methods:
        for seed, weightings in method.rules.items():
            for weighting, rules in weightings.items():
                for name, fitted in rules.items():
                    for rule in fitted:
                        both = np.full((3, 2), np.nan)
                        both[:, has_classes] = rule.shift, rule.gain, rule.multiplier
                        threshold = rule.threshold if np.isfinite(rule.threshold) else np.nan
                        yield (
                            method.name, seed, weighting, name, rule.coverage,
                            *map(finite_or_none, both.ravel()), finite_or_none(threshold),
                        )  # fmt: skip
