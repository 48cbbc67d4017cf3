"""Selective risk: the error of a method on the samples that a rejection rule accepts.

A rule is reduced to two matrices [N, J] with one column per coverage: the accepted share of each
sample (0, 1, or a fraction if the coverage ends within a group of equal scores), and whether the
answer is wrong. Risks are weighted sums of these, so they take rows of bootstrap weights like any
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
    """The answers of one rule at J coverages: `accepted` and `wrong`, both float [N, J]."""

    accepted: Array
    wrong: Array


def fit_rules(
    prediction: Prediction, weight: Array, tail: Array, coverages: list[float]
) -> dict[str, list[Rule]]:
    """Fit each rule on the split tune, at the coverages FITTED_AT and at those given."""
    samples = Grouped.of(prediction, head_and_tail(tail), weight)
    targets = tuple(sorted({*FITTED_AT, *coverages}))
    return {name: fit(samples, targets) for name, fit in FITTERS.items()}


def answers_on_grid(rules: list[Rule], samples: Grouped) -> Answers:
    """Apply rules at the exact coverages of GRID.

    The rule fitted at the nearest coverage (the larger one on a tie) scores the samples. The
    highest scores of this split are accepted until the coverage is reached, which needs no labels.
    Thus the risks of different rules are comparable at the same coverage.
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
    """Apply rules with their thresholds from tune, as in deployment; actual coverage may differ."""
    at = {rule.coverage: rule for rule in rules}
    shape = (len(samples.group), len(coverages))
    accepted, wrong = np.empty(shape), np.empty(shape)
    for j, coverage in enumerate(coverages):
        score, mistaken = apply(at[coverage], samples)
        accepted[:, j], wrong[:, j] = score >= at[coverage].threshold, mistaken
    return Answers(accepted, wrong)


def accept_share(score: Array, weight: Array, coverages: Array) -> Array:
    """Return the share [N, J] of each sample that is accepted at exact coverages.

    Samples are accepted in order of decreasing score. Samples of equal score are accepted together,
    each by the same fraction if the coverage ends among them.
    """
    _, inverse = np.unique(-score, return_inverse=True)
    mass = np.bincount(inverse, weight)
    before = np.cumsum(mass) - mass
    room = coverages * mass.sum() - before[:, None]
    return np.clip(ratio(room, mass[:, None], where_zero=0.0), 0, 1)[inverse]


def risks(answers: Answers, group: Array, groups: int, weights: Array) -> Values:
    """Return coverage and risks, all [B, J], for rows of weights [B, N].

    standard: the error rate of the accepted samples. balanced: the mean over groups of the error
    rate of the group's accepted samples (equation 6 of the paper). worst: the largest of these
    (equation 14). A group without accepted samples has error 1; a group without samples is left
    out.
    """
    accepted, mistaken, present = [], [], []
    for index in range(groups):
        rows = group == index
        group_weights = weights[:, rows]
        accepted.append(group_weights @ answers.accepted[rows])
        mistaken.append(group_weights @ (answers.accepted[rows] * answers.wrong[rows]))
        present.append(np.where(group_weights.sum(axis=1) > 0, 1.0, np.nan)[:, None])
    kept, lost = np.stack(accepted, axis=-1), np.stack(mistaken, axis=-1)
    errors = ratio(lost, kept, where_zero=np.stack(present, axis=-1))
    errors = np.where(np.isnan(np.stack(present, axis=-1)), np.nan, errors)
    total = kept.sum(axis=-1)
    return {
        "coverage": total / weights.sum(axis=1)[:, None],
        "standard": ratio(lost.sum(axis=-1), total),
        "balanced": nanmean(errors),
        "worst": np.where(np.isnan(errors), -np.inf, errors).max(axis=-1),
    }


def area(risk: Array) -> Array:
    """Return the area under the risk-coverage curve [B, 50] on GRID, by the trapezoidal rule.

    Below the smallest coverage with accepted samples, the risk is extrapolated as constant.
    """
    risk = risk.copy()
    for j in reversed(range(risk.shape[1] - 1)):
        np.copyto(risk[:, j], risk[:, j + 1], where=np.isnan(risk[:, j]))
    step = np.full(len(GRID), 0.02)
    step[0], step[-1] = 0.03, 0.01
    return risk @ step


@dataclass(frozen=True)
class SelectiveAnswers:
    """The answers of every rule for a split, which do not depend on how samples are drawn.

    Attributes:
        group: [N] the group of the true class.
        groups: number of groups.
        on_grid, deployed: {rule: its answers}.
        coverages: coverages of the deployed rules.
    """

    group: Array
    groups: int
    on_grid: dict[str, Answers]
    deployed: dict[str, Answers]
    coverages: list[float]

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        rules: dict[str, list[Rule]],
        base: Array,
        task: Task,
        coverages: list[float],
    ) -> "SelectiveAnswers":
        """Apply the rules.

        Args:
            prediction: prediction for N samples.
            rules: fitted rules from `fit_rules`.
            base: [N] weights that define coverage when a rule is applied.
            task: the classification task, which defines the tail classes.
            coverages: coverages at which the deployed rules are measured.
        """
        groups = head_and_tail(task.tail)
        samples = Grouped.of(prediction, groups, base)
        return cls(
            samples.group,
            len(groups),
            {name: answers_on_grid(fitted, samples) for name, fitted in rules.items()},
            {name: answers_deployed(fitted, samples, coverages) for name, fitted in rules.items()},
            coverages,
        )

    def measure(self, weights: Array) -> tuple[Values, dict[tuple[str, str], Array]]:
        """Return the metrics of selective prediction, and the curves {(rule, risk): [B, 50]}.

        Args:
            weights: [B, N], rows of sample weights.
        """
        metrics, curves = {}, {}
        for name, answers in self.on_grid.items():
            curve = risks(answers, self.group, self.groups, weights)
            listed = risks(self.deployed[name], self.group, self.groups, weights)
            for kind in RISKS:
                curves[name, kind] = curve[kind]
                metrics[f"aurc_{kind}_{name}"] = area(curve[kind])
            for j, coverage in enumerate(self.coverages):
                metrics[f"coverage_{name}_at_{coverage:g}"] = listed["coverage"][:, j]
                for kind in RISKS:
                    metrics[f"risk_{kind}_{name}_at_{coverage:g}"] = listed[kind][:, j]
        return metrics, curves
