"""When an expert answers: one of the rules that evaluate fitted on the split tune."""

from typing import Any

import numpy as np

from tailproof.core.errors import TailproofError, choose
from tailproof.evaluation.prediction import Prediction
from tailproof.evaluation.rejection import Grouped, Rule, apply, head_and_tail


class Rejector:
    """A rule at one coverage, applied to images without labels."""

    def __init__(
        self,
        settings: dict[str, Any],
        classes: list[str],
        rule: str,
        coverage: float | None = None,
    ) -> None:
        """Choose the rule.

        Args:
            settings: what predict.json holds.
            classes: names of the target's classes, in the order of the outputs.
            rule: its name.
            coverage: the share of `tune` that it answers; by default the one of predict.json.

        Raises:
            TailproofError: the folder has no such rule or coverage.
        """
        rules = settings["rules"]
        if rule not in rules:
            raise choose("rule", rule, rules)
        self.rule, self.coverage = rule, settings["coverage"] if coverage is None else coverage
        fitted = {each["coverage"]: each for each in rules[rule]}
        if self.coverage not in fitted:
            raise TailproofError(
                f"there is no rule for the coverage {self.coverage:g}; fitted are "
                f"{', '.join(f'{each:g}' for each in fitted)}: choose one of these, or list it in "
                "evaluation.coverages"
            )
        self._groups = head_and_tail(np.isin(classes, settings["tail"]))
        own = fitted[self.coverage]
        shift, gain, multiplier = (
            np.array([value for value in own[name] if value is not None])
            for name in ("shift", "gain", "multiplier")
        )
        threshold = -np.inf if own["threshold"] is None else own["threshold"]
        self._fitted = Rule(self.coverage, shift, gain, multiplier, threshold)
        self._factor = np.select(self._groups, list(gain * np.exp(shift)))

    def __call__(self, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the class that the rule chooses [N], and whether it answers [N].

        Args:
            log_p: calibrated log-probabilities [N, C].
        """
        prediction = Prediction(log_p, log_p.argmax(axis=1))  # the score knows no label
        samples = Grouped.of(prediction, self._groups, np.ones(len(log_p)))
        score, _ = apply(self._fitted, samples)
        return (self._factor * prediction.p).argmax(axis=1), score >= self._fitted.threshold
