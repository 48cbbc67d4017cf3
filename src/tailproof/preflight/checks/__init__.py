"""All checks of what is known before training; numpy alone."""

from tailproof.core.finding import SEVERITIES, Finding
from tailproof.preflight.checks import images, learning, length, loading, losses, validation
from tailproof.preflight.facts import Facts

CHECKS = (
    learning.short_warmup,
    learning.unusual_rate,
    learning.no_schedule,
    length.no_early_stopping,
    length.frequent_validation,
    losses.outputs_differ,
    losses.no_rebalancing,
    losses.rare_classes,
    losses.loss_effect,
    losses.same_function,
    images.no_normalisation,
    images.bare_phase,
    images.short_first_phase,
    validation.undefined_monitor,
    validation.too_few_negatives,
    validation.saturating_monitor,
    validation.small_validation,
    loading.more_workers_than_shards,
)


def findings(facts: Facts) -> list[Finding]:
    """Return what every check finds, the worst first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))
