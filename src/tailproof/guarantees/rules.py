"""All rules of one method and seed, fitted on one set of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailproof.config.guarantees import Guarantees
from tailproof.evaluation.probabilities import Prediction
from tailproof.guarantees.binomial_threshold import Fit, fit_threshold
from tailproof.guarantees.prediction_sets import SetRule, TrueScores, fit_sets
from tailproof.guarantees.risk import RiskRule, fit_risk
from tailproof.guarantees.roll_up import (
    AnswersByRank,
    Rank,
    RankAnswers,
    fit_roll_up,
    wrong_by_rank,
)

Array = np.ndarray


@dataclass(frozen=True)
class Classes:
    """What the rules need to know of the classes.

    Attributes:
        names: C class names of the target.
        train_counts: int [C], samples of each class in train.
        groups: {many, medium or few: boolean mask [C]}.
        ranks: the target, then the coarser ranks from the finest.
    """

    names: list[str]
    train_counts: Array
    groups: Mapping[str, Array]
    ranks: Sequence[Rank]


@dataclass(frozen=True)
class Rules:
    """The fitted rules.

    Attributes:
        shares: class shares [C] that pas divides by.
        sets: {weighting: {coverage: {procedure: rule}}}.
        risks: one rule for each promised risk.
        roll_ups: {precision: the fit of each rank}.
        rejections: {precision: the fit of the target alone}, what rejection promises.
    """

    shares: Array
    sets: dict[str, dict[float, dict[str, SetRule]]]
    risks: list[RiskRule]
    roll_ups: dict[float, list[Fit]]
    rejections: dict[float, Fit]


@dataclass(frozen=True)
class FitData:
    """What rules are fitted on, of N samples that no rule has seen before.

    Attributes:
        labels: class indices, int [N].
        predicted: the most probable class, int [N].
        true_scores: {score of prediction sets: that of the true class, [N]}.
        answers: the answers at each rank, the finest first.
    """

    labels: Array
    predicted: Array
    true_scores: Mapping[str, Array]
    answers: Sequence[RankAnswers]

    @classmethod
    def of(cls, prediction: Prediction, classes: Classes, shares: Array) -> "FitData":
        """Read a prediction once."""
        true = TrueScores(prediction.labels, shares)
        by_rank = AnswersByRank(len(prediction.labels), classes.ranks)
        prediction.collect({}, once=[true, by_rank])
        return cls(prediction.labels, prediction.predicted, true.scores, by_rank.answers)

    def take(self, rows: Array) -> "FitData":
        """Return the data of some samples."""
        return FitData(
            self.labels[rows],
            self.predicted[rows],
            {name: own[rows] for name, own in self.true_scores.items()},
            [RankAnswers(own.certainty[rows], own.chosen[rows]) for own in self.answers],
        )

    @property
    def confidence(self) -> Array:
        """The largest probability of each sample."""
        return self.answers[0].certainty

    @property
    def correct(self) -> Array:
        """Whether the most probable class is the true one, [N] boolean."""
        return self.predicted == self.labels


def fit_guarantees(
    prediction: Prediction,
    classes: Classes,
    shares: Array,
    config: Guarantees,
    class_weights: Mapping[str, Array | None],
) -> Rules:
    """Fit every rule on the samples of a prediction, which no rule has seen before.

    Any probabilities will do: `Prediction.from_logits` takes arrays of logits and labels.

    Args:
        prediction: prediction on the split tune.
        classes: the classes.
        shares: class shares [C] for pas, from `prior_shift.prior_shares`.
        config: the promises.
        class_weights: {weighting: weight of each class [C], from `shift_weights`; None for ones}.
    """
    data = FitData.of(prediction, classes, shares)
    return fit_rules(data, classes, shares, config, class_weights)


def fit_rules(
    data: FitData,
    classes: Classes,
    shares: Array,
    config: Guarantees,
    class_weights: Mapping[str, Array | None],
) -> Rules:
    """Fit every rule; the arguments are those of `fit_guarantees`."""
    answers, certainty = data.answers, data.confidence
    wrong = wrong_by_rank(answers, data.labels, classes.ranks)
    ones = np.ones(len(classes.names))
    return Rules(
        shares,
        {
            name: fit_sets(
                data.true_scores, data.labels, config.coverages, ones if own is None else own
            )
            for name, own in class_weights.items()
        },
        [fit_risk(data, classes.groups, risk, config.confidence) for risk in config.risks],
        {
            precision: fit_roll_up(answers, wrong, precision, config.confidence)
            for precision in config.precisions
        },
        {
            precision: fit_threshold(certainty, wrong[0], 1 - precision, config.confidence)
            for precision in config.precisions
        },
    )
