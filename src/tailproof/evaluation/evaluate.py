"""The stage evaluate: metrics.json and CSV tables, computed from calibrated logits."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tailproof.calibration.metrics import ClasswiseError
from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.data.logits import LogitsFile
from tailproof.evaluation import bootstrap, hierarchy, roc, tables
from tailproof.evaluation.class_mixes import (
    assumed_shares,
    measure_class_mixes,
    summarise_class_mixes,
)
from tailproof.evaluation.method import Method, class_recalls
from tailproof.evaluation.metrics import agreement, measure, measure_uncalibrated
from tailproof.evaluation.paired_differences import calibration_effects, paired_differences
from tailproof.evaluation.predictions import fit_stacked, predict_ensemble, predict_expert
from tailproof.evaluation.prior_shift import ClassConfidence
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import GroupTops, head_and_tail
from tailproof.evaluation.roc import measure_auroc
from tailproof.evaluation.sample_groups import SampleGroups
from tailproof.evaluation.selective import SelectiveAnswers, fit_rules
from tailproof.evaluation.students import measure_students
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS, Experts, Files, Task, read_experts
from tailproof.evaluation.weighted_samples import ClassSums, Values, WeightedSamples
from tailproof.files import write_json
from tailproof.runtime.progress import track
from tailproof.text import listed

ACCURACY = ("top1", "balanced_accuracy", "few_accuracy", "ece")
NO_GROUPS: Mapping[str, str] = MappingProxyType({})
_BLOCK = 2**23


@dataclass(frozen=True)
class EvaluatedSplit:
    """The samples of a split: bootstrap counts, long-tail weights, sample ids, labels per rank."""

    counts: np.ndarray
    long_tail: np.ndarray
    sample_ids: np.ndarray
    labels: dict[str, np.ndarray]


def evaluate(
    experts: Files,
    manifest: str | Path,
    config: Evaluation,
    output: str | Path,
    groups: Mapping[str, str] = NO_GROUPS,
    students: Collection[str] = (),
) -> dict[str, Any]:
    """Measure every expert and ensemble on dev and test.

    Ensemble weights, rejection rules and the temperature of groups are fitted on tune alone.

    Args:
        experts: {expert: {seed: {split: path of the calibrated logits}}} with tune, dev, test.
        manifest: the shards' manifest.json.
        config: the configuration section evaluation.
        output: folder for metrics.json, accuracy.json and the tables; docs/evaluation.md describes
            them.
        groups: the group of each sample; a sample that is not listed is its own group.
        students: the experts that learnt from an ensemble, which no ensemble combines.

    Returns:
        The content of metrics.json.

    Raises:
        TailproofError: files are damaged or do not match each other.
    """
    task = Task.read(manifest, config)
    logits = read_experts(experts, task)
    first = next(iter(next(iter(logits.values())).values()))
    splits = {
        name: EvaluatedSplit(
            bootstrap.resamples(len(first[name].target), config.bootstrap, config.seed, name),
            first[name].weight,
            first[name].sample_ids,
            first[name].labels,
        )
        for name in REPORTED_SPLITS
    }
    tune_weight = first[FITTED_ON].weight
    methods = expert_methods(logits, task)
    ensembles, weights = ensemble_methods(logits, students)
    methods += ensembles
    sample_groups = _sample_groups(first, groups)
    group_temperatures: dict[str, dict[str, float | None]] = {}
    for method in track(methods, "evaluate"):
        _measure(method, task, splits, tune_weight, config)
        if sample_groups.measurable:
            group_temperatures[method.name] = _measure_groups(method, sample_groups, task, config)
    result = _summary(task, methods, splits, weights)
    result["class_confidence"] = {
        method.name: {seed: _class_confidence(method, seed) for seed in method.predictions}
        for method in methods
        if method.kind == "expert"
    }
    result["notes"] += sample_groups.notes
    result["sample_groups"] = sample_groups.to_jsonable(group_temperatures)
    result["class_mixes"] = _class_mixes(methods, splits, task)
    if students:
        by_name = {method.name: method for method in methods}
        result["students"] = {split: measure_students(by_name, students, split) for split in splits}
    write_json(Path(output) / "metrics.json", result)
    write_json(Path(output) / "accuracy.json", _accuracy(methods))
    sample_ids = {name: split.sample_ids for name, split in splits.items()}
    tables.write(Path(output), task, methods, sample_ids, result["class_mixes"])
    return result


def _class_mixes(
    methods: list[Method], splits: dict[str, EvaluatedSplit], task: Task
) -> dict[str, dict[str, Any]]:
    """Return {split: {method: accuracy under other class mixes}}."""
    assumed = {method.name: assumed_shares(method, task) for method in methods}
    return {
        name: {
            method.name: summarise_class_mixes(
                measure_class_mixes(method, name, own.counts, task, assumed[method.name])
            )
            for method in methods
        }
        for name, own in splits.items()
    }


def _class_confidence(method: Method, seed: str) -> dict[str, Any]:
    """Return the largest probability of an expert for samples of each class, on tune."""
    return ClassConfidence.of(method.predictions[seed][FITTED_ON]).to_jsonable()


def _sample_groups(logits: Mapping[str, LogitsFile], groups: Mapping[str, str]) -> SampleGroups:
    """Return the groups of the samples of one expert's logits; all have the same samples."""
    names = {name: groups.get(name, name) for split in logits.values() for name in split.sample_ids}
    return SampleGroups(
        {split: of_split.sample_ids for split, of_split in logits.items()},
        {split: of_split.target for split, of_split in logits.items()},
        names,
    )


