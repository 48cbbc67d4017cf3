"""Applies the prediction sets, risks and roll-ups that the stage guarantee fitted on tune."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from tailproof.evaluation.deployment import Deployment
from tailproof.guarantees.expert_guarantees import (
    FILE,
    ExpertGuarantees,
    StoredFit,
)
from tailproof.guarantees.prediction_sets import PROCEDURES, set_scores
from tailproof.guarantees.risk import answered_above
from tailproof.guarantees.roll_up import NONE, answer_rank, answers_by_rank
from tailproof.predict.posterior import Posterior
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity

SET_SIZE, SET = "set_size", "set"

WITHOUT_GROUPS = "tune had no groups of several images, or a group had images of several classes"

Array = np.ndarray


def read_guarantees(
    folder: str | Path, deployment: Deployment, posterior: Posterior
) -> ExpertGuarantees:
    """Read guarantees.json from the folder of an expert.

    Raises:
        TailproofError: the file is missing, damaged, or does not belong to the expert.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise TailproofError(
            f"{folder} has no {FILE}, which promises (set, risk, precision, unknown) and context "
            "need: copy the whole folder of the expert, or build the missing file with snakemake"
        )
    guarantees = ExpertGuarantees.read(path)
    try:
        guarantees.check_classes(posterior.classes[posterior.target], posterior.target)
        if guarantees.weights_sha256 != deployment.weights_sha256:
            raise ValueError(f"{FILE} is for other weights than deployment.json")
    except ValueError as error:
        raise TailproofError(
            f"{folder} has files that do not belong together ({error}): copy the whole folder again"
        ) from None
    grouped = guarantees.grouped
    if grouped and grouped.temperature != deployment.group_temperature:
        raise TailproofError(
            f"{folder} has files that do not belong together ({FILE} has another temperature for "
            "groups than deployment.json): copy the whole folder again"
        )
    return guarantees


class SetColumns:
    """The columns set and set_size: the classes that cannot be excluded.

    Attributes:
        names: the names of the columns.
    """

    names = (SET_SIZE, SET)

    def __init__(self, guarantees: ExpertGuarantees, coverage: float, procedure: str) -> None:
        """Select the rule.

        Raises:
            TailproofError: there is no such procedure, or no such coverage.
        """
        if procedure not in PROCEDURES:
            raise unknown_name("score", procedure, PROCEDURES)
        fitted = {rule.coverage: rule for rule in guarantees.sets if rule.procedure == procedure}
        self._rule = level_of(fitted, coverage, "coverage of sets", "coverages").rule()
        self._shares = np.array(guarantees.shares)
        self._classes = guarantees.ranks[0].classes

    def __call__(self, log_p: Array) -> list[tuple[int, tuple[str, ...]]]:
        """Return size and classes for each row of log-probabilities [N, C], probable ones first."""
        p = np.exp(log_p)
        held = self._rule.holds(set_scores(self._rule.score, p, self._shares))
        rows = []
        for inside, own in zip(held, p, strict=True):
            chosen = np.flatnonzero(inside)
            ordered = chosen[np.argsort(-own[chosen], kind="stable")]
            rows.append((len(chosen), tuple(self._classes[index] for index in ordered)))
        return rows


class RollUpColumns:
    """The columns answer_rank and answer: the finest rank that is certain enough.

    Attributes:
        names: the names of the columns.
    """

    names = ("answer_rank", "answer")

    def __init__(self, guarantees: ExpertGuarantees, precision: float) -> None:
        """Select the thresholds.

        Raises:
            TailproofError: the precision was not fitted, or can be promised at no rank.
        """
        fitted = {rule.precision: rule for rule in guarantees.roll_ups}
        rule = level_of(fitted, precision, "precision", "precisions")
        promise = f"a precision of at least {precision:g}"
        _require_any(rule.ranks, promise, guarantees, "a lower precision")
        self._thresholds = [fit.threshold for fit in rule.ranks]
        self._ranks = [stored.rank() for stored in guarantees.ranks]

    def __call__(self, log_p: Array) -> list[tuple[str | None, str | None]]:
        """Return rank and class for each row of log-probabilities [N, C]; None for no answer."""
        answers = answers_by_rank(np.exp(log_p), self._ranks)
        rows: list[tuple[str | None, str | None]] = []
        for row, index in enumerate(answer_rank(answers, self._thresholds)):
            if index == NONE:
                rows.append((None, None))
            else:
                rank = self._ranks[index]
                rows.append((rank.name, rank.classes[answers[index].chosen[row]]))
        return rows


