"""What is asked of an expert apart from the images, and what cannot be asked together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np

from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

CHOW, SCORE = "chow", "pas"
OfNames = Callable[[list[str]], np.ndarray]
OfColumns = Callable[[list[str]], Sequence[tuple[str | None, ...]]]


class Promised(NamedTuple):
    """What the answers should promise; None for nothing.

    Attributes:
        set_coverage: how often a set holds the true class.
        score: the procedure of the sets; None for `SCORE`.
        risk: the largest share of wrong answers among the accepted ones.
        by_group: whether the risk holds in every group of classes.
        precision: the smallest share of right answers at the rank that is answered.
        unknown: the largest share of known images that are called unknown.
    """

    set_coverage: float | None = None
    score: str | None = None
    risk: float | None = None
    by_group: bool = False
    precision: float | None = None
    unknown: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is promised."""
        levels = self.set_coverage, self.risk, self.precision, self.unknown
        return any(level is not None for level in levels)


NOTHING = Promised()


@dataclass(frozen=True)
class Options:
    """What is asked of an expert.

    Attributes:
        rule: name of the rule that accepts or rejects predictions.
        coverage: accepted fraction on the split tune; None for the default in deployment.json.
        promised: what the answers should promise.
        grouped: whether images of a group get one answer.
        classes: returns which classes are possible, boolean [C], of all names; None for all.
        prior: returns how often each class occurs where the images are from, [C], of all names;
            None if unknown.
        adapt: whether to estimate the class shares of the images.
        context: returns the cells of each image in the columns of context, of their names; None
            for no context.
        prefix: what stands before the name of an option in messages.
    """

    rule: str = CHOW
    coverage: float | None = None
    promised: Promised = NOTHING
    grouped: bool = False
    classes: OfNames | None = None
    prior: OfNames | None = None
    adapt: bool = False
    context: OfColumns | None = None
    prefix: str = ""

    @property
    def changes(self) -> list[str]:
        """The options that the deciding rule was not fitted with, as messages name them."""
        decided = self.promised.risk is not None  # with rules for groups and for context
        given = {
            "group": self.grouped and not decided,
            **self._changed,
            "context": self.context is not None and not decided,
        }
        return [self.prefix + name for name, is_given in given.items() if is_given]

    @property
    def promises(self) -> list[str]:
        """The promises that are asked for, as messages name them."""
        promised = self.promised
        levels = {
            "set": promised.set_coverage,
            "risk": promised.risk,
            "precision": promised.precision,
            "unknown": promised.unknown,
        }
        return [self.prefix + name for name, level in levels.items() if level is not None]

    @property
    def _changed(self) -> dict[str, bool]:
        """The options that change how frequent classes are, and whether they are given."""
        return {
            "classes": self.classes is not None,
            "prior": self.prior is not None,
            "adapt": self.adapt,
        }

    def _check_types(self) -> None:
        """Refuse values of other types, which Python would take for something or stumble over."""
        promised = self.promised
        levels = {
            "coverage": self.coverage,
            "set": promised.set_coverage,
            "risk": promised.risk,
            "precision": promised.precision,
            "unknown": promised.unknown,
        }
        texts = {"rule": self.rule, "score": promised.score or CHOW}
        flags = {"adapt": self.adapt, "by_group": promised.by_group}
        wrong = {name: "a string" for name, value in texts.items() if not isinstance(value, str)}
        wrong |= {
            name: "True or False"
            for name, value in flags.items()
            if not isinstance(value, bool | np.bool_)
        }
        wrong |= {
            name: "a number"
            for name, value in levels.items()
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool))
        }
        for name, expected in wrong.items():
            value = {**levels, **texts, **flags}[name]
            raise TailproofError(
                f"{self.prefix}{name} is {printable(repr(value))}, expected {expected}"
            )

    def check(self) -> None:
        """Check that the options fit together.

        Raises:
            TailproofError: they do not.
        """
        promised, dash = self.promised, self.prefix
        self._check_types()
        changed = [dash + name for name, is_given in self._changed.items() if is_given]
        if changed and promised.any:
            raise TailproofError(
                f"{' and '.join(self.promises)} {'holds' if len(self.promises) == 1 else 'hold'} "
                f"for images with classes as frequent as in tune, but {' and '.join(changed)} "
                f"{'says' if len(changed) == 1 else 'say'} that the classes have other "
                f"frequencies: leave out {' and '.join(self.promises)}, or {' and '.join(changed)}"
            )
        if promised.by_group and promised.risk is None:
            raise TailproofError(
                f"{dash}by{'-' if dash else '_'}group needs a promised risk: add {dash}risk"
            )
        if promised.score is not None and promised.set_coverage is None:
            raise TailproofError(f"{dash}score needs prediction sets: add {dash}set")
        if promised.risk is not None and self.rule != CHOW:
            raise TailproofError(
                f"{dash}risk decides by the largest probability, but {dash}rule "
                f"{printable(self.rule)} decides by another score: leave out one of the two"
            )
        if promised.risk is not None and self.coverage is not None:
            raise TailproofError(
                f"{dash}risk and {dash}coverage both decide what is accepted: give one of them"
            )
        if self.adapt and self.grouped:
            raise TailproofError(
                f"{dash}adapt estimates how frequent classes are among images, not among groups: "
                f"leave out {dash}adapt or {dash}group, or replace {dash}adapt by {dash}prior with "
                "the number of groups of each class"
            )
        if self.prior is not None and self.adapt:
            raise TailproofError(
                f"{dash}prior and {dash}adapt both set the class shares: give one of them"
            )
