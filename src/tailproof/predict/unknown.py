"""Calls images unknown, by the score and the threshold that the stage guarantee fitted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.unknown_scores import FEATURE_SCORES, logit_scores
from tailproof.predict.known_features_file import FILE, read_known_features
from tailproof.predict.network import FEATURES
from tailproof.predict.promises import level_of, no_groups
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
        dash: str = "",
        *,
        grouped: bool,
    ) -> None:
        """Select the threshold.

        Args:
            folder: the folder of the expert.
            guarantees: its guarantees.json.
            rate: the largest share of known images that are called unknown.
            outputs: the outputs of the target, by the name of the expert.
            dash: what stands before the name of an option in messages.
            grouped: whether groups of images are called unknown.

        Raises:
            TailproofError: the expert was built without data.unknown or without groups, the rate
                was not fitted or cannot be promised, or what the score needs is missing or damaged.
        """
        stored = guarantees.unknown
        if stored is None:
            raise TailproofError(
                f"{folder} says nothing about unknown images: give the folder of one expert that "
                "was built with data.unknown (`unknown: {}` needs no unknown images)"
            )
        rates = stored.groups if grouped else stored.false_alarms
        if rates is None:
            raise TailproofError(no_groups([f"{dash}unknown"]))
        fitted = {fit.rate: fit for fit in rates}
        fit = level_of(fitted, rate, "false-alarm rate", "false_alarms")
        if fit.threshold is None:
            samples = quantity(fit.samples, "group" if grouped else "image")
            raise TailproofError(
                f"a false-alarm rate of at most {rate:g} cannot be promised with a confidence of "
                f"{guarantees.confidence:g}: tune has {samples}, and it "
                f"takes at least {fit.needed:,}: raise data.splits.tune, or ask for a higher rate"
            )
        self._score, self._threshold, self._outputs = stored.score, fit.threshold, outputs
        self.needs_features = stored.score in FEATURE_SCORES
        self._known = None
        if self.needs_features:
            self._known = read_known_features(folder / FILE, stored.features_sha256)
        self.words = f"{stored.score} at a false-alarm rate of at most {rate:g}"

    def scores(self, raw: Mapping[str, Array]) -> Array:
        """Return how well the expert knows each image, in single precision as stored scores, [N].

        Args:
            raw: raw logits [N, outputs] by the name of the expert, and features if it needs them.

        Raises:
            TailproofError: the features are not those that the rule was fitted on.
        """
        ((name, columns),) = self._outputs.items()
        if self._known is None:
            return logit_scores(raw[name][:, columns])[self._score].astype(np.float32)
        features, width = raw[FEATURES], self._known.centre.size
        if features.shape[1] != width:
            raise TailproofError(
                f"the expert's network has {features.shape[1]} features, but its {FILE} is for "
                f"{width}: copy its whole folder again"
            )
        return self._known.scores(features)[self._score].astype(np.float32)

    def __call__(self, scores: Array) -> Array:
        """Return whether each image or group is called unknown, [N]; one at the threshold is not.

        Args:
            scores: its score, or the mean score of its images.
        """
        return scores < self._threshold
