"""What an ensemble promises, fitted on tune as the stage guarantee does, which measures it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tailproof.bundle.inputs import Sources
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import LogitsFile
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.sample_groups import GroupedSplit, read_groups
from tailproof.evaluation.task import FITTED_ON, Task
from tailproof.guarantees.context_gain import InContext, put_in_context
from tailproof.guarantees.context_prior import Context
from tailproof.guarantees.expert_guarantees import (
    WEIGHTING,
    StoredGroups,
    stored_guarantees,
    stored_promises,
)
from tailproof.guarantees.fitting import fit_predictions
from tailproof.guarantees.grouped import Groups
from tailproof.guarantees.guarantee import classes_of, group_notes
from tailproof.guarantees.rules import Classes, Rules
from tailproof.guarantees.summary import Method

Codes = Mapping[str, Sequence[Any]]
Splits = Mapping[str, Prediction]


def promise(
    sources: Sources,
    task: Task,
    logits: Mapping[str, LogitsFile],
    predictions: Splits,
    config: Guarantees,
    temperature: float | None,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of guarantees.json of an ensemble, without `unknown`.

    Args:
        sources: the files.
        task: the classification task.
        logits: {split: logits of one expert}, which has the samples of all.
        predictions: {split: the prediction of the ensemble} for val, calib and tune.
        config: the configuration section guarantees.
        temperature: the temperature of groups; None if groups are not measured.
        facts: experiment, expert, seed and weights_sha256.
    """
    classes, group_of = classes_of(task), read_groups(sources.samples)
    context, codes = None, {}
    if sources.context and sources.splits:
        context = Context.read(sources.context, sources.samples, sources.splits, task)
        codes = {split: context.codes(own.sample_ids) for split, own in logits.items()}
    seed, fits = str(sources.seed), _Fits(classes, config, context)
    grouped = None
    if temperature is not None:
        groups = Groups(
            {
                split: GroupedSplit.of(
                    own.sample_ids,
                    own.target,
                    {sample: group_of.get(sample, sample) for sample in own.sample_ids},
                )
                for split, own in logits.items()
            }
        )
        together = groups.predict(dict(predictions), temperature)
        within = fits.in_context(together, groups.codes(codes), seed)
        grouped = StoredGroups(
            **stored_promises(fits.rules(together)),
            temperature=temperature,
            largest=groups.largest,
            context=within.stored_of_groups(seed) if within else None,
        )
    within = fits.in_context(predictions, codes, seed)
    return stored_guarantees(
        fits.rules(predictions),
        classes,
        config,
        grouped=grouped,
        context=within.stored(seed, context) if within and context else None,
        notes=group_notes(logits[FITTED_ON], group_of),
        **facts,
    )


class _Fits:
    """Fits rules on predictions, and puts them in context."""

    def __init__(self, classes: Classes, config: Guarantees, context: Context | None) -> None:
        self._classes, self._config, self._context = classes, config, context

    def rules(self, predictions: Splits) -> Rules:
        return fit_predictions(predictions, self._classes, self._config, {WEIGHTING: None})[1]

    def in_context(self, predictions: Splits, codes: Codes, seed: str) -> InContext | None:
        if self._context is None:
            return None
        method = Method("", "ensemble", {seed: dict(predictions)}, {}, {}, {})
        within = put_in_context(method, codes, self._context.columns)
        if within.in_use:
            within.method.rules[seed] = self.rules(within.method.predictions[seed])
        return within
