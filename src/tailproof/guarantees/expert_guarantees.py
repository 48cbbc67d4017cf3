"""The file guarantees.json in the folder of an expert: what it can promise, for a copied folder."""

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tailproof.calibration.calibration_file import HIGHEST, Sha256
from tailproof.calibration.calibration_file import LOWEST as LOWEST_TEMPERATURE
from tailproof.config.base import Strict
from tailproof.config.guarantees import Guarantees, Share
from tailproof.config.json_file import JsonFile
from tailproof.data.context_cells import Kind
from tailproof.evaluation.class_groups import Group
from tailproof.guarantees.binomial_threshold import Fit
from tailproof.guarantees.context_prior import MOST_SMOOTHING, STRONGEST, ContextColumn
from tailproof.guarantees.prediction_sets import LOWEST, Procedure, SetRule
from tailproof.guarantees.risk import RiskRule
from tailproof.guarantees.roll_up import Rank
from tailproof.guarantees.rules import Classes, Rules
from tailproof.guarantees.unknown_scores import FeatureScore, LogitScore

FILE = "guarantees.json"
LARGEST_FILE = 2**27
"""Bytes; with columns of context it has a number for each value and class that occur together."""

WEIGHTING = "plain"
"""The sets that an expert's folder has: for images with class shares like those of tune."""

LARGEST = -LOWEST
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Level = Annotated[float, Field(ge=-1, le=1)]
Shares = Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]


class StoredSet(Strict):
    """A procedure at a coverage; its thresholds are one for all classes, or one for each."""

    procedure: Procedure
    coverage: Share
    threshold: list[Number | None] = Field(min_length=1)

    def rule(self) -> SetRule:
        """Return the rule in the form that is applied; null is a class that is always in a set."""
        limits = [np.inf if limit is None else limit for limit in self.threshold]
        return SetRule(self.procedure, self.coverage, np.array(limits))


class StoredFit(Strict):
    """A fitted threshold; null if nothing can be promised."""

    threshold: Level | None
    needed: int = Field(ge=1)
    samples: int = Field(ge=0)

    @property
    def limit(self) -> float:
        """The threshold; infinite, which no answer reaches, if nothing can be promised."""
        return np.inf if self.threshold is None else self.threshold

    @classmethod
    def of(cls, fit: Fit) -> Self:
        """Store a fit."""
        return cls(**fit._asdict())


class StoredRisk(Strict):
    """A promised risk, over all answers and in every group."""

    risk: Share
    overall: StoredFit
    groups: dict[Group, StoredFit]

    @classmethod
    def of(cls, rule: RiskRule) -> Self:
        """Store a rule."""
        groups = {name: StoredFit.of(fit) for name, fit in rule.groups.items()}
        return cls.model_validate(
            {"risk": rule.risk, "overall": StoredFit.of(rule.overall), "groups": groups}
        )


class StoredRollUp(Strict):
    """A promised precision, with a fit for each rank."""

    precision: Share
    ranks: list[StoredFit] = Field(min_length=1)


class StoredRank(Strict):
    """A rank that can be answered: its classes, and the index of that above each target class."""

    name: str
    classes: list[str] = Field(min_length=1)
    above: list[int]

    def rank(self) -> Rank:
        """Return the rank in the form that is applied."""
        return Rank(self.name, self.classes, np.array(self.above))


class StoredFalseAlarm(Strict):
    """A promised share of false alarms: a score below the threshold is unknown.

    Attributes:
        risks: the risks that are promised of images that are not called unknown.
        context_risks: the same in context; None if no column of context counts.
    """

    rate: Share
    threshold: Number | None
    needed: int = Field(ge=1)
    samples: int = Field(ge=0)
    risks: list[StoredRisk]
    context_risks: list[StoredRisk] | None


class StoredUnknown(Strict):
    """When an image is called unknown, and when a group of images is.

    Attributes:
        score: the score; that of a group is the mean over its images.
        features_sha256: the digest of unknown.safetensors; in a bundle, of model.safetensors.
        false_alarms: the promises for images.
        groups: the promises for groups; None if the data have no groups of several images.
    """

    score: LogitScore | FeatureScore
    features_sha256: Sha256
    false_alarms: list[StoredFalseAlarm] = Field(min_length=1)
    groups: list[StoredFalseAlarm] | None = None

    def all_risks(self) -> list[StoredRisk]:
        """Return every promised risk of images or groups that are not called unknown."""
        rates = [*self.false_alarms, *(self.groups or [])]
        return [risk for own in rates for risk in [*own.risks, *(own.context_risks or [])]]


