"""When an expert answers: one of the rules that evaluate fitted on the split tune."""

import numpy as np

from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.rejection import Grouped, apply, head_and_tail
from tailproof.runtime.errors import TailproofError, unknown_name


class Rejector:
    """A rule at one coverage, applied to images without labels.

    Attributes:
        name: of the rule.
        coverage: the share of `tune` that it accepts.
    """

    def __init__(
        self, deployment: Deployment, classes: list[str], name: str, coverage: float | None = None
    ) -> None:
        """Choose the rule.

        Args:
            deployment: deployment.json.
            classes: names of the target's classes, in the order of the outputs.
            name: of the rule.
            coverage: the one it was fitted for; by default that of deployment.json.

        Raises:
            TailproofError: the folder has no such rule or coverage.
        """
        if name not in deployment.rules:
            raise unknown_name("rule", name, deployment.rules)
        self.name, self.coverage = name, deployment.coverage if coverage is None else coverage
        fitted = {each.coverage: each for each in deployment.rules[name]}
        if self.coverage not in fitted:
            raise TailproofError(
                f"there is no rule for the coverage {self.coverage:g}; fitted are "
                f"{', '.join(f'{each:g}' for each in fitted)}: choose one of these, or list it in "
                "evaluation.coverages"
            )
        self._rule = fitted[self.coverage].rule()
        self._groups = head_and_tail(np.isin(classes, deployment.tail))
        self._factor = np.select(self._groups, list(self._rule.gain * np.exp(self._rule.shift)))

    def __call__(self, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the class that the rule chooses [N], and whether it accepts [N].

        Args:
            log_p: calibrated log-probabilities [N, C].
        """
        prediction = Prediction(log_p, log_p.argmax(axis=1))  # the score knows no label
        samples = Grouped.of(prediction, self._groups, np.ones(len(log_p)))
        score, _ = apply(self._rule, samples)
        return (self._factor * prediction.p).argmax(axis=1), score >= self._rule.threshold
