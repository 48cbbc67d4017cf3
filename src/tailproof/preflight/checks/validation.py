"""Checks of what val can measure: the monitor, and differences between experts."""

import math

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.monitors import MONITORS
from tailproof.operating_points import ONE_IN, POINTS, enough_negatives
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import check, each_recipe
from tailproof.text import quantity

COUNTED = 10  # a rate should be estimated from this many false positives
ONE_CLASS = 0.8  # accuracy saturates above this share of the largest class
RARE = 0.1  # AUROC saturates below this share of the rarer of two classes
ASSUMED = 0.75  # the accuracy that the resolution is computed at
COARSE, SOMEWHAT = 0.05, 0.02  # resolutions that are reported


@check("undefined_monitor")
@each_recipe
def undefined_monitor(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a binary metric where there are more classes, or where val lacks one of the two."""
    if not MONITORS[recipe.monitor].two_classes:
        return None
    if facts.positive is None:
        reason = f"which needs two classes, but the data have {len(facts.train)}"
    elif not all(facts.val.values()):
        reason = "and val has no samples of one of the two classes"
    else:
        return None
    return Finding(
        "undefined_monitor",
        f"the monitor is {recipe.monitor}, {reason}",
        "error",
        evidence={"monitor": recipe.monitor, "classes": len(facts.train)},
        confidence=1.0,
        change={"monitor": "val_balanced_accuracy"},
        expects="a best epoch",
    )


@check("too_few_negatives")
@each_recipe
def too_few_negatives(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a monitored false-positive rate that val has too few negatives for."""
    needed = ONE_IN.get(recipe.monitor)
    if needed is None or facts.positive is None:
        return None
    negatives = sum(facts.val.values()) - facts.val[facts.positive]
    if not 0 < negatives < COUNTED * needed:
        return None
    enough = enough_negatives(recipe.monitor, negatives)
    better = _steady(negatives)
    problem = (
        f"is estimated from {quantity(negatives // needed, 'false positive')} among the "
        f"{negatives:,} negatives of val: it will jump from epoch to epoch"
        if enough
        else f"needs at least {needed:,} negatives in val, found {negatives:,}"
    )
    return Finding(
        "too_few_negatives",
        f"the monitor {recipe.monitor} {problem}; "
        + (f"use {better}, or raise data.splits.val" if better else "raise data.splits.val"),
        "warning" if enough else "error",
        evidence={"monitor": recipe.monitor, "negatives": negatives, "needed": COUNTED * needed},
        confidence=1.0,
        change={"monitor": better} if better else None,
        expects="a best epoch that is not chosen by chance",
    )


@check("saturating_monitor")
@each_recipe
def saturating_monitor(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find a monitor that is near its maximum whatever the model learns."""
    total = sum(facts.val.values())
    if not total:
        return None
    largest = max(facts.val.values()) / total
    if recipe.monitor == "val_accuracy" and largest >= ONE_CLASS:
        reason = f"always predicting one class gives {largest:.1%}"
        better: str | None = "val_balanced_accuracy"
    elif recipe.monitor == "val_auroc" and facts.positive and 1 - largest < RARE:
        reason = (
            f"{1 - largest:.1%} of val belong to the rare class: AUROC stays near 1 while the "
            "true-positive rate at low false-positive rates collapses"
        )
        better = _steady(total - facts.val[facts.positive])
    else:
        return None
    return Finding(
        "saturating_monitor",
        f"the monitor {recipe.monitor} saturates: {reason}",
        "warning",
        evidence={"monitor": recipe.monitor, "share_of_the_largest_class": largest},
        change={"monitor": better} if better else None,
        expects="a best epoch that is better at the actual task",
    )


def _steady(negatives: int) -> str | None:
    """Return the smallest false-positive rate that this many negatives estimate reliably."""
    reliable = [name for name, least in ONE_IN.items() if negatives >= COUNTED * least]
    return reliable[-1] if reliable else None


@check("small_validation")
def small_validation(facts: ExperimentFacts) -> list[Finding]:
    """Find a split val that is too small to compare the experts."""
    if len(facts.recipes) < 2:
        return []
    monitor = next(iter(facts.recipes.values())).monitor
    resolved = resolution(monitor, facts)
    if resolved is None or resolved <= SOMEWHAT:
        return []
    finding = Finding(
        "small_validation",
        f"val cannot resolve differences between experts below {100 * resolved:.1f} points of "
        f"{monitor}: it has {sum(facts.val.values()):,} samples, {min(facts.val.values())} of the "
        "rarest class",
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

    It is binomial, at an accuracy of 0.75 and 95 %, without pairing: 1.96·sqrt(2·variance). The
    variance of accuracy is p(1-p)/n; for means over classes it is that of the mean over the classes
    in val. Experts that err on the same samples can be distinguished slightly below this.
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
