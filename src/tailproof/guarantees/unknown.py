"""When a method says "unknown": the score, its threshold, and what both reach on test.

The score is chosen on tune and unknown_tune, and the threshold is fitted on tune alone. Both are
measured on test and unknown_test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtr

from tailproof.calibration.metrics import weighted_mean
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.splits import UNKNOWN_SPLITS
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.evaluation import bootstrap
from tailproof.evaluation.task import FITTED_ON, Experts
from tailproof.evaluation.weighted_samples import ratio
from tailproof.guarantees.binomial_threshold import Fit, needed_answers
from tailproof.guarantees.ensemble_predictions import Combined
from tailproof.guarantees.rules import Classes
from tailproof.guarantees.unknown_scores import DEFAULT, REFERENCE, SCORES, mean_score
from tailproof.runtime.errors import TailproofError
from tailproof.score_curve import ScoreCurve

MEASURED_ON = "test"
UNKNOWN_TUNE, UNKNOWN_TEST = UNKNOWN_SPLITS
ALL = "all"
SHARE_OF_UNKNOWN = 0.5
"""Share of unknown images for which the open-set risk is given."""

_BLOCK = 2**22

Array = np.ndarray


@dataclass(frozen=True)
class SplitScores:
    """The scores of N images of one split.

    Attributes:
        labels: class indices, int [N]; -1 for an unknown image.
        predicted: the class that is answered for a known image, int [N].
        scores: {name: float64 [N]}; higher is more known.
        sample_ids: their ids, [N].
    """

    labels: Array
    predicted: Array
    scores: Mapping[str, Array]
    sample_ids: Array

    def __len__(self) -> int:
        return len(self.labels)


Scored = dict[str, SplitScores]
"""The scores of one method and seed, by split; splits of unknown images may be absent."""


def fit_false_alarms(scores: Array, rate: float, confidence: float) -> Fit:
    """Return the largest threshold below which a known image is at most so often.

    An image is called unknown if its score is below the threshold. With the k-th smallest of N
    scores as threshold, the false-alarm rate of other images is beta distributed with parameters k
    and N − k + 1, or smaller where scores tie. k is the largest for which it is at most `rate` with
    the probability `confidence` (the tolerance limits of Wilks 1941).

    Args:
        scores: scores of N known images that nothing was fitted on.
        rate: the largest share of known images that are called unknown.
        confidence: the probability with which this holds, over draws of the images.
    """
    samples = len(scores)
    k = int((bdtr(np.arange(samples), samples, rate) <= 1 - confidence).sum())
    threshold = float(np.sort(scores)[k - 1]) if k else None
    return Fit(threshold, needed_answers(rate, 1 - confidence), samples)


def read_scores(path: str | Path, expert: str, seed: str, logits: Mapping[str, Any]) -> Scored:
    """Read unknown_scores.parquet.

    Args:
        path: the file.
        expert: name of the expert.
        seed: its seed.
        logits: its logits by split, whose samples the scores must have.

    Raises:
        TailproofError: the file is damaged, or is of another expert, seed, network or other
            samples.
    """
    facts, table = table_metadata(path), read_parquet(path)
    weights = logits[FITTED_ON].metadata["weights_sha256"]
    expected = {"expert": expert, "seed": int(seed), "weights_sha256": weights}
    for key, value in expected.items():
        if facts.get(key) != value:
            raise TailproofError(
                f"{path} has the {key} '{facts.get(key)}', expected '{value}': run snakemake "
                "again with --forcerun score_unknown"
            )
    columns = {
        name: table[name].to_numpy() for name in ("sample_id", "split", "label", "predicted")
    }
    values = {name: table[name].to_numpy() for name in SCORES}
    scored = {}
    for split in dict.fromkeys(columns["split"].tolist()):
        here = columns["split"] == split
        own = {name: column[here] for name, column in columns.items()}
        if split in logits and own["sample_id"].tolist() != logits[split].sample_ids.tolist():
            raise TailproofError(
                f"{path} and the logits have different samples of {split}: run snakemake again "
                "with --forcerun score_unknown"
            )
        scores = {name: column[here].astype(np.float64) for name, column in values.items()}
        scored[split] = SplitScores(own["label"], own["predicted"], scores, own["sample_id"])
    return scored


class Ranking(NamedTuple):
    """How well a score ranks known images above unknown ones; [1 + B] values.

    Attributes:
        auroc: probability that a known image has a higher score than an unknown one.
        fpr_at_tpr_95: share of unknown images above the threshold above which 95 % of the known
            ones are (Liang et al. 2018).
    """

    auroc: Array
    fpr_at_tpr_95: Array


def rank(known: Array, unknown: Array, known_counts: Array, unknown_counts: Array) -> Ranking:
    """Return how well a score ranks.

    Args:
        known: scores of N known images.
        unknown: scores of M unknown images.
        known_counts: integers [1 + B, N], how often each resample holds each image.
        unknown_counts: [1 + B, M].
    """
    scores = np.concatenate([known, unknown])
    is_known = np.arange(len(scores)) < len(known)
    counts = np.hstack([known_counts, unknown_counts])
    step, parts = max(1, _BLOCK // max(1, len(scores))), []
    for start in range(0, len(counts), step):
        curve = ScoreCurve.of(scores, is_known, counts[start : start + step])
        enough = curve.true_positives * 20 >= 19 * curve.positives[:, None]
        at = np.take_along_axis(curve.false_positives, enough.argmax(axis=1)[:, None], axis=1)[:, 0]
        both = (curve.positives > 0) & (curve.negatives > 0)
        share = np.where(both, at / np.maximum(curve.negatives, 1), np.nan)
        parts.append((curve.auroc(), share))
    return Ranking(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def measure_answers(
    known: SplitScores,
    accepted: Array,
    unknown_accepted: Array,
    counts: tuple[Array, Array],
    groups: Mapping[str, Array],
) -> dict[str, Array]:
    """Return what a threshold reaches, as [1 + B] values; NaN where it is undefined.

    ``open_set_risk`` is the share of wrong answers among the images that are not called unknown,
    where every answer for an unknown image is wrong, if a share u = `SHARE_OF_UNKNOWN` of all
    images is unknown: ((1 − u)·e + u·m) / ((1 − u)·a + u·m). a and e are the shares of known
    images that are answered, and answered wrongly; m that of unknown ones that are answered.
    This is the selective risk of El-Yaniv & Wiener (2010) in which new classes count as failures
    (Jaeger et al. 2023).

    Args:
        known: N known images.
        accepted: whether each is answered, boolean [N].
        unknown_accepted: whether each of M unknown images is answered.
        counts: integers [1 + B, N] and [1 + B, M].
        groups: {group: boolean mask of the classes}; false alarms are also counted in each.
    """
    weights, others = (rows.astype(float) for rows in counts)
    wrong = accepted & (known.predicted != known.labels)
    answered, mistaken = weighted_mean(accepted, weights), weighted_mean(wrong, weights)
    missed = weighted_mean(unknown_accepted, others)
    known_part, unknown_part = 1 - SHARE_OF_UNKNOWN, SHARE_OF_UNKNOWN * missed
    values = {
        "false_alarm": 1 - answered,
        "missed": missed,
        "error": ratio(mistaken, answered),
        "open_set_risk": ratio(
            known_part * mistaken + unknown_part, known_part * answered + unknown_part
        ),
    }
    for group, mask in groups.items():
        here = mask[known.labels]
        values[f"false_alarm_{group}"] = weighted_mean(~accepted[here], weights[:, here])
    return values


class UnknownRules(NamedTuple):
    """What is fitted for one expert or ensemble.

    Attributes:
        summary: its part of guarantees.json.
        score: the score that decides.
        fits: {false-alarm rate: {seed: the fit of its threshold}}.
    """

    summary: dict[str, Any]
    score: str
    fits: dict[float, dict[str, Fit]]


def fit_and_measure_unknown(
    seeds: Mapping[str, Scored], classes: Classes, config: Guarantees, evaluation: Evaluation
) -> UnknownRules:
    """Choose a score, fit its thresholds on tune, and measure both on test.

    Args:
        seeds: the scores of each seed.
        classes: the classes.
        config: the promises.
        evaluation: says how often images are drawn again.
    """
    scored = list(seeds.values())
    counts = count_resamples(scored[0], evaluation)
    chosen, choice = choose_score(scored, counts)
    fits = {
        score: fit_thresholds(seeds, score, config) for score in dict.fromkeys([chosen, REFERENCE])
    }
    summary = {
        "rows": {split: len(own) for split, own in scored[0].items()},
        "score": chosen,
        "choice": choice,
        "scores": _rankings(scored, classes, counts),
        "answers": [
            row
            for score, of_score in fits.items()
            for row in measure_thresholds(scored, score, of_score, classes, counts)
        ],
        "always": {MEASURED_ON: _answers(scored, chosen, None, classes, counts)},
    }
    return UnknownRules(summary, chosen, fits[chosen])


def fit_thresholds(
    seeds: Mapping[str, Scored], score: str, config: Guarantees
) -> dict[float, dict[str, Fit]]:
    """Return {false-alarm rate: {seed: the fit of its threshold on tune}}."""
    return {
        rate: {
            seed: fit_false_alarms(own[FITTED_ON].scores[score], rate, config.confidence)
            for seed, own in seeds.items()
        }
        for rate in config.false_alarms
    }


def measure_thresholds(
    scored: Sequence[Scored],
    score: str,
    fits: Mapping[float, Mapping[str, Fit]],
    classes: Classes,
    counts: Mapping[str, Array],
) -> list[dict[str, Any]]:
    """Return what guarantees.json says of each false-alarm rate.

    Args:
        scored: the scores of each seed.
        score: the score that decides.
        fits: the thresholds, from `fit_thresholds`.
        classes: the classes.
        counts: integers [1 + B, N] by split, how often each resample holds each image.
    """
    return [
        {
            "score": score,
            "false_alarm": rate,
            "fits": {seed: fit._asdict() for seed, fit in own.items()},
            MEASURED_ON: _answers(scored, score, list(own.values()), classes, counts),
        }
        for rate, own in fits.items()
    ]


def count_resamples(scored: Scored, evaluation: Evaluation) -> dict[str, Array]:
    """Return integers [1 + B, N] by split, how often each resample holds each image."""
    return {
        split: bootstrap.resamples(len(own), evaluation.bootstrap, evaluation.seed, split)
        for split, own in scored.items()
    }


def choose_score(
    scored: Sequence[Scored], counts: Mapping[str, Array]
) -> tuple[str, dict[str, Any]]:
    """Return the score of the best AUROC on tune, if it is better than `DEFAULT` beyond noise.

    Args:
        scored: the scores of each seed.
        counts: integers [1 + B, N] by split, how often each resample holds each image.

    Returns:
        The score, and {score: its AUROC, and what it gains over `DEFAULT`}, empty without unknown
        images.
    """
    if UNKNOWN_TUNE not in counts:
        return DEFAULT, {}
    splits = FITTED_ON, UNKNOWN_TUNE
    values = {
        score: [own.auroc for own in _rank_all(scored, score, splits, counts)] for score in SCORES
    }
    choice = {
        score: {
            "auroc": bootstrap.over_seeds(own),
            "gain": bootstrap.difference(own, values[DEFAULT]),
        }
        for score, own in values.items()
    }
    better = [score for score, own in choice.items() if (own["gain"]["low"] or 0) > 0]
    return max(better or [DEFAULT], key=lambda score: choice[score]["auroc"]["mean"] or 0), choice


def _rank_all(
    scored: Sequence[Scored],
    score: str,
    splits: tuple[str, str],
    counts: Mapping[str, Array],
    mask: Array | None = None,
) -> list[Ranking]:
    """Return the ranking of each seed; `mask` leaves only the known images of some classes."""
    known, unknown = splits
    labels = scored[0][known].labels
    here = np.ones(len(labels), bool) if mask is None else mask[labels]
    return [
        rank(
            own[known].scores[score][here],
            own[unknown].scores[score],
            counts[known][:, here],
            counts[unknown],
        )
        for own in scored
    ]


def _rankings(
    scored: Sequence[Scored], classes: Classes, counts: Mapping[str, Array]
) -> dict[str, dict[str, Any]]:
    """Return {score: {group: {metric: mean over seeds}}}; empty without unknown images."""
    if UNKNOWN_TEST not in counts:
        return {}
    groups, splits = {ALL: None, **classes.groups}, (MEASURED_ON, UNKNOWN_TEST)
    return {
        score: {
            group: _over_seeds(
                [own._asdict() for own in _rank_all(scored, score, splits, counts, mask)]
            )
            for group, mask in groups.items()
        }
        for score in SCORES
    }


def _answers(
    scored: Sequence[Scored],
    score: str,
    fits: Sequence[Fit] | None,
    classes: Classes,
    counts: Mapping[str, Array],
) -> dict[str, Any]:
    """Return what the threshold of each seed reaches; without `fits`, every image is answered.

    A seed that promises nothing is left out.
    """
    limits = [-np.inf] * len(scored) if fits is None else [fit.threshold for fit in fits]
    known_counts = counts[MEASURED_ON]
    unknown_counts = counts.get(UNKNOWN_TEST, np.ones((len(known_counts), 0), np.uint16))
    measured = []
    for own, limit in zip(scored, limits, strict=True):
        known, unknown = own[MEASURED_ON], own.get(UNKNOWN_TEST)
        unknown_scores = np.empty(0) if unknown is None else unknown.scores[score]
        lowest = np.inf if limit is None else limit
        values = measure_answers(
            known,
            known.scores[score] >= lowest,
            unknown_scores >= lowest,
            (known_counts, unknown_counts),
            classes.groups,
        )
        nothing = np.full(len(known_counts), np.nan)
        measured.append(dict.fromkeys(values, nothing) if limit is None else values)
    return _over_seeds(measured)


def _over_seeds(measured: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    """Return the mean of each metric over the seeds for which it is defined, with its interval."""
    means = {}
    for metric in measured[0]:
        rows = [own[metric] for own in measured]
        defined = [values for values in rows if not np.isnan(values[0])]
        means[metric] = bootstrap.over_seeds(defined or [np.array([np.nan])])
    return means


def read_all_scores(
    files: Mapping[str, Mapping[Any, str | Path]], logits: Experts
) -> dict[str, dict[str, Scored]]:
    """Read the scores of every expert and seed, {expert: {seed: scores}}."""
    return {
        expert: {
            str(seed): read_scores(path, expert, str(seed), logits[expert][str(seed)])
            for seed, path in seeds.items()
        }
        for expert, seeds in files.items()
    }


def combine_scores(experts: Mapping[str, Scored], combined: Combined) -> Scored:
    """Return the scores of an ensemble: the weighted mean of those of its experts.

    Args:
        experts: the scores of each expert, in the order of the weights.
        combined: the ensemble, whose predictions the known images get.

    Raises:
        TailproofError: the experts have the scores of different images.
    """
    scored, (first, *_) = {}, experts
    for split, own in experts[first].items():
        for name, other in experts.items():
            if not np.array_equal(other[split].sample_ids, own.sample_ids):
                raise TailproofError(
                    f"the scores of {name} and of {first} are of different images of {split}: run "
                    "snakemake again with --forcerun score_unknown"
                )
        weights = combined.weights_on(split)
        means = {
            score: mean_score([one[split].scores[score] for one in experts.values()], weights)
            for score in own.scores
        }
        prediction = combined.predictions.get(split)  # none for unknown images
        predicted = own.labels if prediction is None else prediction.predicted
        scored[split] = SplitScores(own.labels, predicted, means, own.sample_ids)
    return scored


def features_of(files: Mapping[Any, str | Path], seed: str) -> str:
    """Return the digest of what an expert keeps of the features of train.

    Args:
        files: its unknown_scores.parquet by seed.
        seed: the seed.
    """
    path = next(path for own, path in files.items() if str(own) == seed)
    return table_metadata(path)["features_sha256"]
