"""From raw logits to calibrated probabilities; it needs neither images nor a network."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.metrics import log_probabilities
from tailproof.config.evaluation import STACKED
from tailproof.data.taxonomy import head_columns
from tailproof.evaluation.ensembles import combine
from tailproof.runtime.errors import TailproofError

Array = np.ndarray


@dataclass(frozen=True)
class Outputs:
    """What the outputs of an expert's network mean.

    Attributes:
        classes: class names of each rank with a head, in the order of the outputs.
        calibrators: calibrator of each rank.
    """

    classes: dict[str, list[str]]
    calibrators: dict[str, Calibrator]

    @property
    def columns(self) -> dict[str, slice]:
        """The outputs of each rank."""
        return head_columns({rank: len(names) for rank, names in self.classes.items()})

    def calibrated(self, logits: Array) -> dict[str, Array]:
        """Return calibrated logits float64 [N, C] of each rank.

        Args:
            logits: raw logits [N, outputs].
        """
        return {
            rank: self.calibrators[rank].apply(logits[:, part])
            for rank, part in self.columns.items()
        }


@dataclass(frozen=True)
class Posterior:
    """The calibrated probabilities of an expert, or of an ensemble, which has those of the target.

    Attributes:
        target: the taxonomic rank that decisions refer to.
        outputs: what the outputs of each expert mean, by its name.
        method: how several experts are combined: see `tailproof.evaluation.ensembles.combine`;
            empty for a single one.
        weights: the weight of each expert.
        shift: what is known of the images beforehand, added to the target's log-probabilities, [C]
            or [N, C]; None for nothing.
    """

    target: str
    outputs: Mapping[str, Outputs]
    method: str = ""
    weights: tuple[float, ...] = ()
    shift: Array | None = None

    @property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each rank that is answered, the target's first."""
        classes = next(iter(self.outputs.values())).classes
        others = {} if self.method else classes
        return {self.target: classes[self.target], **others}

    @property
    def counting(self) -> dict[str, float]:
        """How much each expert that has a say counts, by its name: only stacked has weights."""
        if self.method != STACKED:
            return dict.fromkeys(self.outputs, 1.0)
        pairs = zip(self.outputs, self.weights, strict=True)
        return {name: weight for name, weight in pairs if weight}

    def __call__(self, raw: Mapping[str, Array]) -> dict[str, Array]:
        """Return log-probabilities float64 [N, C] of each rank, the target's first.

        Args:
            raw: raw logits [N, outputs] of each expert.

        Raises:
            TailproofError: a probability is not finite.
        """
        by_rank = self.unshifted(raw)
        by_rank[self.target] = self.shifted(by_rank[self.target])
        if not all(np.isfinite(values).all() for values in by_rank.values()):
            raise TailproofError(
                "the expert computes probabilities that are not finite: copy its folder again"
            )
        return by_rank

    def unshifted(self, raw: Mapping[str, Array]) -> dict[str, Array]:
        """Return log-probabilities as if nothing was known of the images."""
        if self.method:
            return {self.target: self._combined(raw)}
        ((name, logits),) = raw.items()
        calibrated = self.outputs[name].calibrated(logits)
        by_rank = {rank: log_probabilities(values) for rank, values in calibrated.items()}
        return {self.target: by_rank.pop(self.target), **by_rank}

    def shifted(self, log_p: Array) -> Array:
        """Return the target's log-probabilities [N, C] with what is known of the images."""
        return log_p if self.shift is None else log_probabilities(log_p + self.shift)

    def _combined(self, raw: Mapping[str, Array]) -> Array:
        """Combine the calibrated logits as the evaluation does, which reads them from files."""
        calibrated = [
            outputs.calibrated(raw[name])[self.target].astype(np.float32)
            for name, outputs in self.outputs.items()
        ]
        return combine(self.method, np.stack(calibrated), np.array(self.weights))
