"""The stage bundle: the experts of one seed as one folder, with what was fitted on the ensemble."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.bundle.card import EnsembleFacts, card_of
from tailproof.bundle.inputs import Sources
from tailproof.bundle.promises import promise
from tailproof.bundle.tensors import Packed, pack_weights
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.config.evaluation import STACKED, Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.deployment import Assumptions, Deployment, FittedRule
from tailproof.evaluation.predictions import fit_stacked, predict_ensemble
from tailproof.evaluation.prior_shift import ClassConfidence
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.selective import fit_rules
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.files import read_json, write_json, write_text
from tailproof.guarantees.ensemble_predictions import combine_experts
from tailproof.guarantees.expert_guarantees import FILE as GUARANTEES
from tailproof.guarantees.fitting import PRIOR_FROM
from tailproof.guarantees.guarantee import read_logits
from tailproof.guarantees.unknown_scores import FEATURE_SCORES
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.bundle_file import FILE, BundledExpert, BundleFile
from tailproof.predict.expert_folder import DEPLOYMENT, WEIGHTS
from tailproof.predict.loaded_expert import load_expert
from tailproof.runtime.errors import TailproofError

SPLITS = (*PRIOR_FROM, FITTED_ON)
SAME_WEIGHT = 1e-6
"""Largest difference of a weight from the one that the evaluation fitted."""


def bundle(
    sources: Sources, evaluation: Evaluation, guarantees: Guarantees, output: str | Path
) -> BundleFile:
    """Write the folder of an ensemble, and open it once.

    Args:
        sources: the experts, and what the evaluation fitted.
        evaluation: the configuration section evaluation.
        guarantees: the configuration section guarantees.
        output: the folder.

    Raises:
        TailproofError: a file is damaged, or the files do not belong together.
    """
    output, metrics = Path(output), sources.read_metrics()
    configs = {name: ExpertConfig.read(sources.configs[name]) for name in sources.experts}
    calibrations = {
        name: CalibrationFile.read(sources.calibrations[name]) for name in sources.experts
    }
    task = Task.read(sources.manifest, evaluation)
    logits = [
        {split: read_logits(sources.logits[name, split], task) for split in SPLITS}
        for name in sources.experts
    ]
    tune = [of_expert[FITTED_ON] for of_expert in logits]
    weights = _ensemble_weights(sources, metrics, tune)
    unknown = sources.read_unknown()
    known = _known_features(sources, weights, unknown)
    packed = pack_weights(sources.weights, configs, output / WEIGHTS, known)
    facts: dict[str, Any] = {
        "experiment": sources.experiment,
        "expert": sources.method,
        "seed": sources.seed,
        "weights_sha256": packed.sha256,
    }
    decided = predict_ensemble(sources.method, tune, weights)
    temperature = _group_temperature(metrics, sources)
    predictions = combine_experts(sources.method, logits).predictions
    promises = promise(sources, task, logits[0], predictions, guarantees, temperature, facts)
    if unknown is not None:
        promises["unknown"] = {**unknown, "features_sha256": packed.sha256}
    deployment = Deployment(
        **facts,
        images=read_json(sources.manifest)["mode"],
        tail=metrics["groups"]["few"],
        coverage=max((value for value in evaluation.coverages if value < 1), default=1.0),
        rules=_rules(decided, task, evaluation),
        group_temperature=temperature,
        assumptions=_assumptions(predictions[FITTED_ON], np.array(promises["shares"])),
    )
    described = _described(sources, weights, configs, calibrations, packed)
    write_json(output / FILE, described.model_dump(mode="json", exclude_unset=True))
    write_json(output / GUARANTEES, promises)
    deployment.write(output / DEPLOYMENT)
    card = EnsembleFacts(sources.title, described, deployment, promises, metrics)
    write_text(output / "README.md", card_of(card))
    load_expert(output).guarantees()
    return described


def _known_features(
    sources: Sources, weights: np.ndarray, unknown: Mapping[str, Any] | None
) -> dict[str, str | Path]:
    """Return the files that the score of unknown images needs; none if it needs only logits."""
    if unknown is None or unknown["score"] not in FEATURE_SCORES:
        return {}
    pairs = zip(sources.experts, weights, strict=True)
    return {name: sources.known[name] for name, weight in pairs if weight > 0}


def _described(
    sources: Sources,
    weights: np.ndarray,
    configs: Mapping[str, ExpertConfig],
    calibrations: Mapping[str, CalibrationFile],
    packed: Packed,
) -> BundleFile:
    return BundleFile(
        format=1,
        experiment=sources.experiment,
        method=sources.method,
        seed=sources.seed,
        weights_sha256=packed.sha256,
        experts={
            name: BundledExpert(
                weight=float(weight),
                weights_sha256=calibrations[name].weights_sha256,
                backbone=packed.backbones[name],
                config=configs[name],
                calibration=calibrations[name],
            )
            for name, weight in zip(sources.experts, weights, strict=True)
        },
        sources=sources.digests(),
    )


def _ensemble_weights(
    sources: Sources, metrics: Mapping[str, Any], tune: Sequence[LogitsFile]
) -> np.ndarray:
    """Return the weight of each expert, unrounded; all are equal where the method fits none.

    Args:
        sources: the sources.
        metrics: the content of metrics.json, which has the same weights, rounded.
        tune: calibrated logits of each expert on tune.

    Raises:
        TailproofError: metrics.json has others.
    """
    if sources.method != STACKED:
        return np.full(len(tune), 1 / len(tune))
    evaluated = metrics["ensembles"].get(STACKED, {}).get("weights", {})
    evaluated = evaluated.get(str(sources.seed), {})
    weights = fit_stacked(tune)
    known = [evaluated.get(name, np.nan) for name in sources.experts]
    if not np.allclose(known, weights, rtol=0, atol=SAME_WEIGHT):
        raise TailproofError(
            f"{sources.metrics} has other weights of the experts for seed {sources.seed} than a "
            "new fit on their logits: run snakemake again with --forcerun evaluate"
        )
    return weights


def _rules(tune: Prediction, task: Task, evaluation: Evaluation) -> dict[str, list[FittedRule]]:
    """Fit the rejection rules as the evaluation does, unrounded: scores can be almost equal."""
    ones = np.ones(len(tune.labels))
    has_classes = (not task.tail.all(), bool(task.tail.any()))

    def both(values: np.ndarray) -> tuple[float | None, float | None]:
        given = iter(values.tolist())
        head, tail = (next(given) if there else None for there in has_classes)
        return head, tail

    return {
        name: [
            FittedRule(
                coverage=rule.coverage,
                shift=both(rule.shift),
                gain=both(rule.gain),
                multiplier=both(rule.multiplier),
                threshold=float(rule.threshold) if np.isfinite(rule.threshold) else None,
            )
            for rule in rules
        ]
        for name, rules in fit_rules(tune, ones, task.tail, evaluation.coverages).items()
    }


def _group_temperature(metrics: Mapping[str, Any], sources: Sources) -> float | None:
    groups = metrics["sample_groups"]
    return groups and groups["temperatures"][sources.method][str(sources.seed)]


def _assumptions(tune: Prediction, shares: np.ndarray) -> Assumptions:
    return Assumptions(shares=shares.tolist(), **ClassConfidence.of(tune).to_jsonable())
