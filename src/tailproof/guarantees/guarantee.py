"""The stage guarantee: guarantees.json and the rules of every expert, from calibrated logits."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.predictions import predict_expert
from tailproof.evaluation.sample_groups import read_groups
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS, Experts, Files, Task, read_experts
from tailproof.files import write_json
from tailproof.guarantees.context_prior import Context
from tailproof.guarantees.ensemble_predictions import Combined, combine_experts
from tailproof.guarantees.expert_guarantees import stored_guarantees
from tailproof.guarantees.fitting import PRIOR_FROM, Samples, Setting, Unit
from tailproof.guarantees.grouped import Groups
from tailproof.guarantees.known_risks import promise_unknown
from tailproof.guarantees.prediction_sets import absent_classes, shift_weights
from tailproof.guarantees.promised import Promised, PromisedGroups
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes
from tailproof.guarantees.summary import Method
from tailproof.guarantees.unknown import Scored, combine_scores, features_of, read_all_scores
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed, quantity

NAMES_LISTED = 20
Array = np.ndarray


def guarantee(
    experts: Files,
    manifest: str | Path,
    samples: str | Path,
    evaluation: Evaluation,
    config: Guarantees,
    experiment: str,
    output: str | Path,
    splits: str | Path | None = None,
    context: str | Path | None = None,
    unknown: Mapping[str, Mapping[Any, str | Path]] | None = None,
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
        splits: splits.parquet; only context needs it.
        context: context.parquet; None without columns of context.
        unknown: {expert: {seed: path of unknown_scores.parquet}}, if experts say "unknown".
        students: the experts that learnt from an ensemble, which no ensemble combines.

    Returns:
        The content of guarantees.json.

    Raises:
        TailproofError: files are damaged or do not match each other.
    """
    task = Task.read(manifest, evaluation)
    logits = read_experts(experts, task)
    first = next(iter(next(iter(logits.values())).values()))
    prior = _read_prior_splits(experts, task)
    classes = classes_of(task)
    class_weights, notes = _class_weights(first[FITTED_ON], classes)
    group_of = read_groups(samples)
    notes_on_groups = group_notes(first[FITTED_ON], group_of)
    of_first = {**first, **next(iter(next(iter(prior.values())).values()))}
    groups = Groups.of(of_first, group_of)
    in_context = Context.read(context, samples, splits, task) if context and splits else None
    setting = Setting(classes, config, evaluation, task, in_context)
    rows = {
        split: _samples(first[split], split, evaluation, class_weights)
        for split in (FITTED_ON, *REPORTED_SPLITS)
    }
    unit = Unit(rows, class_weights, _codes(in_context, of_first))
    unit_of_groups = groups.unit(unit.codes, evaluation) if groups else None
    every = {
        expert: {seed: {**splits, **prior[expert][seed]} for seed, splits in seeds.items()}
        for expert, seeds in logits.items()
    }
    parts = [expert for expert in logits if expert not in students]
    ensembles = _combined(every, parts)
    unknown = unknown or {}
    scores = _read_scores(unknown, logits, parts, ensembles)
    result: dict[str, Any] = {
        "target": task.target,
        "ranks": [rank.name for rank in classes.ranks],
        "confidence": config.confidence,
        "rows": {split: own.counts.shape[1] for split, own in rows.items()},
        **({"groups": groups.count()} if groups else {}),
        **({"context": in_context.to_jsonable()} if in_context else {}),
        "notes": notes + notes_on_groups,
        "methods": {},
    }
    stored: dict[str, dict[str, Any]] = {}
    for method in track(_methods(every, ensembles), "guarantee"):
        promised = Promised.of(method, unit, setting)
        result["methods"][method.name] = promised.summary
        of_groups = None
        if groups and unit_of_groups:
            of_groups = PromisedGroups.of(method, groups, unit_of_groups, setting)
            promised.summary["groups"] = of_groups.promised.summary
        if method.kind == "expert":
            facts: dict[str, Any] = {"experiment": experiment, "notes": notes_on_groups}
            stored[method.name] = _stored(
                method, logits[method.name], promised, of_groups, setting, facts
            )
        if method.name in scores:
            promised.summary["unknown"], unknown_rules = promise_unknown(
                scores[method.name], promised, of_groups, group_of, setting
            )
            of_method = stored.setdefault(method.name, {})
            for seed, own in unknown_rules.items():
                used = _features(method, unknown, parts, seed)
                of_method.setdefault(seed, {})["unknown"] = own | {"features_sha256": used}
    write_json(Path(output) / "guarantees.json", result)
    write_json(Path(output) / "guarantee_rules.json", stored)
    return result


def _read_scores(
    files: Mapping[str, Mapping[Any, str | Path]],
    logits: Experts,
    parts: Sequence[str],
    ensembles: Mapping[str, Mapping[str, Combined]],
) -> dict[str, dict[str, Scored]]:
    """Return how well each expert, and each ensemble of `parts`, knows images; by name and seed."""
    scores = read_all_scores(files, logits)
    combined = {
        name: {
            seed: combine_scores({expert: scores[expert][seed] for expert in parts}, own)
            for seed, own in seeds.items()
        }
        for name, seeds in ensembles.items()
        if scores
    }
    return scores | combined


