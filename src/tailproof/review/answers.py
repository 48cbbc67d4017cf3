"""What the experts of an experiment answer for images, and how far they agree."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from tailproof.calibration.metrics import log_probabilities
from tailproof.config.experiment import Experiment
from tailproof.data.logits import Logits
from tailproof.evaluation.deployment import Deployment
from tailproof.predict.rejector import Rejector
from tailproof.runtime.errors import TailproofError

RULE = "chow"


class Vote(NamedTuple):
    """The predictions of one model for N images.

    Attributes:
        p: calibrated probabilities [N, C].
        accepted: whether its rejection rule accepts each, [N].
    """

    p: np.ndarray
    accepted: np.ndarray


@dataclass(frozen=True)
class Answers:
    """The answers of several voters for N images.

    Attributes:
        p: the mean of the voters' probabilities, [N, C].
        rejected: the share of voters that reject their answer, [N].
        divergence: how far the voters' probabilities differ, from 0 to 1, [N].
        classes: the class that each voter answers, [N] by its name.
        confidence: the probability of that class, [N] by its name.
    """

    p: np.ndarray
    rejected: np.ndarray
    divergence: np.ndarray
    classes: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]

    @property
    def disagree(self) -> np.ndarray:
        """Whether two voters answer different classes, [N]."""
        answers = np.stack(list(self.classes.values()))
        return (answers != answers[0]).any(axis=0)


def collect_answers(voters: Iterable[tuple[str, Iterable[Vote]]]) -> Answers:
    """Return the answers of voters; those of one voter are read before those of the next.

    The divergence is the Jensen-Shannon divergence of the voters (Lin 1991), H(mean p) - mean H(p),
    divided by its largest value. Among networks that learnt the same, it is what a label of the
    image would say about them (Houlsby et al. 2011, "Bayesian active learning by disagreement").

    Args:
        voters: a name and the votes of its models, whose mean is the voter's.
    """
    means, entropies, rejected = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    classes: dict[str, np.ndarray] = {}
    confidence: dict[str, np.ndarray] = {}
    for name, models in voters:
        votes = list(models)
        p = _mean([vote.p for vote in votes])
        means.append(p)
        entropies.append(entr(p).sum(axis=1))
        rejected.append(_mean([(~vote.accepted).astype(int) for vote in votes]))
        classes[name], confidence[name] = p.argmax(axis=1), p.max(axis=1)
    mean = _mean(means)
    divergence = (entr(mean).sum(axis=1) - _mean(entropies)) / np.log(max(len(classes), 2))
    return Answers(mean, _mean(rejected), np.clip(divergence, 0, 1), classes, confidence)


def _mean(arrays: list[np.ndarray]) -> np.ndarray:
    return sum(arrays[1:], start=arrays[0]) / len(arrays)


def voters_of(experiment: Experiment) -> dict[str, list[tuple[str, int]]]:
    """Return the models of each voter: the experts, or the seeds of a single one.

    A student is no voter: it answers what its teachers answer, which would then count twice.
    """
    experts, seeds = experiment.combined, experiment.seeds
    if len(experts) == 1:
        return {f"seed {seed}": [(experts[0], seed)] for seed in seeds}
    return {name: [(name, seed) for seed in seeds] for name in experts}


def stored_votes(
    folder: Path,
    models: Iterable[tuple[str, int]],
    split: str,
    ids: np.ndarray,
    classes: list[str],
) -> Iterator[Vote]:
    """Yield the stored predictions of models for the samples of a split.

    Args:
        folder: results/NAME.
        models: expert and seed of each.
        split: the split.
        ids: its samples.
        classes: the classes that they tell apart.

    Raises:
        TailproofError: a file is missing or damaged, or has other samples.
    """
    for expert, seed in models:
        place = folder / "experts" / expert / f"seed-{seed}"
        path = place / "logits" / f"{split}.parquet"
        logits = Logits.read(path)
        if not np.array_equal(logits.sample_ids, ids):
            raise TailproofError(
                f"{path} does not have the samples of the other experts' logits: run snakemake "
                "again with --forcerun infer"
            )
        log_p = log_probabilities(logits.values)
        rejector = Rejector(Deployment.read(place / "deployment.json"), classes, RULE)
        yield Vote(np.exp(log_p), rejector(log_p)[1])
