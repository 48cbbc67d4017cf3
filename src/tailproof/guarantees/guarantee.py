"""The stage guarantee: guarantees.json and the rules of every expert, from calibrated logits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import Logits
from tailproof.evaluation import bootstrap
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.prior_shift import Strength, fit_prior_strength, prior_shares
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import read_groups
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS, Experts, Files, Task, read_experts
from tailproof.files import write_json
from tailproof.guarantees.expert_guarantees import stored_guarantees
from tailproof.guarantees.measure import measure_guarantees
from tailproof.guarantees.prediction_sets import absent_classes, shift_weights
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes, Rules, fit_guarantees
from tailproof.guarantees.summary import Method, summarise
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed, quantity

NAMES_LISTED = 20
STACKED, FOLDS = "stacked", 5
PRIOR_FROM = ("val", "calib")
"""The splits that show which class shares a softmax assumes; no rule is fitted on them."""

Array = np.ndarray


@dataclass(frozen=True)
class Samples:
    """The weights of a split: bootstrap counts [1 + B, N], and weights by weighting [N].

    B is 0 for tune, on which nothing is measured.
    """

    counts: Array
    weights: Mapping[str, Array]

    @property
    def effective(self) -> dict[str, float]:
        """Return the number of equally weighted samples with as much information (Kish 1965)."""
        return {
            name: float(weights.sum() ** 2 / (weights**2).sum())
            for name, weights in self.weights.items()
        }


def guarantee(
    experts: Files,
    manifest: str | Path,
    samples: str | Path,
    evaluation: Evaluation,
    config: Guarantees,
    experiment: str,
    output: str | Path,
    students: Collection[str] = (),
) -> dict[str, Any]:
    """Fit every promise on tune and measure it on dev and test.

    Args:
        experts: {expert: {seed: {split: path of the calibrated logits}}} with val, calib, tune, dev
            and test.
        manifest: the shards' manifest.json.
        samples: samples.parquet, which has the group of each sample.
        evaluation: the configuration section evaluation.
        config: the configuration section guarantees.
        experiment: name of the experiment.
        output: folder for guarantees.json and guarantee_rules.json.
        students: the experts that learnt from an ensemble, which no ensemble combines.

    Returns:
        The content of guarantees.json.

    Raises:
        TailproofError: files are damaged or do not match each other.
    """
    task = Task.read(manifest, evaluation)
    logits = read_experts(experts, task)
    classes = classes_of(task)
    first = next(iter(next(iter(logits.values())).values()))
    class_weights, notes = _class_weights(first[FITTED_ON], classes)
    notes_on_groups = group_notes(first[FITTED_ON], samples)
    splits = {
        split: _samples(first[split], split, evaluation, class_weights)
        for split in (FITTED_ON, *REPORTED_SPLITS)
    }
    methods = _methods(logits, _read_prior_splits(experts, task), students)
    stored: dict[str, dict[str, Any]] = {}
    for method in track(methods, "guarantee"):
        _fit_and_measure(method, classes, config, class_weights, splits)
        if method.kind == "expert":
            stored[method.name] = {
                seed: stored_guarantees(
                    rules,
                    classes,
                    config,
                    experiment=experiment,
                    expert=method.name,
                    seed=int(seed),
                    weights_sha256=logits[method.name][seed][FITTED_ON].metadata["weights_sha256"],
                    notes=notes_on_groups,
                )
                for seed, rules in method.rules.items()
            }
    effective = {split: own.effective for split, own in splits.items()}
    result = {
        "target": task.target,
        "ranks": [rank.name for rank in classes.ranks],
        "confidence": config.confidence,
        "rows": {split: own.counts.shape[1] for split, own in splits.items()},
        "notes": notes + notes_on_groups,
        "methods": {
            method.name: summarise(method, config, classes, effective) for method in methods
        },
    }
    write_json(Path(output) / "guarantees.json", result)
    write_json(Path(output) / "guarantee_rules.json", stored)
    return result


def classes_of(task: Task) -> Classes:
    """Return the classes of a task, with the target and its coarser ranks from the finest."""
    target = Rank(task.target, task.classes, np.arange(len(task.classes)))
    coarser = [
        Rank(name, task.rank_classes[name], above) for name, above in reversed(task.coarser.items())
    ]
    return Classes(task.classes, task.train_counts, task.groups, [target, *coarser])


def _class_weights(tune: Logits, classes: Classes) -> tuple[dict[str, Array | None], list[str]]:
    """Return the weightings of the sets, and what is left out."""
    shares = classes.train_counts / classes.train_counts.sum()
    absent = [classes.names[index] for index in absent_classes(tune.target, shares)]
    if absent:
        return {"plain": None}, [
            "there are no sets for the training class distribution, because tune has no sample of "
            f"{listed(absent, NAMES_LISTED)}"
        ]
    return {"plain": None, "long_tail": shift_weights(tune.target, shares, classes.names)}, []


def group_notes(tune: Logits, samples: str | Path) -> list[str]:
    """Say that samples of one group are alike, if tune has such samples."""
    group = read_groups(samples)
    groups = len({group.get(sample, sample) for sample in tune.sample_ids})
    rows = len(tune.sample_ids)
    if groups == rows:
        return []
    return [
        f"tune has {rows:,} samples in {quantity(groups, 'group')}: samples of a group are alike, "
        "so promises are less certain than the confidence says, the more so the fewer groups"
    ]


def _samples(
    logits: Logits, split: str, evaluation: Evaluation, weightings: Mapping[str, Any]
) -> Samples:
    replicates = 0 if split == FITTED_ON else evaluation.bootstrap  # nothing is measured there
    counts = bootstrap.resamples(len(logits.target), replicates, evaluation.seed, split)
    weights = {"plain": np.ones(len(logits.target)), "long_tail": logits.weight}
    return Samples(counts, {name: weights[name] for name in weightings})


def _read_prior_splits(files: Files, task: Task) -> Experts:
    return {
        expert: {
            str(seed): {split: read_logits(paths[split], task) for split in PRIOR_FROM}
            for seed, paths in seeds.items()
        }
        for expert, seeds in files.items()
    }


def read_logits(path: str | Path, task: Task) -> Logits:
    """Read calibrated logits.

    Raises:
        TailproofError: the file is damaged or is for another number of classes.
    """
    logits = Logits.read(path)
    if logits.values.shape[1] != len(task.classes):
        raise TailproofError(
            f"{path} has {logits.values.shape[1]} logits per sample, expected {len(task.classes)}, "
            f"the classes of '{task.target}' in the manifest: train the expert again"
        )
    return logits


def _methods(logits: Experts, prior: Experts, students: Collection[str]) -> list[Method]:
    """Return the experts, and the ensemble stacked if there are several that are no students."""
    every = {
        expert: {seed: {**splits, **prior[expert][seed]} for seed, splits in seeds.items()}
        for expert, seeds in logits.items()
    }
    methods = [
        Method(
            name,
            "expert",
            {
                seed: {
                    split: Prediction.from_logits(own.values, own.target)
                    for split, own in splits.items()
                }
                for seed, splits in seeds.items()
            },
            {},
            {},
            {},
        )
        for name, seeds in every.items()
    ]
    combined = [own for name, own in every.items() if name not in students]
    if len(combined) > 1:
        stacked = {
            seed: ensemble_predictions(STACKED, [own[seed] for own in combined])
            for seed in combined[0]
        }
        methods.append(Method(STACKED, "ensemble", stacked, {}, {}, {}))
    return methods


def ensemble_predictions(
    name: str, experts: Sequence[Mapping[str, Logits]]
) -> dict[str, Prediction]:
    """Return the predictions of an ensemble by split; stacked is cross-fitted on tune.

    Args:
        name: one of `tailproof.config.evaluation.ENSEMBLES`.
        experts: calibrated logits of each expert by split, tune among them.
    """
    values = {split: np.stack([own[split].values for own in experts]) for split in experts[0]}
    target = {split: logits.target for split, logits in experts[0].items()}
    if name != STACKED:
        equal = np.full(len(experts), 1 / len(experts))
        return {split: combine(name, values[split], target[split], equal) for split in values}
    weights = stack(values[FITTED_ON], target[FITTED_ON])
    fitted = cross_fitted(values.pop(FITTED_ON), target[FITTED_ON])
    others = {split: combine(STACKED, values[split], target[split], weights) for split in values}
    return {FITTED_ON: fitted, **others}


def cross_fitted(logits: Array, labels: Array) -> Prediction:
    """Return the prediction of stacked for samples that its weights were not fitted on.

    The weights are fitted on tune too. What tune promises of them would be too good, so each fifth
    of it, spread over the classes, is predicted with weights fitted on the rest.

    Args:
        logits: [E, N, C].
        labels: N class indices.
    """
    samples = len(labels)
    if samples < 2:
        return combine(STACKED, logits, labels, stack(logits, labels))
    part = np.empty(samples, int)
    part[np.argsort(labels, kind="stable")] = np.arange(samples) % FOLDS
    log_p = np.empty(logits.shape[1:])
    for fold in np.unique(part):
        here = part == fold
        weights = stack(logits[:, ~here], labels[~here])
        log_p[here] = combine(STACKED, logits[:, here], labels[here], weights).log_p
    return Prediction(log_p, labels)


def _fit_and_measure(
    method: Method,
    classes: Classes,
    config: Guarantees,
    class_weights: Mapping[str, Array | None],
    splits: Mapping[str, Samples],
) -> None:
    """Fill the method's strength, rules and values."""
    for seed, predictions in method.predictions.items():
        strength, rules = fit_predictions(predictions, classes, config, class_weights)
        method.strength[seed], method.rules[seed] = strength, rules
        for split in REPORTED_SPLITS:
            samples = splits[split]
            measured = measure_guarantees(
                rules, predictions[split], classes, samples.counts, samples.weights
            )
            kept = method.values.setdefault(split, {})
            for key, rows in measured.items():
                kept.setdefault(key, []).append(rows)


def fit_predictions(
    predictions: Mapping[str, Prediction],
    classes: Classes,
    config: Guarantees,
    class_weights: Mapping[str, Array | None],
) -> tuple[Strength, Rules]:
    """Return how strongly predictions assume the training shares, and every rule.

    Args:
        predictions: of val, calib and tune.
        classes: the classes.
        config: the promises.
        class_weights: {weighting: weight of each class [C]; None for ones}.
    """
    seen = [predictions[split] for split in PRIOR_FROM]
    strength = fit_prior_strength(
        np.concatenate([own.log_p for own in seen]),
        np.concatenate([own.labels for own in seen]),
        classes.train_counts,
    )
    shares = prior_shares(classes.train_counts, strength.value)
    return strength, fit_guarantees(predictions[FITTED_ON], classes, shares, config, class_weights)
