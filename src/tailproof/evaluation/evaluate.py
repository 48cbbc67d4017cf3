"""The stage evaluate: metrics.json and CSV tables, computed from calibrated logits."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from tailproof.calibration.calibrated_logits import raw_values
from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.data.logits import Logits
from tailproof.evaluation import bootstrap, hierarchy, roc, tables
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.method import Method
from tailproof.evaluation.metrics import agreement, measure, measure_uncalibrated
from tailproof.evaluation.prior_shift import ClassConfidence
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.registry import LONG_TAIL, METRICS, UNCALIBRATED
from tailproof.evaluation.rejection import Rule
from tailproof.evaluation.roc import measure_auroc
from tailproof.evaluation.sample_groups import GAINED, PREFIX, SampleGroups
from tailproof.evaluation.sample_groups import METRICS as GROUP_METRICS
from tailproof.evaluation.selective import fit_rules, measure_selective
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
    write_json(Path(output) / "metrics.json", result)
    write_json(Path(output) / "accuracy.json", _accuracy(methods))
    tables.write(Path(output), task, methods, {name: s.sample_ids for name, s in splits.items()})
    return result


def _class_confidence(method: Method, seed: str) -> dict[str, Any]:
    """Return the largest probability of an expert for samples of each class, on tune."""
    tune = method.predictions[seed][FITTED_ON]
    known = ClassConfidence.of(tune.log_p, tune.labels)
    return {
        "confidence_mean": [bootstrap.finite_or_none(value) for value in known.mean],
        "confidence_sd": [bootstrap.finite_or_none(value) for value in known.sd],
        "samples": known.samples.tolist(),
    }


def _sample_groups(logits: Mapping[str, Logits], groups: Mapping[str, str]) -> SampleGroups:
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
                split: Prediction.from_logits(of_split.values, of_split.target)
                for split, of_split in splits.items()
            }
            method.heads[seed] = {
                split: hierarchy.coarse_log_probs(splits[split], task) for split in REPORTED_SPLITS
            }
            method.raw[seed] = {
                split: Prediction.from_logits(raw_values(splits[split]), splits[split].target)
                for split in REPORTED_SPLITS
            }
        methods.append(method)
    return methods


def ensemble_methods(
    logits: Experts, students: Collection[str]
) -> tuple[list[Method], dict[str, dict[str, float]]]:
    """Return the ensembles, none for one expert, and {seed: {expert: weight in stacked}}."""
    logits = {name: seeds for name, seeds in logits.items() if name not in students}
    if len(logits) < 2:
        return [], {}
    methods = [Method(name, "ensemble", {}) for name in ENSEMBLES]
    weights = {}
    for seed in next(iter(logits.values())):
        of_seed = [seeds[seed] for seeds in logits.values()]
        calibrated, fitted = _combined(methods, of_seed, lambda of_split: of_split.values)
        raw, _ = _combined(methods, of_seed, raw_values)
        weights[seed] = {
            name: bootstrap.finite_or_none(weight)
            for name, weight in zip(logits, fitted, strict=True)
        }
        for method in methods:
            method.predictions[seed] = calibrated[method.name]
            method.raw[seed] = {split: raw[method.name][split] for split in REPORTED_SPLITS}
    return methods, weights


def _combined(
    methods: list[Method],
    experts: list[dict[str, Logits]],
    values_of: Callable[[Logits], np.ndarray],
) -> tuple[dict[str, dict[str, Prediction]], np.ndarray]:
    """Return {ensemble: {split: prediction}} of the experts of one seed, and stacked's weights."""
    labels = {split: logits.target for split, logits in experts[0].items()}
    values = {split: np.stack([values_of(splits[split]) for splits in experts]) for split in labels}
    fitted = stack(values[FITTED_ON], labels[FITTED_ON])
    return {
        method.name: {
            split: combine(method.name, values[split], labels[split], fitted) for split in labels
        }
        for method in methods
    }, fitted


def _measure(
    method: Method,
    task: Task,
    splits: dict[str, EvaluatedSplit],
    tune_weight: np.ndarray,
    config: Evaluation,
) -> None:
    """Fill the method's values, recalls, curves and rules."""
    for seed, predictions in method.predictions.items():
        method.rules[seed] = {
            weighting: fit_rules(predictions[FITTED_ON], base, task.tail, config.coverages)
            for weighting, base in _weightings(tune_weight).items()
        }
        for name, split in splits.items():
            raw = method.raw[seed][name]
            for weighting, base in _weightings(split.long_tail).items():
                values, curves = _measure_rows(
                    predictions[name],
                    raw,
                    method.rules[seed][weighting],
                    counts=split.counts,
                    base=base,
                    task=task,
                    config=config,
                )
                if weighting == "plain":
                    values |= _measure_once(method, seed, name, split, task)
                method.add(name, weighting, values, curves)
            sums = ClassSums.of(predictions[name], split.counts.astype(float))
            method.recalls.setdefault(name, []).append(sums.recall)


