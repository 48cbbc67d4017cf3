"""What the rules reach on dev and test: [B] values for B rows of weights."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tailproof.evaluation.probabilities import Prediction
from tailproof.guarantees.prediction_sets import LabelledWeights, SetHits, SetRule, measure_sets
from tailproof.guarantees.risk import Answered, RiskRule, answered_above, measure_answers
from tailproof.guarantees.roll_up import (
    NONE,
    AnswersByRank,
    RankAnswers,
    answer_rank,
    wrong_by_rank,
)
from tailproof.guarantees.rules import Classes, Rules

Array = np.ndarray
OVERALL, RANK, REJECTION = "all", "rank", "rejection"
Values = dict[tuple, Array]

_BLOCK = 2**23


def measure_guarantees(
    rules: Rules,
    prediction: Prediction,
    classes: Classes,
    counts: Array,
    sample_weights: Mapping[str, Array],
) -> Values:
    """Measure every rule.

    Args:
        rules: fitted rules.
        prediction: prediction on N samples of another split.
        classes: the classes.
        counts: integers [B, N], how often each resample holds each sample.
        sample_weights: {weighting: [N]}, for the weightings of the sets.

    Returns:
        Values [B] by (sets, weighting, coverage, procedure, metric), (risks, risk, group, metric)
        and (roll_ups, precision, what, metric), where what is all, rejection, or rank and its name.
    """
    hits = SetHits(prediction.labels, rules.shares, [rule for _, rule in _set_rules(rules)])
    found = AnswersByRank(len(prediction.labels), classes.ranks)
    prediction.collect({}, once=[hits, found])

    def measure(weights: Array) -> Values:
        return {
            **_sets(rules, hits, prediction.labels, classes, weights, sample_weights),
            **measure_risks(rules.risks, prediction, classes, weights),
            **_roll_ups(rules, found.answers, prediction.labels, classes, weights),
        }

    return in_blocks(counts, measure)


def in_blocks(counts: Array, measure: Callable[[Array], Values]) -> Values:
    """Return values [B] of counts [B, N], which are turned into floats a few rows at a time."""
    step = max(1, _BLOCK // max(1, counts.shape[1]))
    parts = [
        measure(counts[start : start + step].astype(float)) for start in range(0, len(counts), step)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _set_rules(rules: Rules) -> list[tuple[str, SetRule]]:
    """Return every rule of prediction sets with its weighting."""
    return [
        (weighting, rule)
        for weighting, by_coverage in rules.sets.items()
        for by_procedure in by_coverage.values()
        for rule in by_procedure.values()
    ]


def _sets(
    rules: Rules,
    hits: SetHits,
    labels: Array,
    classes: Classes,
    weights: Array,
    sample_weights: Mapping[str, Array],
) -> Values:
    values: Values = {}
    samples = {
        weighting: LabelledWeights.of(labels, weights * sample_weights[weighting])
        for weighting in rules.sets
    }
    for (weighting, rule), hit, size in zip(_set_rules(rules), hits.hit, hits.size, strict=True):
        measured = measure_sets(hit, size, samples[weighting], classes.groups["few"], rule.coverage)
        for metric, rows in measured.items():
            values["sets", weighting, rule.coverage, rule.procedure, metric] = rows
    return values


def measure_risks(
    rules: Sequence[RiskRule],
    prediction: Answered,
    classes: Classes,
    weights: Array,
    allowed: Array | bool = True,
) -> Values:
    """Measure promised risks.

    Args:
        rules: the rules.
        prediction: the answers for N samples.
        classes: the classes.
        weights: rows of weights, [B, N].
        allowed: boolean mask [N] of the samples that may be answered at all.

    Returns:
        Values [B] by (risks, risk, group, metric).
    """
    values: Values = {}
    certainty, wrong = prediction.confidence, ~prediction.correct
    for rule in rules:
        answered = {OVERALL: answered_above(certainty, rule.overall.threshold) & allowed}
        among = {OVERALL: np.ones(len(wrong), bool)}
        for group, fit in rule.groups.items():
            among[group] = classes.groups[group][prediction.predicted]
            above = answered_above(certainty, fit.threshold)
            answered[group] = among[group] & above & allowed
        for group, chosen in answered.items():
            measured = measure_answers(
                chosen[among[group]], wrong[among[group]], weights[:, among[group]]
            )
            for metric, rows in measured.items():
                values["risks", rule.risk, group, metric] = rows
    return values


def _roll_ups(
    rules: Rules,
    answers: Sequence[RankAnswers],
    labels: Array,
    classes: Classes,
    weights: Array,
) -> Values:
    values: Values = {}
    wrong = wrong_by_rank(answers, labels, classes.ranks)
    for precision, fits in rules.roll_ups.items():
        rank = answer_rank(answers, [fit.threshold for fit in fits])
        mistaken = np.take_along_axis(wrong, np.maximum(rank, 0)[None], 0)[0]
        what: dict[tuple[str, ...], tuple[Array, Array]] = {(OVERALL,): (rank != NONE, mistaken)}
        for index, own in enumerate(classes.ranks):
            what[RANK, own.name] = rank == index, mistaken
        threshold = rules.rejections[precision].threshold
        what[REJECTION,] = answered_above(answers[0].certainty, threshold), wrong[0]
        for name, (answered, errors) in what.items():
            for metric, rows in measure_answers(answered, errors, weights).items():
                values["roll_ups", precision, *name, metric] = rows
    return values