def _measure_groups(
    method: Method, groups: SampleGroups, task: Task, config: Evaluation
) -> dict[str, float | None]:
    """Add the metrics of groups to the method's values; return the temperature of each seed."""
    temperatures = {}
    for seed, predictions in method.predictions.items():
        temperatures[seed] = groups.fit(predictions)
        for split in REPORTED_SPLITS:
            values = groups.measure(predictions[split], split, temperatures[seed], task, config)
            method.add(split, "plain", values, {})
    return temperatures


def expert_methods(logits: Experts, task: Task) -> list[Method]:
    """Return the experts with their predictions."""
    methods = []
    for name, seeds in logits.items():
        method = Method(name, "expert", {})
        for seed, splits in seeds.items():
            method.predictions[seed] = {
                split: predict_expert(of_split) for split, of_split in splits.items()
            }
            method.heads[seed] = {
                split: hierarchy.head_predictions(splits[split], task) for split in REPORTED_SPLITS
            }
            method.raw[seed] = {
                split: predict_expert(splits[split], raw=True) for split in REPORTED_SPLITS
            }
        methods.append(method)
    return methods


Weights = dict[str, dict[str, float | None]]
"""The weight of each expert in stacked, by seed; None where it is not finite."""


def ensemble_methods(logits: Experts, students: Collection[str]) -> tuple[list[Method], Weights]:
    """Return the ensembles, none for one expert, and {seed: {expert: weight in stacked}}."""
    logits = {name: seeds for name, seeds in logits.items() if name not in students}
    if len(logits) < 2:
        return [], {}
    methods = [Method(name, "ensemble", {}) for name in ENSEMBLES]
    weights = {}
    for seed in next(iter(logits.values())):
        of_seed = [seeds[seed] for seeds in logits.values()]
        tune = [splits[FITTED_ON] for splits in of_seed]
        fitted, raw_fitted = fit_stacked(tune), fit_stacked(tune, raw=True)
        weights[seed] = {
            name: bootstrap.finite_or_none(weight)
            for name, weight in zip(logits, fitted, strict=True)
        }
        for method in methods:
            method.predictions[seed] = {
                split: predict_ensemble(method.name, [own[split] for own in of_seed], fitted)
                for split in of_seed[0]
            }
            method.raw[seed] = {
                split: predict_ensemble(
                    method.name, [own[split] for own in of_seed], raw_fitted, raw=True
                )
                for split in REPORTED_SPLITS
            }
    return methods, weights