def _measure_once(
    method: Method, seed: str, name: str, split: EvaluatedSplit, task: Task
) -> Values:
    """Return the metrics that are measured only with equal weights.

    The ROC curve of a two-class task is added to the method.
    """
    prediction = method.predictions[seed][name]
    heads = method.heads.get(seed, {}).get(name, {})
    once = measure_auroc(prediction, split.counts)
    once |= hierarchy.measure_ranks(prediction, split.labels, heads, split.counts, task)
    if task.positive is not None:
        values, curve = roc.measure_low_fpr(prediction, task.positive, split.counts)
        once |= values
        method.tpr_curves[name] = method.tpr_curves.get(name, 0) + curve / len(method.predictions)
    return once


def _weightings(long_tail: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sample weights: equal, or by the class shares of the training data."""
    return {"plain": np.ones(len(long_tail)), "long_tail": long_tail}


def _measure_rows(
    prediction: Prediction,
    raw: Prediction,
    rules: dict[str, list[Rule]],
    *,
    counts: np.ndarray,
    base: np.ndarray,
    task: Task,
    config: Evaluation,
) -> tuple[Values, dict[tuple[str, str], np.ndarray]]:
    """Measure all rows of counts times base, in blocks that bound memory."""
    step = max(1, _BLOCK // counts.shape[1])
    parts, curve_parts = [], []
    for start in range(0, len(counts), step):
        weights = counts[start : start + step] * base
        values = measure(WeightedSamples(prediction, weights, base, task))
        values |= measure_uncalibrated(WeightedSamples(raw, weights, base, task))
        selective, curves = measure_selective(
            prediction, rules, weights, base=base, task=task, coverages=config.coverages
        )
        parts.append(values | selective)
        curve_parts.append(curves)
    return _concatenate(parts), _concatenate(curve_parts)


def _concatenate(parts: list[dict]) -> dict:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _summary(
    task: Task,
    methods: list[Method],
    splits: dict[str, EvaluatedSplit],
    weights: dict[str, dict[str, float]],
) -> dict[str, Any]:
    experts = [method for method in methods if method.kind == "expert"]
    ensembles = [method for method in methods if method.kind == "ensemble"]
    result = {
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


def paired_differences(
    experts: list[Method], ensembles: list[Method], split: str, task: Task
) -> dict[str, Any]:
    """Return the paired differences of every two experts, and of ensembles and experts."""
    pairs = [(a, b) for index, a in enumerate(experts) for b in experts[index + 1 :]]
    pairs += [(a, b) for a in ensembles for b in experts]
    return {
        f"{a.name} - {b.name}": {
            metric: bootstrap.difference(a.values[split][metric], b.values[split][metric])
            for metric in _paired_metrics(task)
            if metric in a.values[split] and metric in b.values[split]
        }
        for a, b in pairs
    }


def calibration_effects(methods: list[Method], split: str) -> dict[str, Any]:
    """Return, per method, what calibration changed: after minus before, on the same samples."""
    return {
        method.name: {
            name: bootstrap.difference(
                method.values[split][name], method.values[split][f"{name}{UNCALIBRATED}"]
            )
            for name, metric in METRICS.items()
            if metric.before_calibration
        }
        for method in methods
    }


def _paired_metrics(task: Task) -> list[str]:
    paired = [name for name, metric in METRICS.items() if metric.paired]
    long_tail = [f"{LONG_TAIL}{name}" for name, metric in METRICS.items() if metric.long_tail]
    groups = [f"{PREFIX}{name}" for name in GROUP_METRICS] + [f"{GAINED}top1"]
    return list(dict.fromkeys([*paired, *long_tail, *hierarchy.measured(task), *groups]))


def _agreement(experts: list[Method], split: str, counts: np.ndarray) -> dict[str, Any]:
    pairs = {}
    weights = counts.astype(float)
    for index, a in enumerate(experts):
        for b in experts[index + 1 :]:
            values = {
                seed: agreement(a.predictions[seed][split], b.predictions[seed][split], weights)
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
