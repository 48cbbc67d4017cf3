"""The stage cross_fit: one held-out prediction of every sample, pooled from all folds.

Each fold has networks of its own, so what depends on one network's scale is not pooled: rejection
rules, AUROC and operating points.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.calibration.metrics import ClasswiseError
from tailproof.config.evaluation import Evaluation
from tailproof.data.tables import read_parquet
from tailproof.evaluation import bootstrap, hierarchy
from tailproof.evaluation.class_groups import class_groups
from tailproof.evaluation.evaluate import (
    blocks_of_rows,
    ensemble_methods,
    expert_methods,
    measure_all_ranks,
    method_values,
    recalls_of,
)
from tailproof.evaluation.method import Method, class_recalls
from tailproof.evaluation.metrics import compute, measure, measure_uncalibrated
from tailproof.evaluation.paired_differences import paired_differences
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed
from tailproof.evaluation.table_columns import CROSS_FIT_COLUMNS
from tailproof.evaluation.tables import Row, write_tables
from tailproof.evaluation.task import Experts, Files, Task, read_experts
from tailproof.evaluation.weighted_samples import Values, WeightedSamples
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

TEST = "test"
LEARNT = "learnt_"
"""Prefix of metrics of the samples whose class was in train of their fold."""
LEARNT_METRICS = ("top1", "balanced_accuracy", "few_accuracy")
SAME_IN_ALL = ("sample_id", "digest", "group")


@dataclass(frozen=True)
class FoldFiles:
    """The files of the experiment of one fold; the logits are {expert: {seed: {split: path}}}."""

    logits: Files
    manifest: str | Path
    samples: str | Path
    splits: str | Path


@dataclass(frozen=True)
class Pool:
    """The test samples of all folds, one fold after the other.

    Attributes:
        sample_ids: N strings.
        fold: the experiment that tested each sample, N strings.
        learnt: whether the class of each sample is in train of its fold, boolean [N].
        labels: {rank: N class indices}, -1 for no label.
        counts: integers [1 + B, N], how often each resample of whole groups holds each sample.
        groups: number of groups.
    """

    sample_ids: np.ndarray
    fold: np.ndarray
    learnt: np.ndarray
    labels: dict[str, np.ndarray]
    counts: np.ndarray
    groups: int


def cross_fit(
    folds: Mapping[str, FoldFiles],
    config: Evaluation,
    output: str | Path,
    students: Collection[str] = (),
) -> dict[str, Any]:
    """Measure every expert and ensemble on the held-out predictions of all folds.

    Args:
        folds: the files of each fold, by the name of its experiment.
        config: the configuration section evaluation.
        output: folder for metrics.json and the tables.
        students: the experts that learnt from an ensemble, which no ensemble combines.

    Returns:
        The content of metrics.json.

    Raises:
        TailproofError: files are damaged, or the folds do not test every sample once.
    """
    tasks = {name: Task.read(files.manifest, config) for name, files in folds.items()}
    task = _mean_task(tasks, folds, config)
    logits = {name: read_experts(files.logits, tasks[name]) for name, files in folds.items()}
    pool = _pool(folds, logits, tasks, config)
    methods = _pooled_methods(logits, task, students)
    for method in track(methods, "cross_fit"):
        _measure(method, pool, task)
    result = _summary(task, methods, pool)
    write_json(Path(output) / "metrics.json", result)
    rows = {
        "summary": _summary_rows(methods),
        "per_class": _class_rows(task, methods, pool),
        "predictions": _prediction_rows(task, methods, pool),
    }
    write_tables(Path(output), CROSS_FIT_COLUMNS, rows)
    return result


def _mean_task(tasks: dict[str, Task], folds: Mapping[str, FoldFiles], config: Evaluation) -> Task:
    """Return the task with the mean number of training samples per class over the folds."""
    first, *others = tasks
    for other in others:
        if tasks[other].rank_classes != tasks[first].rank_classes:
            raise TailproofError(
                f"{folds[other].manifest} and {folds[first].manifest} have different classes, but "
                "folds are of the same images: run `snakemake --cores all --forcerun prepare` for "
                "all folds"
            )
    counts = np.mean([task.train_counts for task in tasks.values()], axis=0)
    return replace(tasks[first], train_counts=counts, groups=class_groups(counts, config))


def _pool(
    folds: Mapping[str, FoldFiles],
    logits: dict[str, Experts],
    tasks: dict[str, Task],
    config: Evaluation,
) -> Pool:
    """Gather the test samples; check that every sample of the splits is tested once."""
    tested = {name: _any_of(experts) for name, experts in logits.items()}
    sample_ids = np.concatenate([part.sample_ids for part in tested.values()])
    fold = np.repeat(list(tested), [len(part.sample_ids) for part in tested.values()])
    group_of = _groups_by_sample(folds)
    _check_tested_once(sample_ids, fold, folds)
    names, groups = np.unique([group_of[name] for name in sample_ids], return_inverse=True)
    return Pool(
        sample_ids,
        fold,
        np.concatenate(
            [tasks[name].train_counts[part.target] > 0 for name, part in tested.items()]
        ),
        {
            rank: np.concatenate([part.labels[rank] for part in tested.values()])
            for rank in next(iter(tested.values())).labels
        },
        bootstrap.resamples_of_groups(groups, config.bootstrap, config.seed),
        len(names),
    )


def _any_of(experts: Experts) -> Any:
    """Return the logits of one expert and seed on test; all have the same samples."""
    return next(iter(next(iter(experts.values())).values()))[TEST]


def _groups_by_sample(folds: Mapping[str, FoldFiles]) -> dict[str, str]:
    """Return the group of each sample; the folds must list the same samples."""
    origin, *others = (files.samples for files in folds.values())
    first = read_parquet(origin, list(SAME_IN_ALL))
    for other in others:
        if not read_parquet(other, list(SAME_IN_ALL)).equals(first):
            raise TailproofError(
                f"{other} and {origin} list different images, so the images changed between the "
                "folds: run `snakemake --cores all --forcerun prepare` for all folds"
            )
    return dict(zip(first["sample_id"].to_pylist(), first["group"].to_pylist(), strict=True))


def _check_tested_once(
    sample_ids: np.ndarray, fold: np.ndarray, folds: Mapping[str, FoldFiles]
) -> None:
    first: dict[str, str] = {}
    for sample, name in zip(sample_ids, fold, strict=True):
        other = first.setdefault(sample, name)
        if other != name:
            raise TailproofError(
                f"sample '{sample}' is in test of '{name}' and of '{other}', expected one fold: "
                "run `snakemake --cores all --forcerun split` for all folds"
            )
    for files in folds.values():
        used = read_parquet(files.splits, ["sample_id"])["sample_id"].to_pylist()
        untested = next((sample for sample in used if sample not in first), None)
        if untested is not None:
            raise TailproofError(
                f"{files.splits} has the sample '{untested}', which no fold of {', '.join(folds)} "
                "tests: run `snakemake --cores all --forcerun split` for all folds"
            )


def _pooled_methods(
    logits: dict[str, Experts], task: Task, students: Collection[str]
) -> list[Method]:
    """Return every method with its predictions on test of all folds, by seed."""
    by_fold = [
        [*expert_methods(experts, task), *ensemble_methods(experts, students)[0]]
        for experts in logits.values()
    ]
    pooled = []
    for parts in zip(*by_fold, strict=True):
        method = Method(parts[0].name, parts[0].kind, {})
        for seed in parts[0].predictions:
            method.predictions[seed] = {
                TEST: _joined([part.predictions[seed][TEST] for part in parts])
            }
            method.raw[seed] = {TEST: _joined([part.raw[seed][TEST] for part in parts])}
            if parts[0].heads:
                heads = [part.heads[seed][TEST] for part in parts]
                method.heads[seed] = {
                    TEST: {rank: _joined([head[rank] for head in heads]) for rank in heads[0]}
                }
        pooled.append(method)
    return pooled


def _joined(predictions: list[Prediction]) -> Prediction:
    def read() -> Blocks:
        start = 0
        for prediction in predictions:
            for rows, log_p in prediction.blocks():
                yield slice(start + rows.start, start + rows.stop), log_p
            start += len(prediction.labels)

    labels = np.concatenate([prediction.labels for prediction in predictions])
    return Prediction(Streamed(predictions[0].classes, read), labels)


def _measure(method: Method, pool: Pool, task: Task) -> None:
    """Fill the method's values and recalls."""
    recalls = np.zeros(())
    for seed, predictions in method.predictions.items():
        prediction = predictions[TEST]
        classwise = ClasswiseError(prediction.labels, prediction.classes, pool.counts)
        ranks = hierarchy.summed_ranks(prediction, pool.labels, task)
        prediction.collect(ranks, once=[classwise])
        every = WeightedSamples(
            prediction, pool.counts, np.ones(len(pool.fold)), task, classwise.values()
        )
        values = _measure_rows(every, method.raw[seed][TEST], pool)
        heads = method.heads.get(seed, {}).get(TEST, {})
        values |= measure_all_ranks(prediction, pool.labels, heads, pool.counts, task)
        method.add(TEST, "plain", values, {})
        recalls = recalls + recalls_of(prediction, pool.counts)
    method.class_recalls[TEST] = class_recalls(recalls / len(method.predictions))