class RiskRejector:
    """Accepts as many answers as the promised risk allows; called as a `Rejector` is.

    Attributes:
        rule: what decides, in words.
        warning: which answers are never accepted; empty if there are none.
    """

    def __init__(self, guarantees: ExpertGuarantees, risk: float, *, by_group: bool) -> None:
        """Select the thresholds.

        Args:
            guarantees: guarantees.json.
            risk: a risk that was fitted.
            by_group: whether the risk holds in every class group, instead of over all.

        Raises:
            TailproofError: the risk was not fitted, or cannot be promised.
        """
        fitted = level_of({rule.risk: rule for rule in guarantees.risks}, risk, "risk")
        fits = fitted.groups if by_group else dict.fromkeys(guarantees.groups, fitted.overall)
        promise = f"a risk of at most {risk:g}"
        _require_any(fits.values(), promise, guarantees, "a higher risk")
        self._thresholds = np.array([fits[group].limit for group in guarantees.groups])
        silent: list[str] = [group for group, fit in fits.items() if fit.threshold is None]
        self.rule = f"{promise}{' in every class group' if by_group else ''}"
        self.warning = (
            f"{promise} cannot be promised for answers in the class "
            f"{'group' if len(silent) == 1 else 'groups'} {listed(silent)}: they are all rejected"
            if silent
            else ""
        )

    def __call__(self, log_p: Array) -> tuple[Array, Array]:
        """Return the most probable class [N], and whether it is accepted [N]."""
        chosen = log_p.argmax(axis=1)
        return chosen, answered_above(np.exp(log_p.max(axis=1)), self._thresholds[chosen])


Fitted = TypeVar("Fitted")


def level_of(fitted: dict[float, Fitted], level: float, what: str, key: str = "") -> Fitted:
    """Return what was fitted for a level."""
    if level not in fitted:
        raise TailproofError(
            f"the {what} {level:g} was not fitted, expected one of "
            f"{', '.join(f'{value:g}' for value in fitted)}: choose one of these, or add it to "
            f"guarantees.{key or what + 's'} of the experiment and run snakemake again"
        )
    return fitted[level]


def no_groups(options: list[str]) -> str:
    """Say that options are fitted for single images alone."""
    are, them = ("is", "it") if len(options) == 1 else ("are", "them")
    return (
        f"{' and '.join(options)} {are} fitted only for single images, because {WITHOUT_GROUPS}: "
        f"leave {them} out, or answer without groups"
    )


def _require_any(
    fits: Iterable[StoredFit] | Sequence[StoredFit],
    promise: str,
    guarantees: ExpertGuarantees,
    easier: str,
) -> None:
    """Check that something can be promised; `easier` says which promise needs fewer answers."""
    fits = list(fits)
    if all(fit.threshold is None for fit in fits):
        most = max(fits, key=lambda fit: fit.samples)
        few = most.samples < most.needed
        reason = (
            f"it takes at least {most.needed:,} without a wrong answer: raise data.splits.tune"
            if few
            else "too many of the surest answers are wrong: train a better expert"
        )
        raise TailproofError(
            f"{promise} cannot be promised with a confidence of {guarantees.confidence:g}: tune "
            f"has {quantity(most.samples, guarantees.unit)} for it, and {reason}, "
            f"or ask for {easier}"
        )
