"""What an ensemble predicts, and how much each of its experts counts.

The weights of stacked are fitted on tune. What tune would promise of them is too good, so each
fifth of it, spread over the classes, is predicted with weights that were fitted on the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tailproof.config.evaluation import STACKED
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.ensembles import combine
from tailproof.evaluation.predictions import fit_stacked, predict_ensemble, read_experts_together
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed
from tailproof.evaluation.task import FITTED_ON
from tailproof.guarantees.held_out_predictions import fold_of

Array = np.ndarray


class Combined(NamedTuple):
    """An ensemble of E experts of one seed.

    Attributes:
        predictions: its predictions by split.
        weights: how much each expert counts, [E].
        tune_weights: the same for each of the N samples of tune, fitted on others of them, [E, N].
    """

    predictions: dict[str, Prediction]
    weights: Array
    tune_weights: Array

    def weights_on(self, split: str) -> Array:
        """Return how much each expert counts on a split, [E, 1] or [E, N]."""
        return self.tune_weights if split == FITTED_ON else self.weights[:, None]


class FoldWeights(NamedTuple):
    """Weights that were fitted without a part of tune.

    Attributes:
        number: the part of each of N samples, int [N].
        weights: fitted on the samples of all other parts, [P, E].
    """

    number: Array
    weights: Array

    @classmethod
    def fit(cls, labels: Array, fit: Callable[[Array], Array]) -> "FoldWeights":
        """Fit the weights of each part; a single sample is predicted with its own.

        Args:
            labels: N class indices.
            fit: fits weights [E] on rows of tune.
        """
        folds, number = np.unique(fold_of(labels), return_inverse=True)
        parts = [number == part for part in range(len(folds))]
        rest = [~part if len(folds) > 1 else part for part in parts]
        return cls(number, np.stack([fit(np.flatnonzero(rows)) for rows in rest]))

    def predict(self, labels: Array, classes: int, read: Callable[[], Blocks]) -> Prediction:
        """Return the prediction of stacked for samples that its weights were not fitted on.

        Args:
            labels: N class indices.
            classes: number of classes.
            read: yields row ranges and their logits [E, n, C].
        """

        def blocks() -> Blocks:
            for rows, logits in read():
                log_p = np.empty(logits.shape[1:])
                for part, own in enumerate(self.weights):
                    here = self.number[rows] == part
                    log_p[here] = combine(STACKED, logits[:, here], own)
                yield rows, log_p

        return Prediction(Streamed(classes, blocks), labels)


def combine_experts(name: str, experts: Sequence[Mapping[str, LogitsFile]]) -> Combined:
    """Return an ensemble; stacked is cross-fitted on tune.

    Args:
        name: one of `tailproof.config.evaluation.ENSEMBLES`.
        experts: calibrated logits of each expert by split, tune among them.
    """
    files = {split: [own[split] for own in experts] for split in experts[0]}
    tune = files[FITTED_ON]
    first = tune[0]
    if name != STACKED:
        equal = np.full(len(experts), 1 / len(experts))
        predictions = {split: predict_ensemble(name, own, equal) for split, own in files.items()}
        return Combined(predictions, equal, np.repeat(equal[:, None], len(first), axis=1))
    weights = fit_stacked(tune)
    folds = FoldWeights.fit(first.target, lambda rows: fit_stacked(tune, rows))
    predictions = {
        split: predict_ensemble(STACKED, own, weights)
        for split, own in files.items()
        if split != FITTED_ON
    }
    classes = first.classes[first.metadata["target"]]
    predictions[FITTED_ON] = folds.predict(
        first.target, classes, lambda: read_experts_together(tune)
    )
    return Combined(predictions, weights, folds.weights[folds.number].T)