def _measure_rows(every: WeightedSamples, raw: Prediction, pool: Pool) -> Values:
    """Measure all resamples, in blocks that bound memory."""
    parts: list[Values] = []
    for rows in blocks_of_rows(every.weights):
        weights = every.weights[rows].astype(float)
        samples = every.block(rows, weights)
        values = measure(samples)
        values |= measure_uncalibrated(replace(samples, prediction=raw))
        if not pool.learnt.all():
            learnt = replace(samples, weights=weights * pool.learnt)
            values |= {f"{LEARNT}{name}": compute(name, learnt) for name in LEARNT_METRICS}
        parts.append(values)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _summary(task: Task, methods: list[Method], pool: Pool) -> dict[str, Any]:
    experts = [method for method in methods if method.kind == "expert"]
    ensembles = [method for method in methods if method.kind == "ensemble"]
    return {
        "target": task.target,
        "classes": task.classes,
        "groups": {
            name: [task.classes[index] for index in np.flatnonzero(members)]
            for name, members in task.groups.items()
        },
        "folds": {
            name: int((pool.fold == name).sum()) for name in dict.fromkeys(pool.fold.tolist())
        },
        "rows": len(pool.sample_ids),
        "sample_groups": pool.groups,
        "notes": _notes(task, pool),
        "experts": {method.name: method_values(method) for method in experts},
        "ensembles": {method.name: method_values(method) for method in ensembles},
        "paired": {TEST: paired_differences(experts, ensembles, TEST, task)},
    }


