"""Applies a rejection rule that the stage evaluate fitted on the split tune."""

import numpy as np

from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import Grouped, apply, head_and_tail
from tailproof.runtime.errors import TailproofError, unknown_name


class Rejector:
    """A rejection rule at one coverage, applied to images without labels.

    Attributes:
        name: name of the rule.
        coverage: the fraction of the split tune that it accepts.
    """

    def __init__(
        self, deployment: Deployment, classes: list[str], name: str, coverage: float | None = None
    ) -> None:
        """Select the rule.

        Args:
            deployment: deployment.json.
            classes: class names of the target, in the order of the outputs.
            name: name of the rule.
            coverage: a coverage that the rule was fitted for. Default: that of deployment.json.

        Raises:
            TailproofError: deployment.json has no such rule or coverage.
        """
        if name not in deployment.rules:
            raise unknown_name("rule", name, deployment.rules)
        self.name, self.coverage = name, deployment.coverage if coverage is None else coverage
        fitted = {rule.coverage: rule for rule in deployment.rules[name]}
        if self.coverage not in fitted:
            raise TailproofError(
                f"the rule '{name}' was not fitted for the coverage {self.coverage:g}, expected "
                f"one of {', '.join(f'{value:g}' for value in fitted)}: choose one of these, or "
                "add it to evaluation.coverages"
            )
        self._rule = fitted[self.coverage].rule()
        tail = set(deployment.tail)
        self._groups = head_and_tail(np.array([name in tail for name in classes]))
        self._factor = np.select(self._groups, list(self._rule.gain * np.exp(self._rule.shift)))

    @property
    def rule(self) -> str:
        """What decides, in words."""
        return f"{self.name} at coverage {self.coverage:g}"

    def __call__(self, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the class that the rule chooses [N], and whether it accepts [N].

        Args:
            log_p: calibrated log-probabilities [N, C].
        """
        prediction = Prediction(log_p, log_p.argmax(axis=1))  # the score does not use the label
        samples = Grouped.of(prediction, self._groups, np.ones(len(log_p)))
        score, _ = apply(self._rule, samples)
        return (self._factor * prediction.p).argmax(axis=1), score >= self._rule.threshold
