"""Checks of what val can show: the monitored metric, and differences between experts."""

import math

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.monitors import MONITORS
from tailproof.operating_points import ONE_IN, POINTS, enough_negatives
from tailproof.preflight.checks.per_recipe import each_recipe
from tailproof.preflight.experiment_facts import ExperimentFacts

COUNTED = 10  # false positives that a rate should stand on
ONE_CLASS = 0.8  # share of the largest class from which on accuracy says little
RARE = 0.1  # share of the rare one of two classes under which AUROC says little
ASSUMED = 0.75  # accuracy that differences are judged at
COARSE, SOMEWHAT = 0.05, 0.02  # differences that val cannot resolve


@each_recipe
def undefined_monitor(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a metric of two classes where there are more, or where val lacks one."""
    if not MONITORS[recipe.monitor].two_classes:
        return None
    if facts.positive is None:
        what = f"which is of two classes; the data have {len(facts.train)}"
    elif not all(facts.val.values()):
        what = "and val has no sample of one of the two classes"
    else:
        return None
    return Finding(
        "undefined_monitor",
        f"the monitor is {recipe.monitor}, {what}",
        "error",
        evidence={"monitor": recipe.monitor, "classes": len(facts.train)},
        confidence=1.0,
        change={"monitor": "val_balanced_accuracy"},
        expects="a best epoch",
    )


@each_recipe
def too_few_negatives(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a false-positive rate that val has too few negatives for."""
    needed = ONE_IN.get(recipe.monitor)
    if needed is None or facts.positive is None:
        return None
    negatives = sum(facts.val.values()) - facts.val[facts.positive]
    if not 0 < negatives < COUNTED * needed:
        return None
    enough = enough_negatives(recipe.monitor, negatives)
    better = _steady(negatives)
    told = (
        f"stands on {negatives // needed} false positives among the {negatives:,} negatives of "
        "val: it will jump from epoch to epoch"
        if enough
        else f"needs at least {needed:,} negatives in val, found {negatives:,}"
    )
    return Finding(
        "too_few_negatives",
        f"the monitor {recipe.monitor} {told}; "
        + (f"take {better}, or raise data.splits.val" if better else "raise data.splits.val"),
        "warning" if enough else "error",
        evidence={"monitor": recipe.monitor, "negatives": negatives, "needed": COUNTED * needed},
        confidence=1.0,
        change={"monitor": better} if better else None,
        expects="a best epoch that is not chosen by chance",
    )


@each_recipe
def saturating_monitor(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a metric that is near its top whatever is learnt."""
    total = sum(facts.val.values())
    if not total:
        return None
    largest = max(facts.val.values()) / total
    if recipe.monitor == "val_accuracy" and largest >= ONE_CLASS:
        told = f"to answer one class always gives {largest:.1%}"
        better = "val_balanced_accuracy"
    elif recipe.monitor == "val_auroc" and facts.positive and 1 - largest < RARE:
        told = (
            f"{1 - largest:.1%} of val are of the rare class: AUROC stays near 1 while what is "
            "found at low false-positive rates collapses"
        )
        better = _steady(total - facts.val[facts.positive])
    else:
        return None
    return Finding(
        "saturating_monitor",
        f"the monitor {recipe.monitor} saturates: {told}",
        "warning",
        evidence={"monitor": recipe.monitor, "share_of_the_largest_class": largest},
        change={"monitor": better} if better else None,
        expects="a best epoch that is better at what is asked for",
    )


def _steady(negatives: int) -> str | None:
    """Return the smallest false-positive rate that so many negatives show without much chance."""
    shown = [name for name, least in ONE_IN.items() if negatives >= COUNTED * least]
    return shown[-1] if shown else None


def small_validation(facts: ExperimentFacts) -> list[Finding]:
    """Find a val that cannot tell the experts apart."""
    if len(facts.recipes) < 2:
        return []
    monitor = next(iter(facts.recipes.values())).monitor
    resolved = resolution(monitor, facts)
    if resolved is None or resolved <= SOMEWHAT:
        return []
    finding = Finding(
        "small_validation",
        f"val shows no difference between experts below {100 * resolved:.1f} points of {monitor}: "
        f"it has {sum(facts.val.values()):,} samples, {min(facts.val.values())} of the rarest "
        "class",
        "warning" if resolved > COARSE else "info",
        evidence={
            "monitor": monitor,
            "resolved": resolved,
            "samples": sum(facts.val.values()),
            "fewest_of_a_class": min(facts.val.values()),
            "at_an_accuracy_of": ASSUMED,
        },
    )
    return [finding]


def resolution(monitor: str, facts: ExperimentFacts) -> float | None:
    """Return the smallest difference between two experts that val resolves.

    Binomial, at an accuracy of 0.75, 95 % and without pairing: 1.96·sqrt(2·variance). The variance
    is p(1-p)/n of accuracy; of means over classes that of the mean, with classes that val has.
    Experts that err on the same samples can be told apart somewhat below.
    """
    counts = [count for count in facts.val.values() if count]
    spread = ASSUMED * (1 - ASSUMED)
    if not counts or monitor == "val_loss":
        return None
    if monitor in POINTS and facts.positive:
        counts = [facts.val[facts.positive]]
        if monitor.startswith("fpr") or not counts[0]:
            return None
    if monitor == "val_accuracy":
        variance = spread / sum(counts)
    else:
        variance = sum(spread / count for count in counts) / len(counts) ** 2
    return 1.96 * math.sqrt(2 * variance)
