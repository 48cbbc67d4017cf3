"""What context changes: metrics on dev and test with it minus without, on the same samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailproof.evaluation import bootstrap
from tailproof.evaluation.metrics import measure_named
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS, Task
from tailproof.guarantees.context import Context, Exponents, add_context, fit_exponents
from tailproof.guarantees.expert_guarantees import StoredColumn, StoredContext
from tailproof.guarantees.fitting import Samples
from tailproof.guarantees.summary import Method

MEASURED = ("top1", "balanced_accuracy", "few_accuracy", "nll", "ece_debiased")
WITHOUT, WITH, CHANGED = "without", "with", "changed"

Array = np.ndarray


def use_context(
    method: Method,
    context: Context,
    codes: Mapping[str, Sequence[Array]],
    rows: Mapping[str, Samples],
    task: Task,
    stored: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Fit the exponents of a method on tune, measure it, and return its part of guarantees.json.

    Args:
        method: the method, with its predictions.
        context: the columns of context.
        codes: {split: its codes of each column}, from `Context.codes`.
        rows: {split: its resamples}.
        task: the classification task.
        stored: {seed: its part of guarantee_rules.json}, to which `context` is added.
    """
    fits: dict[str, Exponents] = {}
    values: dict[str, dict[tuple[str, str], list[Array]]] = {}
    for seed, predictions in method.predictions.items():
        tune = predictions[FITTED_ON]
        fits[seed] = fit_exponents(tune.log_p, tune.labels, context.columns, codes[FITTED_ON])
        stored[seed]["context"] = _stored(context, fits[seed])
        for split in REPORTED_SPLITS:
            single = predictions[split]
            log_p = add_context(single.log_p, context.columns, codes[split], fits[seed].values)
            both = {WITHOUT: single, WITH: Prediction(log_p, single.labels)}
            kept = values.setdefault(split, {})
            for kind, prediction in both.items():
                named = measure_named(prediction, rows[split].counts, task, MEASURED)
                for name, measured in named.items():
                    kept.setdefault((name, kind), []).append(measured)
    names = [column.name for column in context.columns]
    return {
        "exponents": {
            seed: dict(zip(names, fit.values.tolist(), strict=True)) for seed, fit in fits.items()
        },
        "gain": {seed: fit.gain for seed, fit in fits.items()},
        **{
            split: {name: _summary(kept[name, WITHOUT], kept[name, WITH]) for name in MEASURED}
            for split, kept in values.items()
        },
    }


def _summary(without: list[Array], with_context: list[Array]) -> dict[str, Any]:
    return {
        WITHOUT: bootstrap.over_seeds(without),
        WITH: bootstrap.over_seeds(with_context),
        CHANGED: bootstrap.difference(with_context, without),
    }


def _stored(context: Context, fit: Exponents) -> StoredContext:
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
        for column, exponent in zip(context.columns, fit.values, strict=True)
    ]
    return StoredContext(class_counts=context.class_counts.tolist(), columns=columns)
