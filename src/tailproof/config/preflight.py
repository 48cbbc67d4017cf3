"""Configuration of the stage preflight, and the kinds of its findings."""

from typing import Any, Literal

from pydantic import Field, field_validator

from tailproof.config.base import Strict
from tailproof.runtime.errors import suggestion

Kind = Literal[
    "bare_phase",
    "frequent_validation",
    "loss_effect",
    "more_workers_than_shards",
    "no_early_stopping",
    "no_normalisation",
    "no_rebalancing",
    "no_schedule",
    "outputs_differ",
    "probe_failed",
    "rare_classes",
    "same_function",
    "saturating_monitor",
    "short_first_phase",
    "short_warmup",
    "small_validation",
    "too_few_negatives",
    "undefined_monitor",
    "unusual_rate",
]

KINDS: tuple[str, ...] = Kind.__args__


class Preflight(Strict):
    """Which findings of the preflight let training start all the same."""

    ignore: list[Kind] = Field(
        [], description="Kinds of findings that do not stop the run before training."
    )

    @field_validator("ignore", mode="before")
    @classmethod
    def _kinds_are_known(cls, ignore: Any) -> Any:
        for kind in ignore if isinstance(ignore, list) else ():
            if kind not in KINDS:
                near = suggestion(str(kind), KINDS)
                raise ValueError(f"'{kind}' is no kind of finding{near}; known: {', '.join(KINDS)}")
        return ignore
