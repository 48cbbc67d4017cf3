"""Precision and recall of detectors on cases whose faults are known."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Scores:
    """Counts by kind of finding.

    Attributes:
        healthy: healthy cases.
        alarmed: those of them in which anything was found.
        there: cases with the fault.
        found: those of them in which it was found.
        false: cases in which it was found and neither is nor follows from what is there.
        missed: (kind, strength, noise) of what was not found.
    """

    healthy: int = 0
    alarmed: int = 0
    there: Counter = field(default_factory=Counter)
    found: Counter = field(default_factory=Counter)
    false: Counter = field(default_factory=Counter)
    missed: Counter = field(default_factory=Counter)

    def count(self, cases: Iterable, look: Callable[..., set[str]]) -> "Scores":
        """Take in cases; `look` returns the kinds that are found in one."""
        for case in cases:
            kinds = look(case)
            if not case.expected:
                self.healthy += 1
                self.alarmed += bool(kinds)
            for kind in case.expected:
                self.there[kind] += 1
                if kind in kinds:
                    self.found[kind] += 1
                else:
                    self.missed[kind, case.strength, case.noise] += 1
            self.false.update(kinds - case.expected - case.allowed)
        return self

    def recall(self, kind: str) -> float:
        return self.found[kind] / self.there[kind]

    def precision(self, kind: str) -> float:
        told = self.found[kind] + self.false[kind]
        return self.found[kind] / told if told else 0.0

    @property
    def false_alarms(self) -> float:
        return self.alarmed / self.healthy
