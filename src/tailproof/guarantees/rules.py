"""All rules of one method and seed, fitted on one set of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailproof.config.guarantees import Guarantees
from tailproof.evaluation.probabilities import Prediction
from tailproof.guarantees.binomial_threshold import Fit, fit_threshold
from tailproof.guarantees.prediction_sets import SetRule, TrueScores, fit_sets
from tailproof.guarantees.risk import RiskRule, fit_risk
from tailproof.guarantees.roll_up import AnswersByRank, Rank, fit_roll_up, wrong_by_rank

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
    true = TrueScores(prediction.labels, shares)
    found = AnswersByRank(len(prediction.labels), classes.ranks)
    prediction.collect({("true scores", shares.tobytes()): true}, once=[found])
    answers = found.answers
    wrong = wrong_by_rank(answers, prediction.labels, classes.ranks)
    certainty = answers[0].certainty
    return Rules(
        shares,
        {
            name: fit_sets(prediction, shares, config.coverages, weights)
            for name, weights in class_weights.items()
        },
        [fit_risk(prediction, classes.groups, risk, config.confidence) for risk in config.risks],
        {
            precision: fit_roll_up(answers, wrong, precision, config.confidence)
            for precision in config.precisions
        },
        {
            precision: fit_threshold(certainty, wrong[0], 1 - precision, config.confidence)
            for precision in config.precisions
        },
    )
