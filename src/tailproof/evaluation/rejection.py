"""Rejection rules: Chow's rule, and two plug-in rules for long-tailed classes.

Source: Narasimhan, Menon, Jitkrittum, Gupta, Kumar, "Learning to Reject Meets Long-tail
Learning", ICLR 2024 ("the paper"). Classes form K groups, here head and tail (the few-shot
classes, as in its section 6). Given group weights b and acceptance shares a_k = P(y in G_k,
accepted), theorem 12 (theorem 1, equations 12 and 13, if b_k = 1/K) gives the rule

    h(x) = argmax_y  b_[y]/a_[y] · p_y(x)
    accept x  iff  max_y b_[y]/a_[y] · p_y(x) − Σ_y (b_[y]/a_[y] − m_[y]) · p_y(x)  ≥  threshold.

The rule depends on a class only through its group, so K largest and K summed probabilities are
sufficient for each sample. The threshold follows from a coverage, not from a cost (appendices E.1,
F.4). Only differences of the multipliers m matter (E.1): for two groups, the one number
m_head − m_tail.

Choices where the paper is ambiguous or inconsistent:
- Algorithm 1, line 5 has a_k · b_k where theorem 12 has a_k / b_k. This module follows the
  theorem: with the product, a larger group weight would make the rule favour the group less.
- The paper searches m_head − m_tail in {1, 6, 11} (F.3) without defining the sign. This module
  searches both signs, zero and two finer steps.
- The initial a_k assumes equal acceptance in all groups: coverage times the group's share.
- A group without accepted samples has error 1, and its a_k is that of one sample (assumption 2
  requires accepted samples in every group). Dropping a whole group is therefore never optimal.
- Rules are fitted at ten coverages; other coverages use the rule of the nearest one.
- p must estimate the posterior under the distribution on which the rule is evaluated. That holds
  in the paper, which evaluates a cross-entropy model on long-tailed data. A balanced loss or a
  balanced evaluation implies other priors. Therefore p is first shifted to p_y · exp(d_[y]) / Z,
  with d_head = 0 and the d_tail for which the mean probability mass of the tail equals the tail's
  share of tune; this d_tail maximises the likelihood. In the paper's setting d_tail is about 0.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.weighted_samples import ratio

FITTED_AT = tuple(round(0.1 * step, 1) for step in range(1, 11))
MULTIPLIERS = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 6.0, -6.0, 11.0, -11.0)
ITERATIONS = 10
OUTER_ITERATIONS = 25
STEP = 1.0

Array = np.ndarray


@dataclass(frozen=True)
class Grouped:
    """The sufficient statistics of N samples for the rejection rules.

    Attributes:
        top: [N, K] largest probability within each group.
        mass: [N, K] summed probability of each group.
        hit: [N, K] whether the group's most probable class is the true class.
        group: [N] the group of the true class.
        weight: [N] the weight of each sample.
    """

    top: Array
    mass: Array
    hit: Array
    group: Array
    weight: Array

    @classmethod
    def of(cls, prediction: Prediction, groups: list[Array], weight: Array) -> "Grouped":
        """Summarise a prediction by groups, given as boolean masks [C] that cover all classes."""
        tops = prediction.collected(GroupTops.key(groups), lambda: GroupTops(prediction, groups))
        group = np.argmax([members[prediction.labels] for members in groups], axis=0)
        return cls(tops.top, tops.mass, tops.hit, group, weight)

    def shifted(self, shift: Array) -> "Grouped":
        """Return the samples with p_y replaced by p_y · exp(shift of y's group) / Z."""
        odds = np.exp(shift)
        scale = odds / (self.mass @ odds)[:, None]
        return replace(self, top=self.top * scale, mass=self.mass * scale)

    def take(self, rows: Array) -> "Grouped":
        """Return the samples with these row numbers."""
        fields = (self.top, self.mass, self.hit, self.group, self.weight)
        return Grouped(*(field[rows] for field in fields))


class GroupTops:
    """Collects `top`, `mass` and `hit` of `Grouped` from blocks of probabilities."""

    def __init__(self, prediction: Prediction, groups: list[Array]) -> None:
        shape = (len(prediction.labels), len(groups))
        self.top, self.mass, self.hit = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
        self._labels = prediction.labels
        self._classes = [np.flatnonzero(members) for members in groups]

    @staticmethod
    def key(groups: list[Array]) -> tuple:
        """Return what a prediction keeps them by."""
        return ("tops", *(members.tobytes() for members in groups))

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take some samples."""
        for group, classes in enumerate(self._classes):
            own = p[:, classes]
            self.top[rows, group] = own.max(axis=1)
            self.mass[rows, group] = own.sum(axis=1)
            self.hit[rows, group] = classes[own.argmax(axis=1)] == self._labels[rows]


class Rule(NamedTuple):
    """A rejection rule fitted for one coverage.

    Attributes:
        coverage: the share of samples that it was fitted to accept.
        shift: [K], d_k.
        gain: [K], b_k / a_k.
        multiplier: [K], m_k.
        threshold: the lowest score that it accepts; −inf at coverage 1.
    """

    coverage: float
    shift: Array
    gain: Array
    multiplier: Array
    threshold: float


def head_and_tail(tail: Array) -> list[Array]:
    """Return head and tail as boolean masks of classes; only one of them if the other is empty."""
    return [members for members in (~tail, tail) if members.any()]


def apply(rule: Rule, samples: Grouped) -> tuple[Array, Array]:
    """Return the score [N] to compare with the threshold, and whether h(x) is wrong [N]."""
    shifted = samples.shifted(rule.shift)
    score, chosen = _scores(rule.gain[None], rule.multiplier[None], shifted)
    return score[0], ~samples.hit[np.arange(len(samples.group)), chosen[0]]


def fit_chow(samples: Grouped, coverages: tuple[float, ...]) -> list[Rule]:
    """Fit Chow's rule for each coverage: accept if the largest probability is large enough.

    It is the general rule with equal gains and zero multipliers, since probabilities sum to 1
    (equation 2).
    """
    flat = np.zeros((len(coverages), samples.top.shape[1]))
    return _with_thresholds(samples, coverages, flat[0], flat + 1, flat)


def fit_balanced(samples: Grouped, coverages: tuple[float, ...]) -> list[Rule]:
    """Fit the plug-in rule for the balanced error (algorithm 1 with equal group weights)."""
    shift = fit_shift(samples)
    shifted = samples.shifted(shift)
    gains, multipliers, _ = _plug_in(shifted, shifted, coverages, _equal(samples, coverages))
    return _with_thresholds(samples, coverages, shift, gains, multipliers)


def fit_worst(samples: Grouped, coverages: tuple[float, ...]) -> list[Rule]:
    """Fit the plug-in rule for the worst-group error (algorithm 2).

    Algorithm 1 runs on one half of the samples; the group weights follow the errors on the other
    half by exponentiated gradient. Samples alternate between the halves within each class group; a
    single sample is both halves. There are T = 25 updates with step size 1 (appendix F.3). The
    result is the last rule, not a random one of all (section 5.2).
    """
    shift = fit_shift(samples)
    order = np.argsort(samples.group, kind="stable")
    rows = [order[start::2] if len(order) > 1 else order for start in (0, 1)]
    fit, checked = (samples.shifted(shift).take(half) for half in rows)
    weights = _equal(samples, coverages)
    for _ in range(OUTER_ITERATIONS):
        _, _, errors = _plug_in(fit, checked, coverages, weights)
        weights = weights * np.exp(STEP * errors)
        weights /= weights.sum(axis=1, keepdims=True)
    gains, multipliers, _ = _plug_in(fit, checked, coverages, weights)
    return _with_thresholds(samples, coverages, shift, gains, multipliers)


def fit_shift(samples: Grouped) -> Array:
    """Return d [K]: 0 for the head; for the tail, the value that matches mean mass and share.

    The value is clipped to ±20, since a group without samples would send it to infinity.
    """
    if samples.top.shape[1] == 1:
        return np.zeros(1)
    share = samples.weight @ (samples.group == 1)

    def excess(shift: float) -> float:
        return float(samples.weight @ samples.shifted(np.array([0.0, shift])).mass[:, 1] - share)

    from scipy.optimize import brentq  # slow to import, and readers of results do without

    if excess(-20) >= 0 or excess(20) <= 0:
        return np.array([0.0, -20.0 if excess(-20) >= 0 else 20.0])
    return np.array([0.0, brentq(excess, -20, 20, xtol=1e-12)])


def cut(score: Array, weight: Array, coverage: float) -> float:
    """Return the lowest score accepted at a coverage; −inf at coverage 1."""
    if coverage >= 1:
        return -np.inf
    return float(_cuts(score[None], weight, np.array([coverage]))[0])


def _plug_in(
    fit: Grouped, check: Grouped, coverages: tuple[float, ...], weights: Array
) -> tuple[Array, Array, Array]:
    """Run algorithm 1 for every coverage and multiplier at once.

    Args:
        fit: the samples on which acceptance shares are estimated.
        check: the samples on which multipliers are compared.
        coverages: J coverages.
        weights: [J, K] group weights b.

    Returns:
        Gains [J, K] and multipliers [J, K] of the best rule at each coverage, and its group
        errors [J, K] on `check`.
    """
    groups = fit.top.shape[1]
    candidates = np.zeros((len(MULTIPLIERS) if groups > 1 else 1, groups))
    candidates[:, 0] = MULTIPLIERS[: len(candidates)]
    rows = np.repeat(np.arange(len(coverages)), len(candidates))
    coverage, b = np.array(coverages)[rows], weights[rows]
    m = np.tile(candidates, (len(coverages), 1))
    share = np.bincount(fit.group, fit.weight, minlength=groups) / fit.weight.sum()
    smallest = 1 / len(fit.group)
    a = np.maximum(coverage[:, None] * share, smallest)
    moving = np.arange(len(a))
    for _ in range(ITERATIONS):
        score, _ = _scores((b / a)[moving], m[moving], fit)
        accepted = score >= _cuts(score, fit.weight, coverage[moving])[:, None]
        updated = np.maximum(_by_group(accepted, fit) / fit.weight.sum(), smallest)
        moved = (updated != a[moving]).any(axis=1)
        a[moving] = updated
        moving = moving[moved]
        if not len(moving):
            break
    score, chosen = _scores(b / a, m, check)
    accepted = score >= _cuts(score, check.weight, coverage)[:, None]
    wrong = ~check.hit[np.arange(len(check.group)), chosen]
    kept = _by_group(accepted, check)
    present = np.isin(np.arange(groups), check.group).astype(float)
    errors = ratio(_by_group(accepted & wrong, check), kept, where_zero=present)
    objective = (b * errors).sum(axis=1).reshape(len(coverages), -1)
    best = objective.argmin(axis=1) + np.arange(len(coverages)) * len(candidates)
    return (b / a)[best], m[best], errors[best]


def _equal(samples: Grouped, coverages: tuple[float, ...]) -> Array:
    groups = samples.top.shape[1]
    return np.full((len(coverages), groups), 1 / groups)


def _with_thresholds(
    samples: Grouped, coverages: tuple[float, ...], shift: Array, gains: Array, multipliers: Array
) -> list[Rule]:
    rules = []
    for coverage, gain, multiplier in zip(coverages, gains, multipliers, strict=True):
        rule = Rule(coverage, shift, gain, multiplier, -np.inf)
        score, _ = apply(rule, samples)
        rules.append(rule._replace(threshold=cut(score, samples.weight, coverage)))
    return rules


def _scores(gain: Array, multiplier: Array, samples: Grouped) -> tuple[Array, Array]:
    """Return the scores [R, N] and the predicted groups [R, N] of R rules, given as [R, K]."""
    best = gain[:, :1] * samples.top[:, 0]
    chosen = np.zeros(best.shape, np.intp)
    for group in range(1, gain.shape[1]):
        value = gain[:, group, None] * samples.top[:, group]
        chosen[value > best] = group
        best = np.maximum(best, value)
    return best - (gain - multiplier) @ samples.mass.T, chosen


def _cuts(score: Array, weight: Array, coverage: Array) -> Array:
    """Return the score [R] at which each row of scores [R, N] reaches its coverage."""
    order = np.argsort(-score, axis=1)
    reached = np.cumsum(weight[order], axis=1)
    short = reached < (coverage * (1 - 1e-9))[:, None] * reached[:, -1:]
    last = np.minimum(short.sum(axis=1), score.shape[1] - 1)
    return np.take_along_axis(score, np.take_along_axis(order, last[:, None], 1), 1)[:, 0]


def _by_group(chosen: Array, samples: Grouped) -> Array:
    """Sum the weights of the chosen samples [R, N] by true group: [R, K]."""
    groups = samples.top.shape[1]
    return (chosen * samples.weight) @ np.eye(groups)[samples.group]
