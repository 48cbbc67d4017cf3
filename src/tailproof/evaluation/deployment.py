"""The file deployment.json: the rejection rules of an expert, and how to decode images."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tailproof.evaluation.rejection import Rule
from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError

Pair = tuple[float | None, float | None]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FittedRule(_Form):
    """A rejection rule fitted on the split tune with equal sample weights.

    Attributes:
        coverage: the share of the samples of tune that it accepts.
        shift, gain, multiplier: values for head and tail; None for a group without classes.
        threshold: the lowest accepted score; None if it accepts everything.
    """

    coverage: float
    shift: Pair
    gain: Pair
    multiplier: Pair
    threshold: float | None

    def rule(self) -> Rule:
        """Return the rule in the form that the evaluation applies."""
        threshold = -np.inf if self.threshold is None else self.threshold
        parts = (self.shift, self.gain, self.multiplier)
        defined = [np.array([value for value in part if value is not None]) for part in parts]
        return Rule(self.coverage, *defined, threshold)


class Deployment(_Form):
    """The content of deployment.json.

    Attributes:
        weights_sha256: SHA-256 of model.safetensors.
        images: the mode into which images are decoded.
        tail: the few-shot classes.
        coverage: the default coverage.
        rules: {name: fitted rules}.
    """

    experiment: str
    expert: str
    seed: int
    weights_sha256: str
    images: Literal["L", "RGB", "float32"]
    tail: list[str]
    coverage: float
    rules: dict[str, list[FittedRule]]

    def write(self, path: str | Path) -> None:
        """Write the file atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: str | Path) -> "Deployment":
        """Read the file.

        Raises:
            TailproofError: the file is missing or damaged, or its fields are wrong.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise TailproofError(
                f"{path} has a wrong field '{field}' ({first['msg']}): copy the whole folder "
                "again, or run the stage card again with this version of Tailproof"
            ) from None
