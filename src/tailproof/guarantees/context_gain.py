"""What context changes: metrics on dev and test with it minus without, and its own promises."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tailproof.evaluation import bootstrap
from tailproof.evaluation.metrics import measure_named
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS
from tailproof.guarantees.context_prior import (
    Context,
    ContextColumn,
    Exponents,
    fit_exponents,
    predict_in_context,
)
from tailproof.guarantees.expert_guarantees import (
    WEIGHTING,
    StoredColumn,
    StoredContext,
    StoredGroupContext,
    StoredPromises,
    stored_promises,
)
from tailproof.guarantees.fitting import Setting, Unit, fit_and_measure
from tailproof.guarantees.summary import Method

MEASURED = ("top1", "balanced_accuracy", "few_accuracy", "nll", "ece_debiased")
WITHOUT, WITH, CHANGED = "without", "with", "changed"

Array = np.ndarray


class InContext(NamedTuple):
    """A method in context.

    Attributes:
        summary: its part of guarantees.json.
        method: its predictions in context, with rules if a column counts for a seed.
        exponents: {seed: its fitted exponents}.
    """

    summary: dict[str, Any]
    method: Method
    exponents: dict[str, Exponents]

    @property
    def in_use(self) -> bool:
        """Whether a column counts for a seed."""
        return any(fit.in_use for fit in self.exponents.values())

    def promises(self, seed: str) -> StoredPromises | None:
        """Return what is promised in context; None if no column counts."""
        if not self.exponents[seed].in_use:
            return None
        return StoredPromises(**stored_promises(self.method.rules[seed]))

    def stored(self, seed: str, context: Context) -> StoredContext:
        """Return what the folder of an expert has of its context."""
        columns = [
            StoredColumn(
                name=column.name,
                kind=column.kind,
                exponent=float(exponent),
                smoothing=column.smoothing,
                values={
                    value: {str(index): int(row[index]) for index in np.flatnonzero(row)}
                    for value, row in zip(column.values, column.counts, strict=True)
                },
            )
            for column, exponent in zip(context.columns, self.exponents[seed].values, strict=True)
        ]
        return StoredContext(
            class_counts=context.class_counts.tolist(),
            columns=columns,
            promises=self.promises(seed),
        )

    def stored_of_groups(self, seed: str) -> StoredGroupContext:
        """Return what the folder of an expert has of the context of groups."""
        exponents = self.exponents[seed].values.tolist()
        return StoredGroupContext(exponents=exponents, promises=self.promises(seed))


def put_in_context(
    method: Method, codes: Mapping[str, Sequence[Array]], columns: Sequence[ContextColumn]
) -> InContext:
    """Fit the exponents of a method on tune; return its predictions in context, without rules.

    Those of tune are made with exponents that were fitted on other samples.

    Args:
        method: the method, with its predictions.
        codes: {split: the code of each sample in each column}.
        columns: the columns.
    """
    exponents: dict[str, Exponents] = {}
    predictions: dict[str, dict[str, Prediction]] = {}
    for seed, single in method.predictions.items():
        tune = single[FITTED_ON]
        fit = fit_exponents(tune.log_p, tune.labels, columns, codes[FITTED_ON])
        exponents[seed] = fit
        predictions[seed] = {
            split: predict_in_context(own, columns, codes[split], fit.values)
            for split, own in single.items()
        }
        predictions[seed][FITTED_ON] = Prediction(fit.held_out, tune.labels)
    within = Method(method.name, method.kind, predictions, {}, {}, {})
    return InContext({}, within, exponents)


def use_context(
    method: Method, unit: Unit, setting: Setting, columns: Sequence[ContextColumn]
) -> InContext:
    """Fit the exponents of a method and its promises in context on tune, and measure both.

    Args:
        method: the method, with its predictions.
        unit: what the promises are about.
        setting: what all methods have in common.
        columns: the columns of context.
    """
    own = put_in_context(method, unit.codes, columns)
    names = [column.name for column in columns]
    own.summary["exponents"] = {
        seed: dict(zip(names, fit.values.tolist(), strict=True))
        for seed, fit in own.exponents.items()
    }
    own.summary["gain"] = {seed: fit.gain for seed, fit in own.exponents.items()}
    own.summary.update(_changes(method, own.method, unit, setting))
    if own.in_use:
        plain = replace(unit, class_weights={WEIGHTING: None})
        own.summary["promises"] = fit_and_measure(own.method, plain, setting)
    return own


def _changes(method: Method, within: Method, unit: Unit, setting: Setting) -> dict[str, Any]:
    """Return {split: {metric: without and with context, and the difference}}."""
    changes = {}
    for split in REPORTED_SPLITS:
        values: dict[str, dict[str, list[Array]]] = {WITHOUT: {}, WITH: {}}
        for kind, own in {WITHOUT: method, WITH: within}.items():
            for predictions in own.predictions.values():
                measured = measure_named(
                    predictions[split], unit.rows[split].counts, setting.task, MEASURED
                )
                for name, rows in measured.items():
                    values[kind].setdefault(name, []).append(rows)
        changes[split] = {
            name: _summary(values[WITHOUT][name], values[WITH][name]) for name in MEASURED
        }
    return changes


def _summary(without: list[Array], with_context: list[Array]) -> Mapping[str, Any]:
    return {
        WITHOUT: bootstrap.over_seeds(without),
        WITH: bootstrap.over_seeds(with_context),
        CHANGED: bootstrap.difference(with_context, without),
    }
