"""A calibrator: what turns the raw logits of one rank into calibrated ones, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tailproof.calibration.metrics import log_probabilities


@dataclass(frozen=True)
class Calibrator:
    """Divides logits by a temperature; a vector or a matrix then mixes log-probabilities.

    With q = log softmax(z / temperature), calibrated logits are

    - temperature: z / temperature,
    - vector: factors ∘ q + bias, with one factor per class,
    - matrix: factors · q + bias, with a matrix [C, C] (Dirichlet calibration, Kull et al. 2019).

    Attributes:
        temperature: the divisor.
        factors: None, [C] or [C, C].
        bias: [C]; None without factors.
    """

    temperature: float = 1.0
    factors: np.ndarray | None = None
    bias: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """Return temperature, vector or matrix."""
        if self.factors is None:
            return "temperature"
        return "vector" if self.factors.ndim == 1 else "matrix"

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Calibrate raw logits [N, C], in double precision."""
        scaled = logits / np.float64(self.temperature)
        if self.factors is None:
            return scaled
        q = log_probabilities(scaled)
        mixed = q * self.factors if self.factors.ndim == 1 else q @ self.factors.T
        return mixed + self.bias

    def undo(self, calibrated: np.ndarray) -> np.ndarray:
        """Return the raw logits [N, C], up to a constant per sample, in double precision."""
        values = calibrated.astype(np.float64)
        if self.factors is not None:
            assert self.bias is not None  # as long as there are factors
            values = values - self.bias
            if self.factors.ndim == 1:
                values = values / self.factors
            else:
                values = np.linalg.solve(self.factors, values.T).T
        return values * self.temperature

    def to_jsonable(self) -> dict[str, Any]:
        """Return the fields that `from_jsonable` reads."""
        fields: dict[str, Any] = {"calibrator": self.kind, "temperature": self.temperature}
        if self.factors is not None:
            assert self.bias is not None  # as long as there are factors
            fields |= {"factors": self.factors.tolist(), "bias": self.bias.tolist()}
        return fields

    @classmethod
    def from_jsonable(cls, fields: dict[str, Any]) -> "Calibrator":
        """Build from the fields of `to_jsonable`; other fields are ignored."""
        factors, bias = (
            None if fields.get(name) is None else np.array(fields[name], np.float64)
            for name in ("factors", "bias")
        )
        return cls(fields["temperature"], factors, bias)