def _measure(
    method: Method,
    task: Task,
    splits: dict[str, EvaluatedSplit],
    tune_weight: np.ndarray,
    config: Evaluation,
) -> None:
    """Fill the method's values, recalls, curves and rules."""
    recalls: dict[str, Any] = dict.fromkeys(splits, 0.0)
    for seed, predictions in method.predictions.items():
        method.rules[seed] = {
            weighting: fit_rules(predictions[FITTED_ON], base, task.tail, config.coverages)
            for weighting, base in _weightings(tune_weight).items()
        }
        for name, split in splits.items():
            prediction = predictions[name]
            bases = _weightings(split.long_tail)
            classwise = _collect(prediction, split, bases, task)
            for weighting, base in bases.items():
                answers = SelectiveAnswers.of(
                    prediction, method.rules[seed][weighting], base, task, config.coverages
                )
                every = WeightedSamples(
                    prediction, split.counts, base, task, classwise[weighting].values()
                )
                values, curves = _measure_rows(every, method.raw[seed][name], answers)
                if weighting == "plain":
                    values |= _measure_once(method, seed, name, split, task)
                method.add(name, weighting, values, curves)
            recalls[name] = recalls[name] + recalls_of(prediction, split.counts)
    for name in splits:
        method.class_recalls[name] = class_recalls(recalls[name] / len(method.predictions))


def _collect(
    prediction: Prediction, split: EvaluatedSplit, bases: Mapping[str, np.ndarray], task: Task
) -> dict[str, ClasswiseError]:
    """Gather all that metrics need of the probabilities, in one pass over them.

    Returns:
        The class-wise calibration error for each weighting; the rest is kept by the prediction.
    """
    classwise = {
        weighting: ClasswiseError(prediction.labels, prediction.classes, split.counts, base)
        for weighting, base in bases.items()
    }
    groups = head_and_tail(task.tail)
    prediction.collect(
        {
            GroupTops.key(groups): GroupTops(prediction, groups),
            **hierarchy.summed_ranks(prediction, split.labels, task),
        },
        once=classwise.values(),
    )
    return classwise


def recalls_of(prediction: Prediction, counts: np.ndarray) -> np.ndarray:
    """Return the recall of each class in each resample, [1 + B, C]."""
    return np.concatenate(
        [
            ClassSums.of(prediction, counts[rows].astype(float)).recall
            for rows in blocks_of_rows(counts)
        ]
    )


def _measure_once(
    method: Method, seed: str, name: str, split: EvaluatedSplit, task: Task
) -> Values:
    """Return the metrics that are measured only with equal weights.

    The ROC curve of a two-class task is added to the method.
    """
    prediction = method.predictions[seed][name]
    heads = method.heads.get(seed, {}).get(name, {})
    once = measure_auroc(prediction, split.counts)
    once |= measure_all_ranks(prediction, split.labels, heads, split.counts, task)
    if task.positive is not None:
        values, curve = roc.measure_low_fpr(prediction, task.positive, split.counts)
        once |= values
        method.tpr_curves[name] = method.tpr_curves.get(name, 0) + curve / len(method.predictions)
    return once


def measure_all_ranks(
    prediction: Prediction,
    labels: Mapping[str, np.ndarray],
    heads: Mapping[str, Prediction],
    counts: np.ndarray,
    task: Task,
) -> Values:
    """Return every metric per rank for all rows of counts, in blocks that bound memory."""
    return _concatenate(
        [
            hierarchy.measure_ranks(prediction, labels, heads, counts[rows], task)
            for rows in blocks_of_rows(counts)
        ]
    )


