"""preflight.json: what follows from configuration, data and network; always the same bytes."""

from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import to_jsonable
from tailproof.preflight.checks.validation import resolution
from tailproof.preflight.checks.workers import streams
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.findings import findings
from tailproof.preflight.loss_effect import effect
from tailproof.preflight.slurm_resources import request_of
from tailproof.preflight.timeline import Timeline


def describe(
    facts: ExperimentFacts,
    normalisation: dict[str, list[float]],
    structures: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return preflight.json as plain values.

    Args:
        facts: the facts about the experiment.
        normalisation: mean and std of each channel of train.
        structures: the sizes of each expert.
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
                name: _expert(recipe, facts, normalisation, structures[name])
                for name, recipe in facts.recipes.items()
            },
            "findings": [finding.to_jsonable() for finding in findings(facts)],
        }
    )


def _expert(
    recipe: Recipe, facts: ExperimentFacts, normalisation: dict[str, Any], structure: dict[str, Any]
) -> dict[str, Any]:
    timeline = Timeline(recipe, facts.samples)
    measured = {**normalisation, "source": "measured on the split train"}
    unchanged = {"mean": None, "std": None, "source": "none: images are not normalised"}
    return {
        "epochs": recipe.epochs,
        "phases": [
            {
                "from_epoch": phase.from_epoch,
                "image_size": phase.image_size,
                "batch_size": phase.batch_size,
                "batches_an_epoch": steps,
            }
            for phase, steps in zip(recipe.timeline, timeline.steps, strict=True)
        ],
        "updates": timeline.phases.total,
        "warmup": {"steps": timeline.phases.warmup_steps, "epochs": timeline.warmup_epochs},
        "schedule": recipe.schedule.name,
        "learning_rates": timeline.rates(),
        "losses": effect(recipe, facts.train, [facts.head, facts.tail]),
        "monitor": recipe.monitor,
        "resolved_on_val": resolution(recipe.monitor, facts),
        # Training and evaluation read the same normalisation.
        "normalisation": measured if recipe.normalize else unchanged,
        "train_is_kept_in_memory": not streams(recipe, facts),
        **structure,
        "running": recipe.execution_fields(),
        "request": request_of(recipe),
    }
