"""Checks of the length of a run and of how often it is validated."""

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import check, each_trained_recipe
from tailproof.schedules import Phases

LONG_EPOCHS, LONG_UPDATES = 50, 20_000
MANY_VALIDATIONS = 200


@check("no_early_stopping")
@each_trained_recipe
def no_early_stopping(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a long run without early stopping."""
    updates = Phases.of_samples(recipe, facts.samples).total
    if recipe.early_stopping or (recipe.epochs < LONG_EPOCHS and updates < LONG_UPDATES):
        return None
    falls = recipe.schedule.name in ("cosine", "multistep")
    patience = max(5, recipe.epochs // recipe.validate_every // 5)
    reason = (
        "; its schedule falls until the end, so stopping early skips the lowest rates"
        if falls
        else ""
    )
    return Finding(
        "no_early_stopping",
        f"no early stopping over {recipe.epochs} epoch{'s' * (recipe.epochs != 1)}, {updates:,} "
        f"updates{reason}",
        "info" if falls else "warning",
        evidence={"epochs": recipe.epochs, "updates": updates, "schedule": recipe.schedule.name},
        confidence=0.6 if falls else 0.85,
        change={"early_stopping": {"patience": patience}, "export": "best"},
        expects="fewer epochs after the best one",
    )


@check("frequent_validation")
@each_trained_recipe
def frequent_validation(recipe: Recipe, _: ExperimentFacts) -> Finding | None:
    """Find many validations that have no effect on the run."""
    decides = recipe.early_stopping or recipe.schedule.name == "plateau"
    if decides or recipe.export == "best":
        return None
    if recipe.epochs // recipe.validate_every < MANY_VALIDATIONS:
        return None
    return Finding(
        "frequent_validation",
        f"the run is validated {recipe.epochs // recipe.validate_every} times, but no validation "
        "affects the training or the exported weights: validating every 10 epochs is enough",
        "info",
        evidence={"epochs": recipe.epochs, "validate_every": recipe.validate_every},
        change={"validate_every": 10},
        expects="less time for the same weights",
    )
