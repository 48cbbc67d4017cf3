"""Context: what the habitat, the month or the site of an image says of its class.

A column of the source's table has a value c for each sample. With the n_c samples of train that
have it, n_cy of them of class y,

    p(y|c) = (n_cy + m · p(y)) / (n_c + m),

where p(y) are the class shares of train: a Dirichlet prior around them (the m-estimate of Cestnik
1990). m maximises the Dirichlet-multinomial likelihood of the counts of train (Minka 2000,
"Estimating a Dirichlet distribution", section 3): a column that says nothing gets a large m, and
p(y|c) = p(y). The probabilities of an image then become

    p(y|x, c) ∝ p(y|x) · Π_c (p(y|c) / p(y))^a_c.

a = 1 is Bayes' rule if the image and the columns are independent given the class (Berg et al. 2014,
"Birdsnap", section 4; Picek et al. 2022, "Danish Fungi 2020", section 4.3, for several columns).
p(y|c) / p(y) is p(c|y) up to a factor that does not depend on y, so the class shares of the images
need not be those of train. The exponents are fitted on tune: columns that say the same get smaller
ones. All are 0 if the NLL on tune, cross-fitted, is not lower beyond the 95 % interval of the
difference. A missing value, and one that train does not have, changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.context_cells import Kind, read_context
from tailproof.data.tables import read_parquet
from tailproof.evaluation import bootstrap
from tailproof.evaluation.prior_shift import shares
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.guarantees.held_out_predictions import predict_held_out

LEAST_SMOOTHING, MOST_SMOOTHING = 0.1, 1e7
STRONGEST = 3.0
"""Largest exponent."""

REPLICATES = 1000
NONE = -1
"""The code of a missing value, and of one that train does not have."""

Array = np.ndarray
Cells = Sequence[str | None]


@dataclass(frozen=True)
class ContextColumn:
    """What a column says of the classes.

    Attributes:
        name: its name in the source's table.
        kind: what is taken of its cells, of `tailproof.data.context_cells`.
        values: the values that samples of train have.
        counts: samples of train by value and class, [V, C].
        smoothing: m.
        log_ratio: log p(y|c) − log p(y) of each value, and zeros for `NONE`, [V + 1, C].
    """

    name: str
    kind: Kind
    values: list[str]
    counts: Array
    smoothing: float
    log_ratio: Array

    @classmethod
    def fit(
        cls, name: str, kind: Kind, cells: Cells, labels: Array, class_counts: Array
    ) -> "ContextColumn":
        """Count the samples of train, and fit m.

        Args:
            name: its name.
            kind: what is taken of its cells.
            cells: the value of each sample of train; None if it has none.
            labels: their class indices.
            class_counts: samples of train of each class, [C].
        """
        values = sorted({cell for cell in cells if cell is not None})
        codes = encode(cells, values)
        counts = np.zeros((len(values), len(class_counts)), int)
        np.add.at(counts, (codes[codes != NONE], labels[codes != NONE]), 1)
        smoothing = fit_smoothing(counts, class_counts)
        return cls.of(name, kind, values, counts, class_counts, smoothing)

    @classmethod
    def of(
        cls,
        name: str,
        kind: Kind,
        values: list[str],
        counts: Array,
        class_counts: Array,
        smoothing: float,
    ) -> "ContextColumn":
        """Build from counts [V, C] and a fitted m."""
        prior = shares(class_counts)
        smoothed = (counts + smoothing * prior) / (counts.sum(axis=1, keepdims=True) + smoothing)
        log_ratio = np.vstack([np.log(smoothed / prior), np.zeros(len(prior))])
        return cls(name, kind, values, counts, smoothing, log_ratio)

    def codes(self, cells: Cells) -> Array:
        """Return the position of each cell in `values`; `NONE` if it is not there."""
        return encode(cells, self.values)


def encode(cells: Cells, values: list[str]) -> Array:
    """Return the position of each cell among the values, [N]; `NONE` if it is not there."""
    place: dict[str | None, int] = {value: code for code, value in enumerate(values)}
    return np.array([place.get(cell, NONE) for cell in cells], int)


def fit_smoothing(counts: Array, class_counts: Array) -> float:
    """Return the m with the largest Dirichlet-multinomial likelihood of counts [V, C]."""
    prior = shares(class_counts)
    rows, columns = np.nonzero(counts)
    observed, share, totals = counts[rows, columns], prior[columns], counts.sum(axis=1)

    def loss(log_m: float) -> float:
        m = np.exp(log_m)
        of_classes = (gammaln(observed + m * share) - gammaln(m * share)).sum()
        return (gammaln(totals + m) - gammaln(m)).sum() - of_classes

    bounds = np.log([LEAST_SMOOTHING, MOST_SMOOTHING])
    return float(f"{np.exp(minimize_scalar(loss, bounds=bounds, method='bounded').x):.6g}")


class Exponents(NamedTuple):
    """Fitted exponents.

    Attributes:
        values: one for each column; zeros if context does not help.
        gain: NLL on tune, cross-fitted, with context minus without: difference, low, high.
        held_out: log-probabilities [N, C] of tune in context, each fifth with exponents that were
            fitted on the rest; those without context if it does not help.
    """

    values: Array
    gain: dict[str, float | None]
    held_out: Array

    @property
    def in_use(self) -> bool:
        """Whether a column counts at all."""
        return bool(self.values.any())


@dataclass(frozen=True)
class Context:
    """The columns of an experiment, and their values for every sample.

    Attributes:
        columns: the columns.
        cells: {sample: its value in each column}.
        class_counts: samples of train of each class, [C].
        missing: {column: share of the samples of train without a value}.
    """

    columns: list[ContextColumn]
    cells: Mapping[str, Cells]
    class_counts: Array
    missing: dict[str, float]

    @classmethod
    def read(
        cls, context: str | Path, samples: str | Path, splits: str | Path, task: Task
    ) -> "Context":
        """Read the columns, and fit them on train.

        Args:
            context: context.parquet.
            samples: samples.parquet, which has the labels.
            splits: splits.parquet, which has the samples of train.
            task: the classification task.
        """
        cells, kinds = read_context(context)
        split = read_parquet(splits, ["sample_id", "split"])
        rows = zip(*(split[name].to_pylist() for name in ("sample_id", "split")), strict=True)
        train = {sample for sample, name in rows if name == "train"}
        table = read_parquet(samples, ["sample_id", task.target])
        labels = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        index = {name: place for place, name in enumerate(task.classes)}
        learnt = [(cells[sample], index[label]) for sample, label in labels if sample in train]
        codes = np.array([label for _, label in learnt], int)
        counts = np.bincount(codes, minlength=len(task.classes))
        columns, missing = [], {}
        for place, (name, kind) in enumerate(kinds.items()):
            own = [row[place] for row, _ in learnt]
            columns.append(ContextColumn.fit(name, kind, own, codes, counts))
            missing[name] = own.count(None) / len(own)
        return cls(columns, cells, counts, missing)

    def codes(self, sample_ids: Iterable[str]) -> list[Array]:
        """Return the codes of samples in each column."""
        rows = [self.cells[sample] for sample in sample_ids]
        return [
            column.codes([row[place] for row in rows]) for place, column in enumerate(self.columns)
        ]

    def to_jsonable(self) -> dict[str, Any]:
        """Return what guarantees.json says of the columns."""
        return {
            column.name: {
                "kind": column.kind,
                "values": len(column.values),
                "smoothing": column.smoothing,
                "missing": bootstrap.finite_or_none(self.missing[column.name]),
            }
            for column in self.columns
        }


def add_context(
    log_p: Array, columns: Sequence[ContextColumn], codes: Sequence[Array], exponents: Array
) -> Array:
    """Return log p(y|x, c) [N, C] from log p(y|x) [N, C] and the codes of each column."""
    total = log_p.astype(float)
    for column, own, exponent in zip(columns, codes, exponents, strict=True):
        total = total + exponent * column.log_ratio[own]
    return log_probabilities(total)


def predict_in_context(
    single: Prediction,
    columns: Sequence[ContextColumn],
    codes: Sequence[Array],
    exponents: Array,
) -> Prediction:
    """Return the prediction in context; the arguments are those of `add_context`."""

    def read() -> Blocks:
        for rows, log_p in single.blocks():
            yield rows, add_context(log_p, columns, [own[rows] for own in codes], exponents)

    return Prediction(Streamed(single.classes, read), single.labels)


def codes_of_groups(codes: Array, group: Array, groups: int) -> Array:
    """Return the code that all samples of each group have which have one, [G]; else `NONE`.

    Args:
        codes: the code of each of N samples.
        group: the number of its group, int [N].
        groups: G.
    """
    here = codes != NONE
    highest = np.full(groups, NONE)
    np.maximum.at(highest, group[here], codes[here])
    same = np.ones(groups, bool)
    np.logical_and.at(same, group[here], codes[here] == highest[group[here]])
    return np.where(same, highest, NONE)


def fit_exponents(
    log_p: Array, labels: Array, columns: Sequence[ContextColumn], codes: Sequence[Array]
) -> Exponents:
    """Fit the exponents on tune, or return zeros if context does not help beyond its interval.

    Args:
        log_p: log-probabilities [N, C] of samples of tune.
        labels: their class indices.
        columns: the columns.
        codes: the codes of the samples in each column.
    """
    rows = np.arange(len(labels))

    def predict(fitted: Array, predicted: Array) -> Array:
        own = [code[fitted] for code in codes]
        exponents = _maximise(log_p[fitted], labels[fitted], columns, own)
        return add_context(
            log_p[predicted], columns, [code[predicted] for code in codes], exponents
        )

    held_out = predict_held_out(labels, predict)
    losses = log_p[rows, labels] - held_out[rows, labels]
    drawn = _resamples(len(labels))
    gain = bootstrap.difference([drawn @ losses / len(labels)], [np.zeros(1 + REPLICATES)])
    if gain["high"] is None or gain["high"] >= 0:
        return Exponents(np.zeros(len(columns)), gain, log_p)
    exponents = np.round(_maximise(log_p, labels, columns, codes), 4)
    return Exponents(exponents, gain, held_out if exponents.any() else log_p)


@lru_cache(maxsize=1)
def _resamples(samples: int) -> Array:
    return bootstrap.resamples(samples, REPLICATES, 0, FITTED_ON)


def _maximise(
    log_p: Array, labels: Array, columns: Sequence[ContextColumn], codes: Sequence[Array]
) -> Array:
    """Return the most probable exponents in [0, `STRONGEST`].

    The objective is the summed NLL plus Σ (a − 1)² / 2, which stands for Bayes' rule with a normal
    prior of standard deviation 1. It is convex: a log-sum-exp of linear functions of a.
    """
    rows = np.arange(len(labels))
    ratios = [column.log_ratio[own] for column, own in zip(columns, codes, strict=True)]
    truth = [ratio[rows, labels].sum() for ratio in ratios]

    def objective(a: Array) -> tuple[float, Array]:
        mixed = log_p.astype(float)
        for ratio, exponent in zip(ratios, a, strict=True):
            mixed = mixed + exponent * ratio
        mixed = log_probabilities(mixed)
        p = np.exp(mixed)
        slope = [(p * ratio).sum() - right for ratio, right in zip(ratios, truth, strict=True)]
        return -mixed[rows, labels].sum() + ((a - 1) ** 2).sum() / 2, np.array(slope) + a - 1

    start = np.ones(len(columns))
    bounds = [(0.0, STRONGEST)] * len(columns)
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
