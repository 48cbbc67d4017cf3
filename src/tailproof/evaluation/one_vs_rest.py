"""How well scores rank each class above all others."""

import numpy as np

from tailproof.core.operating_points import Curve
from tailproof.evaluation.metrics import Values, nanmean
from tailproof.evaluation.prediction import Prediction

AUROC = "auroc_one_vs_rest"
MOST_CLASSES = 20  # of more it is not measured: its cost grows with classes times resamples
_BLOCK = 2**23


def measure_auroc(prediction: Prediction, counts: np.ndarray) -> Values:
    """Return the mean over classes of one class's AUROC against the others, [B].

    Each class is ranked by its own probability and counts the same (Hand and Till 2001 call it the
    class reference formulation of Provost and Domingos, without weights). Classes that a resample
    lacks are left out there. Nothing is measured of two classes, where `auroc` says it, nor of
    more than 20.

    Args:
        prediction: of N samples and C classes.
        counts: integers [B, N], how often each resample holds each sample.
    """
    classes = prediction.log_p.shape[1]
    if not 2 < classes <= MOST_CLASSES:
        return {}
    step = max(1, _BLOCK // counts.shape[1])
    blocks = [counts[start : start + step] for start in range(0, len(counts), step)]
    by_class = [
        np.concatenate(
            [
                Curve.of(prediction.log_p[:, index], prediction.labels == index, block).auroc()
                for block in blocks
            ]
        )
        for index in range(classes)
    ]
    return {AUROC: nanmean(np.stack(by_class, axis=-1))}