def _features(
    method: Method,
    unknown: Mapping[str, Mapping[Any, str | Path]],
    parts: Sequence[str],
    seed: str,
) -> str | dict[str, str]:
    """Return the digest of the features that an expert kept; of an ensemble, those of its parts."""
    if method.kind == "expert":
        return features_of(unknown[method.name], seed)
    return {part: features_of(unknown[part], seed) for part in parts}


def _stored(
    method: Method,
    logits: Mapping[str, Mapping[str, LogitsFile]],
    promised: Promised,
    of_groups: PromisedGroups | None,
    setting: Setting,
    facts: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Return the rules of an expert by seed, as guarantee_rules.json has them."""
    of_expert = ("expert", "seed", "weights_sha256")
    return {
        seed: stored_guarantees(
            rules,
            setting.classes,
            setting.config,
            grouped=of_groups.stored(seed) if of_groups else None,
            context=promised.stored_context(seed, setting.context),
            **facts,
            **{name: logits[seed][FITTED_ON].metadata[name] for name in of_expert},
        )
        for seed, rules in method.rules.items()
    }


def _codes(context: Context | None, files: Mapping[str, LogitsFile]) -> dict[str, list[Array]]:
    """Return the codes of each column of context, by split."""
    if context is None:
        return {}
    return {split: context.codes(file.sample_ids) for split, file in files.items()}


def classes_of(task: Task) -> Classes:
    """Return the classes of a task, with the target and its coarser ranks from the finest."""
    target = Rank(task.target, task.classes, np.arange(len(task.classes)))
    coarser = [
        Rank(name, task.rank_classes[name], above) for name, above in reversed(task.coarser.items())
    ]
    return Classes(task.classes, task.train_counts, task.groups, [target, *coarser])


def _class_weights(tune: LogitsFile, classes: Classes) -> tuple[dict[str, Array | None], list[str]]:
    """Return the weightings of the sets, and what is left out."""
    shares = classes.train_counts / classes.train_counts.sum()
    absent = [classes.names[index] for index in absent_classes(tune.target, shares)]
    if absent:
        return {"plain": None}, [
            "there are no sets for the training class distribution, because tune has no sample of "
            f"{listed(absent, NAMES_LISTED)}"
        ]
    return {"plain": None, "long_tail": shift_weights(tune.target, shares, classes.names)}, []


def group_notes(tune: LogitsFile, group: Mapping[str, str]) -> list[str]:
    """Say that samples of one group are alike, if tune has such samples.

    Args:
        tune: logits of tune.
        group: the group of each sample; a sample that is not listed is its own group.
    """
    groups = len({group.get(sample, sample) for sample in tune.sample_ids})
    rows = len(tune.sample_ids)
    if groups == rows:
        return []
    return [
        f"tune has {rows:,} samples in {quantity(groups, 'group')}: samples of a group are alike, "
        "so promises are less certain than the confidence says; the fewer the groups, the less "
        "certain"
    ]


def _samples(
    logits: LogitsFile, split: str, evaluation: Evaluation, weightings: Mapping[str, Any]
) -> Samples:
    weights = {"plain": np.ones(len(logits.target)), "long_tail": logits.weight}
    return Samples.of({name: weights[name] for name in weightings}, split, evaluation)


def _read_prior_splits(files: Files, task: Task) -> Experts:
    return {
        expert: {
            str(seed): {split: read_logits(paths[split], task) for split in PRIOR_FROM}
            for seed, paths in seeds.items()
        }
        for expert, seeds in files.items()
    }


def read_logits(path: str | Path, task: Task) -> LogitsFile:
    """Open calibrated logits.

    Raises:
        TailproofError: the file is damaged or is for another number of classes.
    """
    logits = LogitsFile.open(path)
    if logits.classes[task.target] != len(task.classes):
        raise TailproofError(
            f"{path} has {logits.classes[task.target]} logits per sample, expected "
            f"{len(task.classes)}, the classes of '{task.target}' in the manifest: train the "
            "expert again"
        )
    return logits


def _combined(logits: Experts, names: Sequence[str]) -> dict[str, dict[str, Combined]]:
    """Return every ensemble of some experts by seed; none of a single expert."""
    if len(names) < 2:
        return {}
    return {
        ensemble: {
            seed: combine_experts(ensemble, [logits[name][seed] for name in names])
            for seed in logits[names[0]]
        }
        for ensemble in ENSEMBLES
    }


def _methods(logits: Experts, ensembles: Mapping[str, Mapping[str, Combined]]) -> list[Method]:
    """Return the experts and the ensembles, with predictions for all splits."""
    predictions = {
        name: {
            seed: {split: predict_expert(own) for split, own in splits.items()}
            for seed, splits in seeds.items()
        }
        for name, seeds in logits.items()
    }
    experts = [Method(name, "expert", own, {}, {}, {}) for name, own in predictions.items()]
    combined = {
        name: {seed: own.predictions for seed, own in seeds.items()}
        for name, seeds in ensembles.items()
    }
    return experts + [Method(name, "ensemble", own, {}, {}, {}) for name, own in combined.items()]
