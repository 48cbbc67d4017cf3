"""Scores of how badly a class fits an image; a prediction set holds the classes of low score.

- ``thr``: 1 − p_y (Sadinle, Lei & Wasserman 2019; also called LAC).
- ``aps``: the summed probability of y and of all more probable classes (Romano, Sesia & Candès
  2020), without randomisation, so that an image always gets the same set.
- ``raps``: aps + 0.01 · max(0, rank of y − 5) (Angelopoulos et al. 2021, with the fixed values of
  Angelopoulos & Bates 2023).
- ``pas``: −p_y / share_y, the prevalence-adjusted softmax (Ding, Fermanian & Salmon 2026). The
  share is how frequent y is where the softmax is a posterior: see
  `evaluation.prior_shift.fit_prior_strength`.
"""

from typing import Literal, get_args

import numpy as np

Score = Literal["thr", "aps", "raps", "pas"]

SCORES: tuple[str, ...] = get_args(Score)
PENALTY, FREE_RANKS = 0.01, 5
DIGITS = 9
"""Digits of a summed probability that do not depend on the order of the sum."""

Array = np.ndarray


def score_classes(score: str, p: Array, shares: Array) -> Array:
    """Return the score of every class for every sample, [N, C]; lower fits better.

    Args:
        score: one of `SCORES`.
        p: probabilities [N, C].
        shares: positive class shares [C]; only pas uses them.
    """
    if score == "thr":
        return 1 - p
    if score == "pas":
        return -p / shares
    order = np.argsort(-p, axis=1, kind="stable")
    summed = np.cumsum(np.take_along_axis(p, order, 1), axis=1)
    if score == "raps":
        summed += PENALTY * np.maximum(0, np.arange(1, p.shape[1] + 1) - FREE_RANKS)
    scores = np.empty_like(summed)
    np.put_along_axis(scores, order, np.round(summed, DIGITS), 1)
    return scores


def score_labels(p: Array, labels: Array, shares: Array) -> dict[str, Array]:
    """Return every score of one class of each sample, {score: [N]}, without sorting the others.

    Args:
        p: probabilities [N, C].
        labels: the class of each sample, int [N].
        shares: positive class shares [C].
    """
    own = p[np.arange(len(p)), labels]
    before = p > own[:, None]
    before |= (p == own[:, None]) & (np.arange(p.shape[1]) <= labels[:, None])
    summed, place = (p * before).sum(axis=1), before.sum(axis=1)
    scores = {
        "thr": 1 - own,
        "aps": summed,
        "raps": summed + PENALTY * np.maximum(0, place - FREE_RANKS),
        "pas": -own / shares[labels],
    }
    summed_up = {name: np.round(scores[name], DIGITS) for name in ("aps", "raps")}
    return scores | summed_up
