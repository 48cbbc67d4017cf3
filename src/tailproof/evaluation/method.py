"""A method: an expert or an ensemble, with its predictions and measured values."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tailproof.evaluation.bootstrap import bounds
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.registry import LONG_TAIL
from tailproof.evaluation.rejection import Rule
from tailproof.evaluation.weighted_samples import Values


class ClassRecall(NamedTuple):
    """The recall of a class, and a 95 % interval."""

    value: float
    low: float | None
    high: float | None


def class_recalls(recalls: np.ndarray) -> list[ClassRecall]:
    """Return the recall of each class from that in each resample, [1 + B, C]."""
    return [ClassRecall(float(of_class[0]), *bounds(of_class)) for of_class in recalls.T]


@dataclass
class Method:
    """An expert or an ensemble with its predictions and measured values.

    Attributes:
        name: name of the expert in the configuration, or of the ensemble.
        kind: expert or ensemble.
        predictions: {seed: {split: Prediction}} for tune, dev and test.
        heads: {seed: {split: {rank: Prediction}}} of coarser ranks on dev and test.
        raw: predictions on dev and test without calibration; of ensembles, those of the experts'
            raw logits.
        values: {split: {metric: one [1 + B] array per seed}}.
        class_recalls: {split: recall of each class with its interval, mean over seeds}.
        curves: {split: {(weighting, rule, risk): [1 + B, 50] mean over seeds}}.
        tpr_curves: {split: [1 + B, 51] true-positive rates at `roc.ONE_IN_OF_CURVE`, mean over
            seeds}; only for two classes.
        rules: {seed: {weighting: {rule: fitted rules}}}.
    """

    name: str
    kind: str
    predictions: dict[str, dict[str, Prediction]]
    heads: dict[str, dict[str, dict[str, Prediction]]] = field(default_factory=dict)
    raw: dict[str, dict[str, Prediction]] = field(default_factory=dict)
    values: dict[str, dict[str, list[np.ndarray]]] = field(default_factory=dict)
    class_recalls: dict[str, list[ClassRecall]] = field(default_factory=dict)
    curves: dict[str, dict[tuple[str, str, str], np.ndarray]] = field(default_factory=dict)
    tpr_curves: dict[str, np.ndarray] = field(default_factory=dict)
    rules: dict[str, dict[str, dict[str, list[Rule]]]] = field(default_factory=dict)

    def add(
        self,
        split: str,
        weighting: str,
        measured: Values,
        curves: dict[tuple[str, str], np.ndarray],
    ) -> None:
        """Add the values of one seed under one weighting."""
        prefix = LONG_TAIL if weighting == "long_tail" else ""
        values = self.values.setdefault(split, {})
        for metric, rows in measured.items():
            values.setdefault(prefix + metric, []).append(rows)
        mean = self.curves.setdefault(split, {})
        for (rule, risk), curve in curves.items():
            key = (weighting, rule, risk)
            mean[key] = mean.get(key, 0) + curve / len(self.predictions)