class StoredPromises(Strict):
    """What is promised of one kind of answers; `shares` are the class shares [C] for pas."""

    shares: Shares
    sets: list[StoredSet]
    risks: list[StoredRisk]
    roll_ups: list[StoredRollUp]


Exponent = Annotated[float, Field(ge=0, le=STRONGEST)]


class StoredGroupContext(Strict):
    """How columns of context count for groups of images.

    Attributes:
        exponents: how strongly each column counts.
        promises: what is promised in context; None if no column counts.
    """

    exponents: list[Exponent]
    promises: StoredPromises | None

    def strengths(self) -> list[float]:
        """Return how strongly each column counts."""
        return self.exponents


class StoredGroups(StoredPromises):
    """What is promised of one answer for several images.

    Attributes:
        temperature: the temperature of groups that the rules were fitted with.
        largest: images in the largest group of tune.
        context: how columns of context count; None without such columns.
    """

    temperature: Annotated[float, Field(ge=LOWEST_TEMPERATURE, le=HIGHEST)]
    largest: int = Field(ge=2)
    context: StoredGroupContext | None = None


class StoredColumn(Strict):
    """A column of context.

    Attributes:
        name: its name in the table.
        kind: what is taken of a cell.
        exponent: how strongly it counts.
        smoothing: m of `tailproof.guarantees.context_prior`.
        values: {value: {index of a class: samples of train}}; classes without samples are left out.
    """

    name: str = Field(min_length=1)
    kind: Kind
    exponent: Exponent
    smoothing: Annotated[float, Field(gt=0, le=MOST_SMOOTHING)]
    values: dict[str, dict[str, Annotated[int, Field(ge=1)]]]

    def column(self, class_counts: list[int]) -> ContextColumn:
        """Return the column in the form that is applied.

        Raises:
            ValueError: a class index is none of the classes.
        """
        counts = np.zeros((len(self.values), len(class_counts)), int)
        for row, of_classes in enumerate(self.values.values()):
            for index, count in of_classes.items():
                if not index.isdecimal() or int(index) >= len(class_counts):
                    raise ValueError(f"context has the class {index!a:.20}, which does not exist")
                counts[row, int(index)] = count
        return ContextColumn.of(
            self.name, self.kind, list(self.values), counts, np.array(class_counts), self.smoothing
        )


class StoredContext(Strict):
    """What columns of a table say of the classes.

    Attributes:
        class_counts: samples of train of each class.
        columns: the columns.
        promises: what is promised in context; None if no column counts.
    """

    class_counts: list[Annotated[int, Field(ge=0)]]
    columns: list[StoredColumn] = Field(min_length=1)
    promises: StoredPromises | None

    def strengths(self) -> list[float]:
        """Return how strongly each column counts."""
        return [column.exponent for column in self.columns]


