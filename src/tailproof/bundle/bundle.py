"""The stage bundle: the experts of one seed as one folder, with what was fitted on the ensemble."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.bundle.card import EnsembleFacts, card_of
from tailproof.bundle.sources import Sources
from tailproof.bundle.tensors import Packed, pack_weights
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import Logits
from tailproof.evaluation.bootstrap import finite_or_none
from tailproof.evaluation.deployment import Assumptions, Deployment
from tailproof.evaluation.prior_shift import ClassConfidence
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import read_groups
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.files import read_json, write_json, write_text
from tailproof.guarantees.expert_guarantees import FILE as GUARANTEES
from tailproof.guarantees.expert_guarantees import stored_guarantees
from tailproof.guarantees.fitting import PRIOR_FROM, fit_predictions
from tailproof.guarantees.guarantee import (
    STACKED,
    classes_of,
    ensemble_predictions,
    group_notes,
    read_logits,
)
from tailproof.model_card.rejection_rules import rules_of
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.bundle_file import FILE, BundledExpert, BundleFile
from tailproof.predict.expert_folder import DEPLOYMENT, WEIGHTS
from tailproof.predict.loaded_expert import load_expert
from tailproof.runtime.errors import TailproofError

SPLITS = (*PRIOR_FROM, FITTED_ON)


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
    packed = pack_weights(sources.weights, configs, output / WEIGHTS)
    facts = {"experiment": sources.experiment, "expert": sources.method, "seed": sources.seed}
    facts |= {"weights_sha256": packed.sha256}
    promises, assumptions = _promises(sources, evaluation, guarantees, facts)
    deployment = Deployment(
        **facts,
        images=read_json(sources.manifest)["mode"],
        tail=metrics["groups"]["few"],
        coverage=max((value for value in evaluation.coverages if value < 1), default=1.0),
        rules=rules_of(sources.rejectors, sources.method, sources.seed),
        group_temperature=_group_temperature(metrics, sources),
        assumptions=assumptions,
    )
    described = _described(sources, metrics, configs, calibrations, packed)
    write_json(output / FILE, described.model_dump(mode="json", exclude_unset=True))
    write_json(output / GUARANTEES, promises)
    deployment.write(output / DEPLOYMENT)
    card = EnsembleFacts(sources.title, described, deployment, promises, metrics)
    write_text(output / "README.md", card_of(card))
    load_expert(output).guarantees()
    return described


def _described(
    sources: Sources,
    metrics: Mapping[str, Any],
    configs: Mapping[str, ExpertConfig],
    calibrations: Mapping[str, CalibrationFile],
    packed: Packed,
) -> BundleFile:
    weights = _ensemble_weights(sources, metrics)
    return BundleFile(
        format=1,
        experiment=sources.experiment,
        method=sources.method,
        seed=sources.seed,
        weights_sha256=packed.sha256,
        experts={
            name: BundledExpert(
                weight=weights[name],
                weights_sha256=calibrations[name].weights_sha256,
                backbone=packed.backbones[name],
                config=configs[name],
                calibration=calibrations[name],
            )
            for name in sources.experts
        },
        sources=sources.digests(),
    )


def _ensemble_weights(sources: Sources, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the weight of each expert; all are equal where the method fits none."""
    if sources.method != STACKED:
        return dict.fromkeys(sources.experts, 1 / len(sources.experts))
    fitted = metrics["ensembles"].get(STACKED, {}).get("weights", {}).get(str(sources.seed), {})
    if set(fitted) != set(sources.experts):
        raise TailproofError(
            f"{sources.metrics} has weights of {', '.join(fitted) or 'no experts'} for the seed "
            f"{sources.seed}, expected {', '.join(sources.experts)}: run evaluate again"
        )
    return fitted


def _group_temperature(metrics: Mapping[str, Any], sources: Sources) -> float | None:
    groups = metrics["sample_groups"]
    return groups and groups["temperatures"][sources.method][str(sources.seed)]


def _promises(
    sources: Sources, evaluation: Evaluation, config: Guarantees, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], Assumptions]:
    """Fit on tune what the ensemble can promise, and measure what it assumes of images."""
    task = Task.read(sources.manifest, evaluation)
    logits = [
        {split: read_logits(sources.logits[name, split], task) for split in SPLITS}
        for name in sources.experts
    ]
    predictions = ensemble_predictions(sources.method, logits)
    tune: Logits = logits[0][FITTED_ON]
    classes = classes_of(task)
    _, rules = fit_predictions(predictions, classes, config, {"plain": None})
    notes = group_notes(tune, read_groups(sources.samples))
    promises = stored_guarantees(rules, classes, config, notes=notes, **facts)
    return promises, _assumptions(predictions[FITTED_ON], rules.shares)


def _assumptions(tune: Prediction, shares: np.ndarray) -> Assumptions:
    known = ClassConfidence.of(tune.log_p, tune.labels)
    mean, sd = ([finite_or_none(value) for value in row] for row in (known.mean, known.sd))
    return Assumptions(
        shares=shares.tolist(),
        confidence_mean=mean,
        confidence_sd=sd,
        samples=known.samples.tolist(),
    )
