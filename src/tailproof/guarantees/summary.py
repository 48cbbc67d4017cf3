"""A method with its rules and what they reach, and its part of guarantees.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailproof.config.guarantees import Guarantees
from tailproof.evaluation import bootstrap
from tailproof.evaluation.prior_shift import Strength
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import FITTED_ON
from tailproof.guarantees.measure import OVERALL, RANK, REJECTION
from tailproof.guarantees.prediction_sets import PROCEDURES
from tailproof.guarantees.risk import RiskRule
from tailproof.guarantees.rules import Classes, Rules

SET_METRICS = ("coverage", "macro_coverage", "tail_coverage", "below_half", "size")
ANSWER_METRICS = ("answered", "error")
NORMAL_QUANTILE = 1.959964

Array = np.ndarray
Effective = Mapping[str, Mapping[str, float]]
Measured = Mapping[tuple, list[Array]]
"""One [1 + B] array for each seed, by the keys of `measure_guarantees`."""


@dataclass(frozen=True)
class Method:
    """An expert or an ensemble, with its rules and what they reach.

    Attributes:
        name: its name.
        kind: expert or ensemble.
        predictions: {seed: {split: Prediction}} for val, calib, tune, dev and test.
        strength: {seed: how strongly its softmax assumes the training shares}.
        rules: {seed: fitted rules}.
        values: {split: {key of `measure_guarantees`: one [1 + B] array per seed}}.
    """

    name: str
    kind: str
    predictions: dict[str, dict[str, Prediction]]
    strength: dict[str, Strength]
    rules: dict[str, Rules]
    values: dict[str, dict[tuple, list[Array]]]


def summarise(
    method: Method, config: Guarantees, classes: Classes, effective: Effective
) -> dict[str, Any]:
    """Return a method's part of guarantees.json.

    Args:
        method: the method.
        config: the promises.
        classes: the classes.
        effective: {split: {weighting: number of equally weighted samples that count as much}}.
    """
    return {
        "kind": method.kind,
        "prior_strength": {seed: own._asdict() for seed, own in method.strength.items()},
        "sets": _summary_of_sets(method, effective),
        "risks": summarise_risks(
            {seed: rules.risks for seed, rules in method.rules.items()}, method.values
        ),
        "roll_ups": _summary_of_roll_ups(method, config, classes),
    }


def _summary_of_sets(method: Method, effective: Effective) -> list[dict[str, Any]]:
    rules = next(iter(method.rules.values()))
    return [
        {
            "weighting": weighting,
            "coverage": coverage,
            "procedure": name,
            "promise": bootstrap.finite_or_none(by_procedure[name].promise),
            "lowest": {
                split: bootstrap.finite_or_none(
                    _lowest_coverage(
                        by_procedure[name].promise,
                        effective[FITTED_ON][weighting],
                        effective[split][weighting],
                    )
                )
                for split in method.values
            },
            **_over_seeds(method.values, ("sets", weighting, coverage, name), SET_METRICS),
        }
        for weighting, by_coverage in rules.sets.items()
        for coverage, by_procedure in by_coverage.items()
        for name in PROCEDURES
    ]


def _lowest_coverage(promise: float, fitted: float, measured: float) -> float:
    """Return the coverage that 97.5 % of the draws of tune and of a measured split exceed.

    The promise is about the mean over draws: with one draw, the coverage varies as that of a
    binomial whose share follows a beta distribution, here with the normal approximation.
    """
    return promise - NORMAL_QUANTILE * np.sqrt(
        promise * (1 - promise) * (1 / fitted + 1 / measured)
    )


def summarise_risks(
    rules: Mapping[str, Sequence[RiskRule]], values: Mapping[str, Measured]
) -> list[dict[str, Any]]:
    """Return what guarantees.json says of promised risks.

    Args:
        rules: {seed: the rules}.
        values: {split: what they reach}.
    """
    rows = []
    for of_seeds in zip(*rules.values(), strict=True):
        first = of_seeds[0]
        for group in (OVERALL, *first.groups):
            fits = [rule.overall if group == OVERALL else rule.groups[group] for rule in of_seeds]
            rows.append(
                {
                    "risk": first.risk,
                    "group": group,
                    "fits": {seed: fit._asdict() for seed, fit in zip(rules, fits, strict=True)},
                    **_over_seeds(values, ("risks", first.risk, group), ANSWER_METRICS),
                }
            )
    return rows


def _summary_of_roll_ups(
    method: Method, config: Guarantees, classes: Classes
) -> list[dict[str, Any]]:
    rows = []
    for precision in config.precisions:
        key = ("roll_ups", precision)
        fits = {
            rank.name: {
                seed: rules.roll_ups[precision][index]._asdict()
                for seed, rules in method.rules.items()
            }
            for index, rank in enumerate(classes.ranks)
        }
        rows.append(
            {
                "precision": precision,
                "all": _over_seeds(method.values, (*key, OVERALL), ANSWER_METRICS),
                "ranks": {
                    rank: {
                        "fits": by_seed,
                        **_over_seeds(method.values, (*key, RANK, rank), ANSWER_METRICS),
                    }
                    for rank, by_seed in fits.items()
                },
                "rejection": _over_seeds(method.values, (*key, REJECTION), ANSWER_METRICS),
                "gain": {
                    split: bootstrap.difference(
                        values[*key, OVERALL, "answered"], values[*key, REJECTION, "answered"]
                    )
                    for split, values in method.values.items()
                },
            }
        )
    return rows


def _over_seeds(
    values: Mapping[str, Measured], key: tuple, metrics: tuple[str, ...]
) -> dict[str, Any]:
    """Return {split: {metric: mean over the seeds for which it is defined, with its interval}}."""
    return {
        split: {metric: _mean(own, (*key, metric)) for metric in metrics}
        for split, own in values.items()
    }


def _mean(values: Measured, key: tuple) -> dict[str, Any]:
    defined = [rows for rows in values[key] if not np.isnan(rows[0])]
    return bootstrap.over_seeds(defined or [np.array([np.nan])])
