"""The lowest threshold of a certainty at which a share of wrong answers can be promised.

Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei 2025) with exact binomial tests. Samples
are ordered from the most to the least certain. For up to 50 numbers of answers, which depend on the
number of samples alone, the hypothesis "more than the promised share is wrong above this threshold"
is tested: given the threshold, the number of wrong answers above it is binomial. 1 − confidence is
spent by the fallback procedure (Wiens 2003): half of it on the first test, half on the middle one,
and a test that passes hands what it had to the next one. The threshold of the last test that passes
is the result.

Where certainties tie, fewer samples are above the threshold than were to be tested. A test that
could then not pass, whatever is wrong, is passed over and hands on what it had. The certainties
alone decide which ones these are, all of them before the first real test.

Each test is exact. Because one test hands its part to the next, all of them together are exact if
less certain answers are wrong at least as often as more certain ones.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

TESTS, STARTS = 50, 2
ALWAYS = -1.0
"""The threshold that answers everything, below every probability."""

Array = np.ndarray


class Fit(NamedTuple):
    """The result of a fit.

    Attributes:
        threshold: answer if the certainty is above it; None if nothing can be promised.
        needed: answers without an error that a single test takes.
        samples: samples that were fitted on.
    """

    threshold: float | None
    needed: int
    samples: int


def fit_threshold(certainty: Array, wrong: Array, risk: float, confidence: float) -> Fit:
    """Fit the threshold.

    Args:
        certainty: N probabilities of the answers.
        wrong: whether each answer is wrong, boolean [N].
        risk: the largest share of wrong answers to promise.
        confidence: the probability with which the promise holds, over draws of the samples.
    """
    order = np.argsort(-certainty, kind="stable")
    certainty, errors = certainty[order], np.append(0, np.cumsum(wrong[order]))
    samples, level, fitted = len(certainty), 0.0, None
    levels = levels_of_tests(samples, risk, 1 - confidence)
    thresholds = np.append(certainty, ALWAYS)[np.fromiter(levels, int)]
    above = np.searchsorted(-certainty, -thresholds)  # fewer than counted where certainties tie
    chances = bdtr(errors[above], above, risk)
    tests = zip(levels.values(), thresholds.tolist(), above.tolist(), chances, strict=True)
    for added, threshold, answers, chance in tests:
        level += added
        if level and answers < needed_answers(risk, level):
            continue
        if level and chance <= level:
            fitted = threshold
        else:
            level = 0.0
    return Fit(fitted, needed_answers(risk, 1 - confidence), samples)


@lru_cache(maxsize=1024)
def levels_of_tests(samples: int, risk: float, level: float) -> dict[int, float]:
    """Return the numbers of answers to test, ascending, and the level that each test starts with.

    There is one start instead of two if the samples are few, and no test if even no error would
    not do.
    """
    for starts in range(STARTS, 0, -1):
        fewest = needed_answers(risk, level / starts)
        if fewest <= samples:
            counts = sorted({round(count) for count in np.linspace(fewest, samples, TESTS)})
            first = {counts[len(counts) * start // starts] for start in range(starts)}
            return {count: level / len(first) if count in first else 0.0 for count in counts}
    return {}


def needed_answers(risk: float, level: float) -> int:
    """Return how many answers without an error reject a larger risk at a level."""
    return math.ceil(math.log(level) / math.log1p(-risk))
