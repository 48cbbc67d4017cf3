"""Selective risk: the error of a method on the samples that a rejection rule accepts.

A rule is reduced to two matrices [N, J], one column a coverage: how much of a sample is accepted
(0, 1, or a fraction where a coverage ends inside a group of equal scores), and whether the answer
is wrong. Risks are then weighted sums of these, and so take rows of bootstrap weights like any
other metric.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import (
    FITTED_AT,
    Grouped,
    Rule,
    apply,
    fit_balanced,
    fit_chow,
    fit_worst,
    head_and_tail,
)
from tailproof.evaluation.task import Task
from tailproof.evaluation.weighted_samples import Values, nanmean, ratio

GRID = tuple(round(0.02 * step, 2) for step in range(1, 51))
FITTERS: dict[str, Callable[[Grouped, tuple[float, ...]], list[Rule]]] = {
    "chow": fit_chow,
    "plugin_balanced": fit_balanced,
    "plugin_worst": fit_worst,
}
RISKS = ("standard", "balanced", "worst")

Array = np.ndarray


@dataclass(frozen=True)
class Answers:
    """The answers of one rule at J coverages: `accepted` and `wrong`, each float [N, J]."""

    accepted: Array
    wrong: Array


def fit_rules(
    prediction: Prediction, weight: Array, tail: Array, coverages: list[float]
) -> dict[str, list[Rule]]:
    """Fit each rule on the split tune at FITTED_AT and at the listed coverages."""
    samples = Grouped.of(prediction, head_and_tail(tail), weight)
    targets = tuple(sorted({*FITTED_AT, *coverages}))
    return {name: fit(samples, targets) for name, fit in FITTERS.items()}


def answers_on_grid(rules: list[Rule], samples: Grouped) -> Answers:
    """Apply rules at the exact coverages of GRID.

    The rule fitted at the nearest coverage ranks the samples (the larger one of two as near); the
    best of this split's own ranking are accepted until the coverage is reached, which needs no
    label. This is what makes risks of different rules comparable at one coverage.
    """
    fitted = np.array([rule.coverage for rule in rules])
    nearest = [int(np.lexsort((-fitted, np.abs(fitted - c).round(9)))[0]) for c in GRID]
    shape = (len(samples.group), len(GRID))
    accepted, wrong = np.empty(shape), np.empty(shape)
    for index in sorted(set(nearest)):
        columns = [j for j, near in enumerate(nearest) if near == index]
        score, mistaken = apply(rules[index], samples)
        accepted[:, columns] = accept_share(score, samples.weight, np.array(GRID)[columns])
        wrong[:, columns] = mistaken[:, None]
    return Answers(accepted, wrong)


def answers_deployed(rules: list[Rule], samples: Grouped, coverages: list[float]) -> Answers:
    """Apply rules with their thresholds from tune, as in deployment: coverage may differ."""
    at = {rule.coverage: rule for rule in rules}
    shape = (len(samples.group), len(coverages))
    accepted, wrong = np.empty(shape), np.empty(shape)
    for j, coverage in enumerate(coverages):
        score, mistaken = apply(at[coverage], samples)
        accepted[:, j], wrong[:, j] = score >= at[coverage].threshold, mistaken
    return Answers(accepted, wrong)


def accept_share(score: Array, weight: Array, coverages: Array) -> Array:
    """Return the share [N, J] of each sample that is accepted at exact coverages.

    Samples are accepted from the highest score on. Equal scores are accepted together, in part
    where the coverage ends among them.
    """
    _, inverse = np.unique(-score, return_inverse=True)
    mass = np.bincount(inverse, weight)
    before = np.cumsum(mass) - mass
    room = coverages * mass.sum() - before[:, None]
    return np.clip(ratio(room, mass[:, None], where_zero=0.0), 0, 1)[inverse]


def risks(answers: Answers, group: Array, groups: int, weights: Array) -> Values:
    """Return coverage and the risks, each [B, J], for rows of weights [B, N].

    standard: errors among what is accepted. balanced: the mean over groups of the error among
    what is accepted of the group (equation 6 of the paper). worst: the largest of these (equation
    14). A group of which nothing is accepted counts as 1, a group without samples not at all.
    """
    kept, lost, present = [], [], []
    for index in range(groups):
        rows = group == index
        mine = weights[:, rows]
        kept.append(mine @ answers.accepted[rows])
        lost.append(mine @ (answers.accepted[rows] * answers.wrong[rows]))
        present.append(np.where(mine.sum(axis=1) > 0, 1.0, np.nan)[:, None])
    kept, lost = np.stack(kept, axis=-1), np.stack(lost, axis=-1)
    each = ratio(lost, kept, where_zero=np.stack(present, axis=-1))
    each = np.where(np.isnan(np.stack(present, axis=-1)), np.nan, each)
    total = kept.sum(axis=-1)
    return {
        "coverage": total / weights.sum(axis=1)[:, None],
        "standard": ratio(lost.sum(axis=-1), total),
        "balanced": nanmean(each),
        "worst": np.where(np.isnan(each), -np.inf, each).max(axis=-1),
    }


def area(risk: Array) -> Array:
    """Return the area under risk [B, 50] over GRID by trapezoids.

    To the left of the smallest coverage at which something is accepted the risk is carried on.
    """
    risk = risk.copy()
    for j in reversed(range(risk.shape[1] - 1)):
        np.copyto(risk[:, j], risk[:, j + 1], where=np.isnan(risk[:, j]))
    step = np.full(len(GRID), 0.02)
    step[0], step[-1] = 0.03, 0.01
    return risk @ step


def measure_selective(
    prediction: Prediction,
    rules: dict[str, list[Rule]],
    weights: Array,
    *,
    base: Array,
    task: Task,
    coverages: list[float],
) -> tuple[Values, dict[tuple[str, str], Array]]:
    """Return the metrics of rejection, and the curves {(rule, risk): [B, 50]}.

    Args:
        prediction: N samples.
        rules: from `fit_rules`.
        weights: [B, N].
        base: [N] weights by which coverage is measured when a rule is applied.
        task: which classes are tail.
        coverages: those at which deployed rules are listed.
    """
    groups = head_and_tail(task.tail)
    samples = Grouped.of(prediction, groups, base)
    found, curves = {}, {}
    for name, fitted in rules.items():
        curve = risks(answers_on_grid(fitted, samples), samples.group, len(groups), weights)
        deployed = answers_deployed(fitted, samples, coverages)
        listed = risks(deployed, samples.group, len(groups), weights)
        for kind in RISKS:
            curves[name, kind] = curve[kind]
            found[f"aurc_{kind}_{name}"] = area(curve[kind])
        for j, coverage in enumerate(coverages):
            found[f"coverage_{name}_at_{coverage:g}"] = listed["coverage"][:, j]
            for kind in RISKS:
                found[f"risk_{kind}_{name}_at_{coverage:g}"] = listed[kind][:, j]
    return found, curves
