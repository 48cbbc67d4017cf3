"""All checks of what is known before training; numpy alone."""

from tailproof.diagnosis.finding import SEVERITIES, Finding
from tailproof.preflight.checks import (
    duration,
    learning_rate,
    preprocessing,
    rebalancing,
    validation,
    workers,
)
from tailproof.preflight.checks.per_recipe import Check
from tailproof.preflight.experiment_facts import ExperimentFacts

CHECKS = (
    learning_rate.short_warmup,
    learning_rate.unusual_rate,
    learning_rate.no_schedule,
    duration.no_early_stopping,
    duration.frequent_validation,
    rebalancing.outputs_differ,
    rebalancing.no_rebalancing,
    rebalancing.rare_classes,
    rebalancing.same_function,
    preprocessing.no_normalisation,
    preprocessing.bare_phase,
    preprocessing.short_first_phase,
    validation.undefined_monitor,
    validation.too_few_negatives,
    validation.saturating_monitor,
    validation.small_validation,
    workers.more_workers_than_shards,
)


def findings(facts: ExperimentFacts, *more: Check) -> list[Finding]:
    """Return what every check finds, the worst first.

    Args:
        facts: of the experiment.
        more: checks that need a network's library, which the gate of training does without.
    """
    found = [finding for check in (*CHECKS, *more) for finding in check(facts)]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))
