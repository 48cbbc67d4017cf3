"""Operating points of a binary score at very low false-positive rates: their names and rates.

`tailproof.score_curve` computes them. This module imports no numpy: the configuration needs the
names only.
"""

from fractions import Fraction

ONE_IN = {f"tpr_at_fpr_1e-{digits}": 10**digits for digits in (2, 3, 4, 5)}
"""The inverse of each metric's false-positive rate: the minimum number of negatives."""

NO_FALSE_POSITIVE = "tpr_at_fpr_0"
SHARES = {f"fpr_at_tpr_{share}": Fraction(share) for share in ("0.5", "0.7", "0.85")}
"""The true-positive rate of each metric."""

POINTS = (*ONE_IN, NO_FALSE_POSITIVE, *SHARES)


def enough_negatives(name: str, negatives: int) -> bool:
    """Return whether there are enough negatives to resolve a metric's false-positive rate."""
    return negatives >= ONE_IN.get(name, 1)
