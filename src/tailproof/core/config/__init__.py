"""The configuration: one pydantic model, read strictly, with its JSON schema."""

from tailproof.core.config.data import HELD_OUT_POOL, SPLITS, TRAINING_POOL, Data
from tailproof.core.config.experiment import Calibration, Evaluation, Experiment, Report
from tailproof.core.config.load import (
    load_experiment,
    parse_experiment,
    read_yaml,
    same_function,
    warnings,
)
from tailproof.core.config.recipe import Recipe

__all__ = [
    "HELD_OUT_POOL",
    "SPLITS",
    "TRAINING_POOL",
    "Calibration",
    "Data",
    "Evaluation",
    "Experiment",
    "Recipe",
    "Report",
    "load_experiment",
    "parse_experiment",
    "read_yaml",
    "same_function",
    "warnings",
]
