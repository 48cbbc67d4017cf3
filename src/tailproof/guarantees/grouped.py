"""Promises of one answer for all samples of a group, such as all pictures of one observation.

The rules are those of single samples, fitted on the groups of tune and measured on those of dev and
test. Groups are independent of each other where their samples are not. The answer of a group is the
one of `tailproof.evaluation.sample_groups`: the mean of its samples' logits, divided by the
temperature of groups where there are several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import (
    GroupedSplit,
    SampleGroups,
    fit_group_temperature,
)
from tailproof.evaluation.task import FITTED_ON, REPORTED_SPLITS
from tailproof.guarantees.context_prior import codes_of_groups
from tailproof.guarantees.expert_guarantees import WEIGHTING
from tailproof.guarantees.fitting import Samples, Unit
from tailproof.guarantees.held_out_predictions import predict_held_out
from tailproof.guarantees.summary import Method

Array = np.ndarray
Splits = dict[str, Prediction]


@dataclass(frozen=True)
class Groups:
    """The groups of every split.

    Attributes:
        splits: {split: its groups} for val, calib, tune, dev and test.
    """

    splits: Mapping[str, GroupedSplit]

    @classmethod
    def of(cls, logits: Mapping[str, LogitsFile], groups: Mapping[str, str]) -> "Groups | None":
        """Return the groups; None if promises of groups cannot be fitted.

        They can if a group of tune has several samples, and no group of tune, dev or test has
        several classes.

        Args:
            logits: {split: the logits of one expert}; all experts have the same samples.
            groups: the group of each sample; a sample that is not listed is its own group.
        """
        ids = {split: of_split.sample_ids for split, of_split in logits.items()}
        labels = {split: of_split.target for split, of_split in logits.items()}
        names = {sample: groups.get(sample, sample) for own in ids.values() for sample in own}
        reported = (FITTED_ON, *REPORTED_SPLITS)
        measured = SampleGroups(
            {split: ids[split] for split in reported},
            {split: labels[split] for split in reported},
            names,
        )
        if not measured.measurable or not measured.splits[FITTED_ON].several.any():
            return None
        others = {
            split: GroupedSplit.of(ids[split], labels[split], names)
            for split in ids
            if split not in reported
        }
        return cls({**others, **measured.splits})

    def count(self) -> dict[str, int]:
        """Return the number of groups of each split."""
        return {split: len(self.splits[split].size) for split in (FITTED_ON, *REPORTED_SPLITS)}

    @property
    def largest(self) -> int:
        """The number of samples in the largest group of tune."""
        return int(self.splits[FITTED_ON].size.max())

    def fit(self, predictions: Splits) -> float:
        """Return the temperature of groups, fitted on tune."""
        temperature = fit_group_temperature(self.splits[FITTED_ON], predictions[FITTED_ON])
        assert temperature is not None  # without a group of several samples there are no `Groups`
        return temperature

    def predict(self, predictions: Splits, temperature: float) -> Splits:
        """Return the predictions for the groups of every split.

        Those of tune are made with temperatures that were fitted on other groups of it.
        """
        grouped = {
            split: groups.combine(predictions[split], temperature)
            for split, groups in self.splits.items()
        }
        tune, single = self.splits[FITTED_ON], predictions[FITTED_ON]

        def predict(fitted: Array, predicted: Array) -> Array:
            fold = fit_group_temperature(tune, single, fitted)
            together = tune.combine(single, temperature if fold is None else fold)
            return together.take(np.flatnonzero(predicted)).log_p

        held_out = predict_held_out(tune.labels, predict)
        return {**grouped, FITTED_ON: Prediction(held_out, tune.labels)}

    def method(self, method: Method) -> tuple[Method, dict[str, float]]:
        """Return a method's answers for groups, and the temperature of each seed."""
        temperatures = {seed: self.fit(own) for seed, own in method.predictions.items()}
        predictions = {
            seed: self.predict(own, temperatures[seed]) for seed, own in method.predictions.items()
        }
        return Method(method.name, method.kind, predictions, {}, {}, {}), temperatures

    def unit(self, codes: Mapping[str, Sequence[Array]], evaluation: Evaluation) -> Unit:
        """Return the groups as what promises are about.

        Args:
            codes: {split: the code of each sample in each column of context}.
            evaluation: the configuration section evaluation.
        """
        rows = {
            split: Samples.of({WEIGHTING: np.ones(count)}, split, evaluation)
            for split, count in self.count().items()
        }
        return Unit(rows, {WEIGHTING: None}, self.codes(codes))

    def codes(self, codes: Mapping[str, Sequence[Array]]) -> dict[str, list[Array]]:
        """Return {split: the code of each group in each column of context} from those of samples.

        Without columns, there are none.
        """
        return {
            split: [codes_of_groups(own, groups.index, len(groups.size)) for own in codes[split]]
            for split, groups in self.splits.items()
            if split in codes
        }
