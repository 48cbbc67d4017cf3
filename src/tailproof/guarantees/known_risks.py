"""Promises next to "unknown": the risk of images that are not called unknown, and of groups.

A risk is fitted on the images of tune whose score reaches the threshold of "unknown". This
threshold depends on the scores of tune alone, not on its classes, so these images are independent
draws of those that are answered (given an order statistic, the values above it are draws of their
distribution above it). A group is called unknown by the mean score of its images.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tailproof.evaluation.sample_groups import GroupedSplit
from tailproof.evaluation.task import FITTED_ON
from tailproof.guarantees.binomial_threshold import Fit
from tailproof.guarantees.expert_guarantees import StoredFalseAlarm, StoredRisk
from tailproof.guarantees.fitting import Setting
from tailproof.guarantees.measure import in_blocks, measure_risks
from tailproof.guarantees.promised import Promised, PromisedGroups
from tailproof.guarantees.risk import RiskRule, fit_risk
from tailproof.guarantees.summary import Method, summarise_risks
from tailproof.guarantees.unknown import (
    MEASURED_ON,
    Scored,
    SplitScores,
    count_resamples,
    fit_and_measure_unknown,
    fit_thresholds,
    measure_thresholds,
)

Array = np.ndarray
Risks = dict[str, list[RiskRule]]
"""Rules by seed."""


def promise_unknown(
    seeds: Mapping[str, Scored],
    single: Promised,
    groups: PromisedGroups | None,
    group_of: Mapping[str, str],
    setting: Setting,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Fit on tune when an expert or ensemble says unknown, and its risks; measure both on test.

    Args:
        seeds: the scores of each seed.
        single: what it promises of images.
        groups: what it promises of groups; None if there are none.
        group_of: the group of each image; an image that is not listed is its own group.
        setting: what all methods have in common.

    Returns:
        Its part of guarantees.json, and what its folder holds, by seed, without the digest of
        features.
    """
    classes, config, evaluation = setting.classes, setting.config, setting.evaluation
    rules = fit_and_measure_unknown(seeds, classes, config, evaluation)
    rows = [row for row in rules.summary["answers"] if row["score"] == rules.score]
    own = _add_risks(rows, seeds, rules.score, rules.fits, single, setting)
    stored = {seed: {"score": rules.score, "false_alarms": own[seed]} for seed in seeds}
    if groups is None:
        return rules.summary, stored
    together = {
        seed: scores_of_groups(scored, seed, groups, group_of) for seed, scored in seeds.items()
    }
    first = next(iter(together.values()))
    fits = fit_thresholds(together, rules.score, config)
    counts = count_resamples(first, evaluation)
    rows = measure_thresholds(list(together.values()), rules.score, fits, classes, counts)
    own = _add_risks(rows, together, rules.score, fits, groups.promised, setting)
    rules.summary["groups"] = {
        "rows": {split: len(scores) for split, scores in first.items()},
        "answers": rows,
    }
    return rules.summary, {seed: {**kept, "groups": own[seed]} for seed, kept in stored.items()}


def _add_risks(
    rows: list[dict[str, Any]],
    seeds: Mapping[str, Scored],
    score: str,
    fits: Mapping[float, Mapping[str, Fit]],
    promised: Promised,
    setting: Setting,
) -> dict[str, list[dict[str, Any]]]:
    """Add risks to the rows of each false-alarm rate; return what folders hold, by seed."""
    stored: dict[str, list[dict[str, Any]]] = {seed: [] for seed in seeds}
    context = promised.context
    for row, (rate, of_rate) in zip(rows, fits.items(), strict=True):
        known = {
            seed: {
                split: is_known(own[split].scores[score], of_rate[seed])
                for split in (FITTED_ON, MEASURED_ON)
            }
            for seed, own in seeds.items()
        }
        rules, row["risks"] = _fit_risks(promised.method, known, promised, setting)
        in_context: Risks = {}
        if context and context.in_use:
            in_context, row["context_risks"] = _fit_risks(context.method, known, promised, setting)
        for seed, kept in stored.items():
            has_context = in_context and context and context.exponents[seed].in_use
            kept.append(
                StoredFalseAlarm(
                    rate=rate,
                    **of_rate[seed]._asdict(),
                    risks=[StoredRisk.of(rule) for rule in rules[seed]],
                    context_risks=[StoredRisk.of(rule) for rule in in_context[seed]]
                    if has_context
                    else None,
                ).model_dump(mode="json")
            )
    return stored


def is_known(scores: Array, fit: Fit) -> Array:
    """Return which samples are not called unknown; none if no threshold could be fitted."""
    return scores >= (np.inf if fit.threshold is None else fit.threshold)


def _fit_risks(
    method: Method,
    known: Mapping[str, Mapping[str, Array]],
    promised: Promised,
    setting: Setting,
) -> tuple[Risks, list[dict[str, Any]]]:
    """Fit each risk on the known samples of tune, and measure it on test."""
    rules: Risks = {}
    values: dict[tuple, list[Array]] = {}
    classes, config = setting.classes, setting.config
    for seed, predictions in method.predictions.items():
        among = known[seed]
        rules[seed] = [
            fit_risk(
                predictions[FITTED_ON], classes.groups, risk, config.confidence, among[FITTED_ON]
            )
            for risk in config.risks
        ]
        measured = in_blocks(
            promised.unit.rows[MEASURED_ON].counts,
            partial(
                measure_risks,
                rules[seed],
                predictions[MEASURED_ON],
                classes,
                allowed=among[MEASURED_ON],
            ),
        )
        for key, rows in measured.items():
            values.setdefault(key, []).append(rows)
    return rules, summarise_risks(rules, {MEASURED_ON: values})


def scores_of_groups(
    scored: Scored, seed: str, groups: PromisedGroups, group_of: Mapping[str, str]
) -> Scored:
    """Return the mean score of the images of each group.

    Args:
        scored: the scores of images.
        seed: the seed.
        groups: the groups of known images, with their predictions.
        group_of: the group of each image; an image that is not listed is its own group.
    """
    together = {}
    for split, own in scored.items():
        of_split = groups.groups.splits.get(split)
        if of_split is None:
            names = {sample: group_of.get(sample, sample) for sample in own.sample_ids}
            of_split = GroupedSplit.of(own.sample_ids, own.labels, names)
            predicted = of_split.labels
        else:
            predicted = groups.promised.method.predictions[seed][split].predicted
        means = {
            score: group_scores(values, of_split.index, len(of_split.size))
            for score, values in own.scores.items()
        }
        together[split] = SplitScores(
            of_split.labels, predicted, means, np.arange(len(of_split.size))
        )
    return together


def group_scores(scores: Array, group: Array, groups: int) -> Array:
    """Return the mean score of each group, rounded to single precision as scores are.

    Args:
        scores: the scores of N images.
        group: the number of the group of each, int [N].
        groups: the number of groups.
    """
    means = np.bincount(group, scores, minlength=groups) / np.bincount(group, minlength=groups)
    return means.astype(np.float32).astype(np.float64)