class ExpertGuarantees(JsonFile):
    """The content of guarantees.json in the folder of an expert.

    Attributes:
        unit: what a promise is about.
        weights_sha256: SHA-256 of model.safetensors.
        confidence: the probability with which a promised risk or precision holds.
        shares: class shares [C] for pas.
        groups: the group of each class.
        ranks: the target, then the coarser ranks from the finest.
        notes: why the promises are less certain than that.
        grouped: the promises for groups of images; None if the data have no such groups.
        context: what columns of a table say of the classes; None without such columns.
        unknown: when an image is called unknown; None if the expert always answers.
    """

    largest: ClassVar[int] = LARGEST_FILE

    experiment: str
    expert: str
    seed: int
    weights_sha256: Sha256
    unit: Literal["image", "group"] = "image"
    confidence: Share
    shares: Shares
    groups: list[Group]
    ranks: list[StoredRank] = Field(min_length=1)
    sets: list[StoredSet]
    risks: list[StoredRisk]
    roll_ups: list[StoredRollUp]
    notes: list[str]
    grouped: StoredGroups | None = None
    context: StoredContext | None = None
    unknown: StoredUnknown | None = None

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        self._check_length("groups", self.groups)
        for rank in self.ranks:
            self._check_length("ranks.above", rank.above)
            if not all(-1 <= index < len(rank.classes) for index in rank.above):
                raise ValueError(
                    f"above has an index that is no class of the rank {rank.name!a:.80}"
                )
        if self.context:
            self._check_length("context.class_counts", self.context.class_counts)
            for column in self.context.columns:
                column.column(self.context.class_counts)
        of_groups = self.grouped.context if self.grouped else None
        columns = self.context.columns if self.context else []
        if of_groups and len(of_groups.exponents) != len(columns):
            raise ValueError("grouped.context and context have different columns")
        in_context = [own.promises for own in (self.context, of_groups) if own]
        for promises in (self, self.grouped, *in_context):
            if promises:
                self._check_promises(promises)
        self._check_risks(self.unknown.all_risks() if self.unknown else [])
        return self

    def _check_promises(self, promises: "StoredPromises | ExpertGuarantees") -> None:
        self._check_length("shares", promises.shares)
        for rule in promises.sets:
            if len(rule.threshold) > 1:
                self._check_length("sets.threshold", rule.threshold)
        self._check_risks(promises.risks)
        if any(len(rule.ranks) != len(self.ranks) for rule in promises.roll_ups):
            raise ValueError(f"a roll-up does not have the {len(self.ranks)} ranks of the file")

    def _check_risks(self, risks: list[StoredRisk]) -> None:
        if any(set(rule.groups) != set(self.groups) for rule in risks):
            raise ValueError("the groups of a risk are not those of the classes")

    def _check_length(self, name: str, values: list) -> None:
        if len(values) != len(self.shares):
            raise ValueError(f"{name} has {len(values)} values, but shares has {len(self.shares)}")

    @model_serializer(mode="wrap")
    def _without_absent_rule(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        if fields["unknown"] is None:
            del fields["unknown"]
        return fields

    def of_answers(
        self, *, grouped: bool = False, context: bool = False, unknown: float | None = None
    ) -> Self:
        """Return what is promised of other answers, in place of those for single images alone.

        Args:
            grouped: whether they are for groups of images.
            context: whether columns of context change them.
            unknown: the false-alarm rate at which images are called unknown, which is one of the
                file; None if none are. The risks are then those of the other images.

        Raises:
            ValueError: there are no promises for groups.
        """
        own: StoredGroups | ExpertGuarantees = self
        if grouped:
            if self.grouped is None:
                raise ValueError("it has no promises for groups of images")
            own = self.grouped
        in_context = own.context.promises if context and own.context else None
        promises = in_context or own
        fields: dict[str, Any] = {
            name: getattr(promises, name) for name in StoredPromises.model_fields
        }
        if unknown is not None and self.unknown is not None:
            rates = self.unknown.groups if grouped else self.unknown.false_alarms
            rate = {fitted.rate: fitted for fitted in rates or []}[unknown]
            fields["risks"] = (rate.context_risks or []) if in_context else rate.risks
        if grouped:
            fields |= {"unit": "group", "notes": []}
        return self.model_copy(update=fields)

    def check_classes(self, classes: list[str], target: str) -> None:
        """Check that the rules are for these classes.

        Raises:
            ValueError: they are for others.
        """
        finest = self.ranks[0]
        if (finest.name, finest.classes) != (target, classes):
            raise ValueError(f"{FILE} is for other classes than config.json")
        if finest.above != list(range(len(classes))):
            raise ValueError(f"{FILE} does not answer the target {target!a:.80} with its classes")


def stored_guarantees(
    rules: Rules,
    classes: Classes,
    config: Guarantees,
    grouped: StoredGroups | None = None,
    context: StoredContext | None = None,
    **facts: Any,
) -> dict[str, object]:
    """Return the content of guarantees.json, without `unknown`.

    Args:
        rules: fitted rules of an expert.
        classes: the classes.
        config: the promises.
        grouped: the promises for groups.
        context: the columns of context.
        facts: experiment, expert, seed, weights_sha256 and notes.
    """
    groups = [
        next(name for name in get_args(Group) if classes.groups[name][index])
        for index in range(len(classes.names))
    ]
    return ExpertGuarantees(
        **facts,
        **stored_promises(rules),
        confidence=config.confidence,
        groups=groups,
        ranks=[
            StoredRank(name=rank.name, classes=rank.classes, above=rank.above.tolist())
            for rank in classes.ranks
        ],
        grouped=grouped,
        context=context,
    ).model_dump(mode="json")


def stored_promises(rules: Rules) -> dict[str, Any]:
    """Return the fields of `StoredPromises`."""
    return {
        "shares": rules.shares.tolist(),
        "sets": [
            {"procedure": name, "coverage": coverage, "threshold": _finite(rule.threshold)}
            for coverage, by_procedure in rules.sets[WEIGHTING].items()
            for name, rule in by_procedure.items()
        ],
        "risks": [StoredRisk.of(rule) for rule in rules.risks],
        "roll_ups": [
            StoredRollUp(precision=precision, ranks=[StoredFit.of(fit) for fit in fits])
            for precision, fits in rules.roll_ups.items()
        ],
    }


def _finite(thresholds: np.ndarray) -> list[float | None]:
    return [None if np.isinf(limit) else float(limit) for limit in thresholds]
