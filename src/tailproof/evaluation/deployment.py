"""The file deployment.json: the rejection rules of an expert, and how to decode images."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tailproof.calibration.calibration_file import HIGHEST, LOWEST, Sha256
from tailproof.config.base import Strict
from tailproof.config.json_file import JsonFile
from tailproof.evaluation.rejection import Rule
from tailproof.files import write_json

FORMAT = 2
"""Format of an expert's folder. In the first, which Tailproof 0.1 wrote, this file is absent."""

LARGEST = 1e12  # of a number in a rule

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Gain = Annotated[float, Field(gt=0, le=LARGEST)]
Shift = Annotated[float, Field(ge=-20, le=20)]
"""The bounds of `tailproof.evaluation.rejection.fit_shift`."""

Coverage = Annotated[float, Field(gt=0, le=1)]
FromList = Field(strict=False)  # a JSON list is no tuple to a strict model


class FittedRule(Strict):
    """A rejection rule fitted on the split tune with equal sample weights.

    Attributes:
        coverage: the share of the samples of tune that it accepts.
        shift, gain, multiplier: values for head and tail; None for a group without classes.
        threshold: the lowest accepted score; None if it accepts everything, at coverage 1.
    """

    coverage: Coverage
    shift: Annotated[tuple[Shift | None, Shift | None], FromList]
    gain: Annotated[tuple[Gain | None, Gain | None], FromList]
    multiplier: Annotated[tuple[Number | None, Number | None], FromList]
    threshold: Number | None

    @model_validator(mode="after")
    def _accepts_everything_at_1_alone(self) -> Self:
        if (self.threshold is None) != (self.coverage == 1):
            raise ValueError(
                f"threshold is {self.threshold} at coverage {self.coverage}, expected null at "
                "coverage 1 and a number below"
            )
        return self

    def rule(self) -> Rule:
        """Return the rule in the form that the evaluation applies."""
        threshold = -np.inf if self.threshold is None else self.threshold
        shift, gain, multiplier = (
            np.array([value for value in part if value is not None])
            for part in (self.shift, self.gain, self.multiplier)
        )
        return Rule(self.coverage, shift, gain, multiplier, threshold)


class Assumptions(Strict):
    """What an expert's probabilities assume of images.

    Attributes:
        shares: the class shares for which the probabilities are right, measured on val and calib.
        confidence_mean, confidence_sd: the largest probability of the samples of each class; None
            for a class with fewer than two.
        samples: samples of each class on tune.
    """

    shares: list[Annotated[float, Field(gt=0, le=1)]]
    confidence_mean: list[Annotated[float, Field(ge=0, le=1)] | None]
    confidence_sd: list[Annotated[float, Field(ge=0, le=1)] | None]
    samples: list[Annotated[int, Field(ge=0)]]


class Deployment(JsonFile):
    """The content of deployment.json.

    Attributes:
        format: format of the expert's folder.
        weights_sha256: SHA-256 of model.safetensors.
        images: the mode into which images are decoded.
        tail: the few-shot classes.
        coverage: the default coverage.
        rules: {name: fitted rules}.
        group_temperature: divisor of the mean logits of several images of one thing; None if the
            data have no such images on tune.
        assumptions: what the probabilities assume of images.
    """

    format: Literal[2] = 2
    experiment: str
    expert: str
    seed: int
    weights_sha256: Sha256
    images: Literal["L", "RGB", "float32"]
    tail: list[str]
    coverage: Coverage
    rules: Annotated[
        dict[str, Annotated[list[FittedRule], Field(min_length=1)]], Field(min_length=1)
    ]
    group_temperature: Annotated[float, Field(ge=LOWEST, le=HIGHEST)] | None = None
    assumptions: Assumptions | None = None

    @model_validator(mode="after")
    def _coverages_are_fitted(self) -> Self:
        for name, rules in self.rules.items():
            coverages = [rule.coverage for rule in rules]
            if len(set(coverages)) < len(coverages):
                raise ValueError(f"the rule {name!a:.80} lists the same coverage twice")
            if self.coverage not in coverages:
                raise ValueError(
                    f"coverage is {self.coverage}, which the rule {name!a:.80} does not have"
                )
        return self

    def check_classes(self, classes: list[str]) -> None:
        """Check that the rules are for these classes.

        Args:
            classes: class names of the target.

        Raises:
            ValueError: a class of the tail is not among them, or a rule lacks numbers of head or
                tail.
        """
        tail = set(self.tail)
        if unknown := tail - set(classes):
            raise ValueError(f"tail has {min(unknown)!a:.80}, which is not one of the classes")
        if self.assumptions:
            lengths = {len(numbers) for numbers in self.assumptions.model_dump().values()}
            if lengths != {len(classes)}:
                raise ValueError(
                    f"assumptions are for {sorted(lengths)} classes, expected {len(classes)}"
                )
        defined = (len(tail) < len(classes), bool(tail))
        for name, rules in self.rules.items():
            for rule in rules:
                for part in (rule.shift, rule.gain, rule.multiplier):
                    if tuple(value is not None for value in part) != defined:
                        raise ValueError(
                            f"the rule {name!a:.80} has numbers for other classes at coverage "
                            f"{rule.coverage}"
                        )

    def write(self, path: str | Path) -> None:
        """Write the file atomically."""
        write_json(path, self.model_dump(mode="json"))
