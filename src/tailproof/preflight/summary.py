"""preflight.json: what follows from configuration, data and network; always the same bytes."""

from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding, to_jsonable
from tailproof.preflight.checks.validation import resolution
from tailproof.preflight.checks.workers import streams
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.findings import findings
from tailproof.preflight.loss_effect import loss_effect, untrained_losses
from tailproof.preflight.slurm_resources import request_of
from tailproof.schedules import Phases, rate_changes


def describe(
    facts: ExperimentFacts,
    normalizations: dict[str, dict[str, Any]],
    structures: dict[str, dict[str, Any]],
    tried: list[Finding],
) -> dict[str, Any]:
    """Return preflight.json as plain values.

    Args:
        facts: the facts about the experiment.
        normalizations: mean and std of each channel, and where they come from, by expert.
        structures: the sizes of each expert.
        tried: the findings about transforms.
    """
    return to_jsonable(
        {
            "data": {
                "samples": facts.samples,
                "classes": len(facts.train),
                "imbalance": facts.imbalance,
                "rare_classes": {name: facts.train[name] for name in facts.rare},
                "head": {facts.head: facts.train[facts.head]},
                "tail": {facts.tail: facts.train[facts.tail]},
                "val_samples": sum(facts.val.values()),
                "row_groups": facts.row_groups,
            },
            "experts": {
                name: _expert(recipe, facts, normalizations[name], structures[name])
                for name, recipe in facts.recipes.items()
            },
            "findings": [
                finding.to_jsonable() for finding in findings(facts, loss_effect, lambda _: tried)
            ],
        }
    )


def _expert(
    recipe: Recipe, facts: ExperimentFacts, normalization: dict[str, Any], structure: dict[str, Any]
) -> dict[str, Any]:
    phases = Phases.of_samples(recipe, facts.samples)
    return {
        "epochs": recipe.epochs,
        "phases": [
            {
                "from_epoch": phase.from_epoch,
                "image_size": phase.image_size,
                "batch_size": phase.batch_size,
                "batches_an_epoch": phases.steps(phase.from_epoch),
            }
            for phase in recipe.timeline
        ],
        "updates": phases.total,
        "warmup": {"steps": phases.warmup_steps, "epochs": phases.warmup_epochs},
        "schedule": recipe.schedule.name,
        "learning_rates": rate_changes(recipe, phases),
        "losses": untrained_losses(recipe, facts.train, [facts.head, facts.tail]),
        "monitor": recipe.monitor,
        "resolved_on_val": resolution(recipe.monitor, facts),
        # Training and evaluation read the same normalization.
        "normalization": normalization,
        "train_is_kept_in_memory": not streams(recipe, facts),
        **structure,
        "running": recipe.execution_fields(),
        "request": request_of(recipe),
    }
