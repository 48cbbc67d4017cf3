"""Calls images unknown, by the score and the threshold that the stage guarantee fitted."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.guarantees.unknown_scores import (
    FEATURE_SCORES,
    KnownFeatures,
    logit_scores,
    mean_score,
)
from tailproof.predict.expert_folder import WEIGHTS
from tailproof.predict.known_features_file import FILE, read_bundled_features, read_known_features
from tailproof.predict.network import FEATURES
from tailproof.predict.posterior import Posterior
from tailproof.predict.promises import level_of, no_groups
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

Array = np.ndarray


class Part(NamedTuple):
    """An expert whose score counts.

    Attributes:
        weight: how much it counts.
        columns: the outputs of the target.
        known: what it keeps of the features of train; None if the score needs none.
    """

    weight: float
    columns: slice
    known: KnownFeatures | None


class UnknownRule:
    """Decides which images are of no known class, by the mean score of the experts.

    Attributes:
        words: what decides, in words.
        needs_features: whether it needs the features of an image.
    """

    def __init__(
        self,
        folder: Path,
        guarantees: ExpertGuarantees,
        rate: float,
        posterior: Posterior,
        dash: str = "",
        *,
        grouped: bool,
    ) -> None:
        """Select the threshold.

        Args:
            folder: the folder of the expert or the ensemble.
            guarantees: its guarantees.json.
            rate: the largest share of known images that are called unknown.
            posterior: what the outputs of each expert mean, and how much it counts.
            dash: what stands before the name of an option in messages.
            grouped: whether groups of images are called unknown.

        Raises:
            TailproofError: the folder was built without data.unknown or without groups, the rate
                was not fitted or cannot be promised, or what the score needs is missing or damaged.
        """
        stored = guarantees.unknown
        if stored is None:
            raise TailproofError(
                f"{folder} says nothing about unknown images: give a folder that was built with "
                "data.unknown (`unknown: {}` needs no unknown images)"
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
        self._score, self._threshold = stored.score, fit.threshold
        self.needs_features = stored.score in FEATURE_SCORES
        weights, known = posterior.counting, dict[str, KnownFeatures]()
        if self.needs_features and posterior.method:
            known = read_bundled_features(folder / WEIGHTS, list(weights))
        elif self.needs_features:
            ((name, _),) = weights.items()
            known = {name: read_known_features(folder / FILE, stored.features_sha256)}
        self._parts = {
            name: Part(weight, posterior.outputs[name].columns[posterior.target], known.get(name))
            for name, weight in weights.items()
        }
        self.words = f"{stored.score} at a false-alarm rate of at most {rate:g}"

    def scores(self, raw: Mapping[str, Array]) -> Array:
        """Return how well each image is known, rounded to single precision, float64 [N].

        Args:
            raw: raw logits [N, outputs] by the name of each expert, and features if it needs them.

        Raises:
            TailproofError: the features are not those that the rule was fitted on.
        """
        scores = [self._scores_of(name, part, raw) for name, part in self._parts.items()]
        weights = np.array([[part.weight] for part in self._parts.values()])
        return mean_score(scores, weights)

    def _scores_of(self, name: str, part: Part, raw: Mapping[str, Array]) -> Array:
        """Return the scores of an expert as they are stored, in single precision, [N]."""
        if part.known is None:
            return logit_scores(raw[name][:, part.columns])[self._score].astype(np.float32)
        features, width = raw[name + FEATURES], part.known.centre.size
        if features.shape[1] != width:
            raise TailproofError(
                f"the network of {name} has {features.shape[1]} features, but its stored features "
                f"have {width}: copy the whole folder again"
            )
        return part.known.scores(features)[self._score].astype(np.float32)

    def __call__(self, scores: Array) -> Array:
        """Return whether each image or group is called unknown, [N]; one at the threshold is not.

        Args:
            scores: its score, or the mean score of its images.
        """
        return scores < self._threshold