def blocks_of_rows(counts: np.ndarray) -> Iterator[slice]:
    """Yield slices of the rows of counts [B, N], such that an array of a slice is small."""
    step = max(1, _BLOCK // counts.shape[1])
    return (slice(start, start + step) for start in range(0, len(counts), step))


def _weightings(long_tail: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sample weights: equal, or by the class shares of the training data."""
    return {"plain": np.ones(len(long_tail)), "long_tail": long_tail}


def _measure_rows(
    every: WeightedSamples, raw: Prediction, answers: SelectiveAnswers
) -> tuple[Values, dict[tuple[str, str], np.ndarray]]:
    """Measure all rows of counts times base, in blocks that bound memory."""
    parts, curve_parts = [], []
    for rows in blocks_of_rows(every.weights):
        weights = every.weights[rows] * every.base
        samples = every.block(rows, weights)
        values = measure(samples)
        values |= measure_uncalibrated(replace(samples, prediction=raw))
        selective, curves = answers.measure(weights)
        parts.append(values | selective)
        curve_parts.append(curves)
    return _concatenate(parts), _concatenate(curve_parts)


def _concatenate(parts: list[dict]) -> dict:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _summary(
    task: Task,
    methods: list[Method],
    splits: dict[str, EvaluatedSplit],
    weights: Weights,
) -> dict[str, Any]:
    experts = [method for method in methods if method.kind == "expert"]
    ensembles = [method for method in methods if method.kind == "ensemble"]
    result: dict[str, Any] = {
        "target": task.target,
        "classes": task.classes,
        "coarser_ranks": list(task.coarser),
        "positive": None if task.positive is None else task.classes[task.positive],
        "groups": {
            name: [task.classes[index] for index in np.flatnonzero(members)]
            for name, members in task.groups.items()
        },
        "splits": {name: {"rows": split.counts.shape[1]} for name, split in splits.items()},
        "notes": _notes(task, methods),
        "experts": {method.name: method_values(method) for method in experts},
        "ensembles": {method.name: method_values(method) for method in ensembles},
        "paired": {split: paired_differences(experts, ensembles, split, task) for split in splits},
        "calibration": {split: calibration_effects(methods, split) for split in splits},
        "agreement": {
            name: _agreement(experts, name, split.counts) for name, split in splits.items()
        },
    }
    if weights:
        result["ensembles"]["stacked"]["weights"] = weights
    return result


def _notes(task: Task, methods: list[Method]) -> list[str]:
    notes = []
    if len(task.classes) <= 5:
        notes.append(f"top5 is 1 by definition: there are only {len(task.classes)} classes")
    empty = [name for name, members in task.groups.items() if not members.any()]
    if empty:
        notes.append(f"no class is in the group {' or '.join(empty)}: its accuracy is undefined")
    if len({bool(tail) for tail in task.tail}) < 2:
        notes.append(
            "all classes are head, or all are tail: balanced and worst-group error equal the error"
        )
    if not any(method.kind == "ensemble" for method in methods):
        notes.append("ensembles need at least two experts: there is only one")
    predictions = next(iter(methods[0].predictions.values()))
    for split in REPORTED_SPLITS:
        there = set(predictions[split].labels.tolist())
        lacking = [name for index, name in enumerate(task.classes) if index not in there]
        if lacking:
            notes.append(
                f"{split} has no sample of {listed(lacking)}: means over classes leave "
                f"{'it' if len(lacking) == 1 else 'them'} out"
            )
    return notes + roc.notes(task, {split: predictions[split].labels for split in REPORTED_SPLITS})


def _accuracy(methods: list[Method]) -> dict[str, Any]:
    """Return the means that `dvc metrics diff` compares between two commits."""
    return {
        split: {
            method.name: {
                metric: bootstrap.over_seeds(method.values[split][metric])["mean"]
                for metric in ACCURACY
            }
            for method in methods
        }
        for split in REPORTED_SPLITS
    }


def method_values(method: Method) -> dict[str, Any]:
    """Return a method's values with intervals, by seed and over seeds."""
    seeds = {
        seed: {
            split: {metric: bootstrap.interval(rows[index]) for metric, rows in values.items()}
            for split, values in method.values.items()
        }
        for index, seed in enumerate(method.predictions)
    }
    over = {
        split: {metric: bootstrap.over_seeds(rows) for metric, rows in values.items()}
        for split, values in method.values.items()
    }
    return {"seeds": seeds, "over_seeds": over}


def _agreement(experts: list[Method], split: str, counts: np.ndarray) -> dict[str, Any]:
    pairs = {}
    for index, a in enumerate(experts):
        for b in experts[index + 1 :]:
            values = {
                seed: _concatenate(
                    [
                        agreement(
                            a.predictions[seed][split],
                            b.predictions[seed][split],
                            counts[rows].astype(float),
                        )
                        for rows in blocks_of_rows(counts)
                    ]
                )
                for seed in a.predictions
            }
            pairs[f"{a.name} / {b.name}"] = {
                "seeds": {
                    seed: {metric: bootstrap.interval(rows) for metric, rows in of_seed.items()}
                    for seed, of_seed in values.items()
                },
                "over_seeds": {
                    metric: bootstrap.over_seeds([value[metric] for value in values.values()])
                    for metric in next(iter(values.values()))
                },
            }
    return pairs


KEPT = ("balanced_accuracy", "top1")


def results_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return ``{test: {method: {metric: mean over seeds}}}`` for every expert and ensemble.

    Args:
        metrics: the content of metrics.json.
    """
    methods = metrics["experts"] | metrics["ensembles"]
    return {
        "test": {
            name: {metric: values["over_seeds"]["test"][metric]["mean"] for metric in KEPT}
            for name, values in methods.items()
        }
    }
