"""Histories that people brought, and what is wrong with each run."""

import csv
import math
from pathlib import Path

import pytest

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.readers import read_history

HERE = Path(__file__).parent
NEVER = HERE / "17-val-never-learns"
CHANCE = HERE / "49-near-chance-with-a-small-val"


def epochs_by_kind(findings: list[Finding]) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.epochs for finding in findings}


@pytest.mark.parametrize(
    ("file", "classes", "epochs"),
    [
        (HERE / "15-hf-nan-grad" / "trainer_state.json", None, {"not_finite": (4,)}),
        (NEVER / "history.csv", None, {"val_never_learns": (3, 22)}),
        (NEVER / "results.csv", None, {"val_never_learns": (3, 22)}),
        (NEVER / "own-history.csv", None, {"val_never_learns": (2, 8)}),
        (NEVER / "own-history.csv", 11, {"val_never_learns": (2, 8)}),
        (CHANCE / "history.csv", 11, {"near_chance": (1, 8)}),
        (CHANCE / "val-at-chance.csv", 11, {"near_chance": (1, 8)}),
        (HERE / "51-rising-at-the-end" / "history.csv", None, {"still_improving": (24, 30)}),
        (HERE / "51-rising-at-the-end" / "history.csv", 10, {"still_improving": (24, 30)}),
    ],
)
def test_the_problem_of_a_run_is_found_and_nothing_else(file, classes, epochs):
    assert epochs_by_kind(diagnose(read_history(file), Context(classes=classes))) == epochs


def test_losses_that_are_blank_to_the_end_are_not_finite():
    """The reader turns such blanks into inf."""
    rows = []
    with open(HERE / "50-nan-written-as-blanks" / "history.csv", newline="") as file:
        for cells in csv.DictReader(file):
            rows.append({name: float(cell) if cell else math.inf for name, cell in cells.items()})
    (finding,) = diagnose(RunHistory.of("blank", rows))
    assert finding.kind == "not_finite" and finding.epochs == (19,)
    assert finding.evidence["train_loss"] == finding.evidence["val_loss"] == list(range(19, 31))
    assert finding.evidence["val_accuracy_since"] == pytest.approx(0.1)
    assert finding.change["grad_clip_norm"] == 1.0


def test_a_small_val_is_named_in_the_evidence():
    (finding,) = diagnose(read_history(NEVER / "own-history.csv"), Context(classes=11))
    assert finding.evidence["val_samples"] == 12
    assert finding.evidence["metric"] == "val_balanced_accuracy"
    (finding,) = diagnose(read_history(CHANCE / "history.csv"), Context(classes=11))
    assert finding.evidence["val_samples"] == 12


def test_a_longer_schedule_is_suggested_with_the_slope_and_its_noise():
    (finding,) = diagnose(read_history(HERE / "51-rising-at-the-end" / "history.csv"))
    assert finding.evidence["gain_per_epoch"] == pytest.approx(0.0095, abs=5e-4)
    assert finding.evidence["effect_in_noise"] > 20
    assert finding.change == {"epochs": 45}
