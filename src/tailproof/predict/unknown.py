"""Calls images unknown, by the score and the threshold that the stage guarantee fitted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.unknown_scores import FEATURE_SCORES, logit_scores
from tailproof.predict.known_features_file import FILE, read_known_features
from tailproof.predict.network import FEATURES
from tailproof.predict.promises import level_of
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

Array = np.ndarray


class UnknownRule:
    """Decides which images are of no known class.

    Attributes:
        words: what decides, in words.
        needs_features: whether it needs the features of an image.
    """

    def __init__(
        self,
        folder: Path,
        guarantees: ExpertGuarantees,
        rate: float,
        outputs: Mapping[str, slice],
    ) -> None:
        """Select the threshold.

        Args:
            folder: the folder of the expert.
            guarantees: its guarantees.json.
            rate: the largest share of known images that are called unknown.
            outputs: the outputs of the target, by the name of the expert.

        Raises:
            TailproofError: the expert was built without data.unknown, the rate was not fitted or
                cannot be promised, or what the score needs is missing or damaged.
        """
        stored = guarantees.unknown
        if stored is None:
            raise TailproofError(
                f"{folder} says nothing of unknown images: give the folder of one expert that was "
                "built with data.unknown (`unknown: {}` needs no pictures)"
            )
        fitted = {fit.rate: fit for fit in stored.false_alarms}
        fit = level_of(fitted, rate, "false-alarm rate", "false_alarms")
        if fit.threshold is None:
            raise TailproofError(
                f"a false-alarm rate of at most {rate:g} cannot be promised with a confidence of "
                f"{guarantees.confidence:g}: tune has {quantity(fit.samples, 'image')}, and it "
                f"takes at least {fit.needed:,}: raise data.splits.tune, or ask for less"
            )
        self._score, self._threshold, self._outputs = stored.score, fit.threshold, outputs
        self.needs_features = stored.score in FEATURE_SCORES
        self._known = None
        if self.needs_features:
            self._known = read_known_features(folder / FILE, stored.features_sha256)
        self.words = f"{stored.score} at a false-alarm rate of at most {rate:g}"

    def __call__(self, raw: Mapping[str, Array]) -> Array:
        """Return whether each image is called unknown, [N].

        Args:
            raw: raw logits [N, outputs] by the name of the expert, and features if it needs them.

        Raises:
            TailproofError: the features are not those that the rule was fitted on.
        """
        ((name, columns),) = self._outputs.items()
        if self._known is None:
            # In single precision, as the stored scores are: a tie with the threshold is known.
            scores = logit_scores(raw[name][:, columns])[self._score]
            return scores.astype(np.float32) < self._threshold
        features, width = raw[FEATURES], self._known.centre.size
        if features.shape[1] != width:
            raise TailproofError(
                f"the expert's network has {features.shape[1]} features, but its {FILE} is for "
                f"{width}: copy its whole folder again"
            )
        return self._known.scores(features)[self._score].astype(np.float32) < self._threshold
