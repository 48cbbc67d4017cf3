"""An expert or an ensemble, with all that was found of it."""

from dataclasses import dataclass, field

import numpy as np

from tailproof.evaluation.metrics import Values
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import Rule

LONG_TAIL = "long_tail_"


@dataclass
class Method:
    """An expert or an ensemble, and all that was found of it.

    Attributes:
        name: as in the configuration, or the ensemble's.
        kind: expert or ensemble.
        predictions: {seed: {split: Prediction}} for tune, dev and test.
        heads: {seed: {split: {rank: log-probabilities}}} of coarser ranks, for dev and test.
        raw: as predictions, for dev and test before calibration; empty for ensembles.
        values: {split: {metric: one [1 + B] array a seed}}.
        recalls: {split: one [1 + B, C] array a seed}.
        curves: {split: {(weighting, rule, risk): [1 + B, 50] mean over seeds}}.
        found: {split: [1 + B, 51] positives found at `low_fpr.ONE_IN_OF_CURVE`, mean over seeds};
            empty but for two classes.
        rules: {seed: {weighting: {rule: fitted rules}}}.
    """

    name: str
    kind: str
    predictions: dict[str, dict[str, Prediction]]
    heads: dict[str, dict[str, dict[str, np.ndarray]]] = field(default_factory=dict)
    raw: dict[str, dict[str, Prediction]] = field(default_factory=dict)
    values: dict[str, dict[str, list[np.ndarray]]] = field(default_factory=dict)
    recalls: dict[str, list[np.ndarray]] = field(default_factory=dict)
    curves: dict[str, dict[tuple[str, str, str], np.ndarray]] = field(default_factory=dict)
    found: dict[str, np.ndarray] = field(default_factory=dict)
    rules: dict[str, dict[str, dict[str, list[Rule]]]] = field(default_factory=dict)

    def add(
        self,
        split: str,
        weighting: str,
        found: Values,
        curves: dict[tuple[str, str], np.ndarray],
    ) -> None:
        """Take in what one seed gave under one weighting."""
        prefix = LONG_TAIL if weighting == "long_tail" else ""
        values = self.values.setdefault(split, {})
        for metric, each in found.items():
            values.setdefault(prefix + metric, []).append(each)
        mean = self.curves.setdefault(split, {})
        for (rule, risk), curve in curves.items():
            key = (weighting, rule, risk)
            mean[key] = mean.get(key, 0) + curve / len(self.predictions)