def _notes(task: Task, pool: Pool) -> list[str]:
    notes = [
        f"intervals resample the {quantity(pool.groups, 'group')} of samples (95 % percentile "
        "bootstrap): they cover the choice of the tested groups, but neither the choice of the "
        "training images nor chance in training; sd is the variation over seeds",
        "many, medium and few are defined by the mean number of training samples over the folds",
    ]
    lacking = ~pool.learnt
    if lacking.any():
        classes = len(np.unique(pool.labels[task.target][lacking]))
        notes.append(
            f"{quantity(int(lacking.sum()), 'sample')} of {quantity(classes, 'class', 'classes')} "
            "were predicted by networks that had no image of the class, and count as wrong; "
            f"metrics that begin with {LEARNT} leave them out"
        )
    return notes


def _summary_rows(methods: list[Method]) -> Iterator[Row]:
    for method in methods:
        for metric, by_seed in method.values[TEST].items():
            estimate = bootstrap.over_seeds(by_seed)
            yield (method.name, method.kind, metric, *estimate.values())


def _class_rows(task: Task, methods: list[Method], pool: Pool) -> Iterator[Row]:
    support = np.bincount(pool.labels[task.target], minlength=len(task.classes))
    for method in methods:
        recalls = method.class_recalls[TEST]
        for index, name in enumerate(task.classes):
            yield (
                method.name, name, task.group_of(index),
                bootstrap.finite_or_none(task.train_counts[index]), int(support[index]),
                bootstrap.finite_or_none(recalls[index].value), *recalls[index][1:],
            )  # fmt: skip


def _prediction_rows(task: Task, methods: list[Method], pool: Pool) -> Iterator[Row]:
    for method in methods:
        for seed, predictions in method.predictions.items():
            prediction = predictions[TEST]
            for row, sample in enumerate(pool.sample_ids):
                yield (
                    method.name, seed, pool.fold[row], sample,
                    task.classes[prediction.labels[row]], task.classes[prediction.predicted[row]],
                    bootstrap.finite_or_none(prediction.confidence[row]),
                )  # fmt: skip
