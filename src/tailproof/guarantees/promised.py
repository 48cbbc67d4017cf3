"""Everything that is promised of a method: of samples and of groups, without and in context."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailproof.guarantees.context_gain import InContext, use_context
from tailproof.guarantees.context_prior import Context
from tailproof.guarantees.expert_guarantees import StoredContext, StoredGroups, stored_promises
from tailproof.guarantees.fitting import Setting, Unit, fit_and_measure
from tailproof.guarantees.grouped import Groups
from tailproof.guarantees.summary import Method


@dataclass(frozen=True)
class Promised:
    """What is promised of a method's answers for samples, or for groups.

    Attributes:
        unit: what the promises are about.
        method: the method, with its rules.
        context: the same in context; None without columns of context.
        summary: its part of guarantees.json.
    """

    unit: Unit
    method: Method
    context: InContext | None
    summary: dict[str, Any]

    @classmethod
    def of(cls, method: Method, unit: Unit, setting: Setting) -> "Promised":
        """Fit everything on tune, and measure it on dev and test."""
        summary = fit_and_measure(method, unit, setting)
        context = None
        if setting.context:
            context = use_context(method, unit, setting, setting.context.columns)
            summary["context"] = context.summary
        return cls(unit, method, context, summary)

    def stored_context(self, seed: str, context: Context | None) -> StoredContext | None:
        """Return what the folder of an expert has of the columns of context, if there are any."""
        return self.context.stored(seed, context) if self.context and context else None


@dataclass(frozen=True)
class PromisedGroups:
    """What is promised of a method's answers for groups.

    Attributes:
        groups: the groups.
        promised: the promises.
        temperatures: {seed: temperature of groups}.
    """

    groups: Groups
    promised: Promised
    temperatures: Mapping[str, float]

    @classmethod
    def of(cls, method: Method, groups: Groups, unit: Unit, setting: Setting) -> "PromisedGroups":
        """Fit everything on the groups of tune, and measure it on those of dev and test."""
        of_groups, temperatures = groups.method(method)
        promised = Promised.of(of_groups, unit, setting)
        promised.summary["temperatures"] = temperatures
        return cls(groups, promised, temperatures)

    def stored(self, seed: str) -> StoredGroups:
        """Return what the folder of an expert promises of groups."""
        context = self.promised.context
        return StoredGroups(
            **stored_promises(self.promised.method.rules[seed]),
            temperature=self.temperatures[seed],
            largest=self.groups.largest,
            context=context.stored_of_groups(seed) if context else None,
        )
