"""The learning rate of every update, to the last bit, and what is planned from it."""

import numpy as np
import pytest

from tailproof.config.recipe import Recipe
from tailproof.schedules import Phases, Plateau, final_rate, learning_rate, peak_rate, rate_changes

MONITORED = [0.5, 0.4, 0.3, 0.6, 0.6]
PHASES = [
    {"from_epoch": 1},
    {"from_epoch": 3, "batch_size": 320, "learning_rate_factor": 0.3},
]

RECORDED = [
    ({"name": "constant"}, False, [0.13] * 20),
    (
        {"name": "multistep", "milestones": [2, 4], "gamma": 0.3, "warmup": {"steps": 3}},
        False,
        [
            0.043333333333333335,
            0.08666666666666667,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.0117,
            0.0117,
            0.0117,
            0.0117,
        ],
    ),
    (
        {"name": "cosine", "min_lr": 0.001, "warmup": {"epochs": 1.5}},
        False,
        [
            0.021666666666666667,
            0.043333333333333335,
            0.065,
            0.08666666666666667,
            0.10833333333333334,
            0.11110838738653231,
            0.10341214877286452,
            0.09478238723320077,
            0.08543159613718411,
            0.0755900229950949,
            0.0655,
            0.055409977004905124,
            0.045568403862815895,
            0.03621761276679924,
            0.02758785122713549,
            0.01989161261346769,
            0.013318403862815898,
            0.008030079189850277,
            0.004156854698962598,
            0.0017941020316136211,
        ],
    ),
    (
        {"name": "plateau", "factor": 0.3, "patience": 2, "warmup": {"epochs": 2.5}},
        False,
        [
            0.013000000000000001,
            0.026000000000000002,
            0.03900000000000001,
            0.052000000000000005,
            0.065,
            0.078,
            0.09100000000000001,
            0.10400000000000001,
            0.117,
            0.13,
            0.13,
            0.13,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
            0.039,
        ],
    ),
    (
        {"name": "constant", "warmup": {"steps": 1}},
        False,
        [
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
        ],
    ),
    (
        {"name": "cosine", "warmup": {"steps": 4}},
        True,
        [
            0.0325,
            0.065,
            0.0975,
            0.11581904636042195,
            0.10552683712081769,
            0.09320244304264128,
            0.07946386070716044,
            0.065,
            0.015160841787851872,
            0.011039267087207618,
            0.007341948863754697,
            0.004254286091873425,
            0.0019311070759028288,
            0.0004889057124544372,
        ],
    ),
    (
        {"name": "multistep", "milestones": [1, 3], "gamma": 0.7, "warmup": {"epochs": 0.8}},
        True,
        [
            0.043333333333333335,
            0.08666666666666667,
            0.13,
            0.13,
            0.091,
            0.091,
            0.091,
            0.091,
            0.027299999999999998,
            0.027299999999999998,
            0.01911,
            0.01911,
            0.01911,
            0.01911,
        ],
    ),
    (
        {"name": "plateau", "factor": 0.7, "patience": 1},
        True,
        [
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.13,
            0.027299999999999998,
            0.027299999999999998,
            0.01911,
            0.01911,
            0.01911,
            0.01911,
        ],
    ),
]
"""Rates that timm's schedulers, stepped at every update, gave for 5 epochs from 0.13 on.

An epoch has 4 updates; where there are phases, it has 2 from the third on.
"""


def driven(recipe: Recipe, phases: Phases, monitored=()) -> list[float]:
    """The rate of each update of a run that is validated after every epoch."""
    plateau, rates = Plateau(recipe), []
    ends = dict(zip(map(phases.updates, range(1, recipe.epochs + 1)), monitored, strict=False))
    for updates in range(phases.total):
        if updates in ends:
            plateau.update(ends[updates])
        rates.append(learning_rate(recipe, phases, updates, plateau.rate))
    return rates


@pytest.mark.parametrize(("schedule", "phased", "expected"), RECORDED)
def test_rates_are_the_recorded_ones_to_the_last_bit(schedule, phased, expected):
    recipe = Recipe(
        schedule=schedule,
        phases=PHASES if phased else [],
        epochs=5,
        optimizer={"learning_rate": 0.13},
    )
    assert driven(recipe, Phases(recipe, [4, 2] if phased else [4]), MONITORED) == expected


def rates(steps=10, **changes):
    recipe = Recipe(**{"optimizer": {"learning_rate": 1.0}, **changes})
    return np.array(driven(recipe, Phases(recipe, [steps])))


def test_multistep_lowers_the_rate_after_its_milestones():
    found = rates(epochs=6, schedule={"name": "multistep", "milestones": [2, 4]})
    assert np.allclose(found, np.repeat([1.0, 0.1, 0.01], 20))


@pytest.mark.parametrize("warmup", [{"epochs": 2}, {"steps": 20}, {"epochs": 0.5}])
def test_warmup_is_linear_and_reaches_the_rate(warmup):
    found = rates(epochs=5, schedule={"name": "constant", "warmup": warmup})
    steps = warmup.get("steps") or int(warmup["epochs"] * 10)
    assert np.allclose(found[:steps], np.arange(1, steps + 1) / steps)
    assert np.allclose(found[steps:], 1.0)


def test_cosine_follows_its_formula():
    found = rates(epochs=5, schedule={"name": "cosine", "min_lr": 0.1, "warmup": {"steps": 5}})
    step = np.arange(50)
    expected = 0.1 + 0.9 * (1 + np.cos(np.pi * step / 50)) / 2
    assert np.allclose(found[5:], expected[5:])


@pytest.mark.parametrize(("monitor", "sign"), [("val_accuracy", 1.0), ("val_loss", -1.0)])
def test_plateau_lowers_the_rate_when_waiting_was_in_vain(monitor, sign):
    schedule = {"name": "plateau", "factor": 0.5, "patience": 2}
    recipe = Recipe(schedule=schedule, monitor=monitor, optimizer={"learning_rate": 1.0})
    plateau, found = Plateau(recipe), []
    for value in [0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.2, 0.1, 0.1]:
        resumed = Plateau(recipe)
        resumed.restore(plateau.state())
        plateau = resumed
        plateau.update(sign * value)
        found.append(plateau.rate)
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "cosine", "warmup": {"epochs": 1.5}},
        {"name": "multistep", "milestones": [2]},
        {"name": "plateau", "patience": 1},
    ],
    ids=lambda schedule: schedule["name"],
)
def test_rates_are_the_schedule_s_times_the_phase_s_factor(schedule):
    """Epochs of 10, 10 and 4 updates; the schedule knows how many there are."""
    phases = [
        {"from_epoch": 1},
        {"from_epoch": 3, "batch_size": 320, "learning_rate_factor": 3.0},
    ]
    recipe = Recipe(epochs=3, phases=phases, schedule=schedule, optimizer={"learning_rate": 1.0})
    found = driven(recipe, Phases(recipe, [10, 4]), [0.5, 0.5, 0.5])
    steps, factor = np.arange(24), np.repeat([1.0, 3.0], [20, 4])
    expected = {
        "cosine": np.where(steps < 14, (steps + 1) / 15, (1 + np.cos(np.pi * steps / 24)) / 2),
        "multistep": np.repeat([1.0, 0.1], [20, 4]),
        "plateau": np.repeat([1.0, 0.1], [20, 4]),
    }
    assert np.allclose(found, expected[schedule["name"]] * factor)


@pytest.mark.parametrize(("drop_last", "steps"), [(True, [1, 6]), (False, [2, 7])])
def test_planned_phases_have_the_batches_of_their_samples(drop_last, steps):
    phases = [{"from_epoch": 1}, {"from_epoch": 3, "batch_size": 16}]
    recipe = Recipe(phases=phases, batch_size=64, drop_last=drop_last, epochs=4)
    planned = Phases.of_samples(recipe, 100)
    assert [planned.steps(1), planned.steps(4)] == steps
    assert planned.total == 2 * sum(steps)


def test_a_plan_holds_the_rates_of_the_run():
    schedule = {"name": "multistep", "milestones": [4], "warmup": {"epochs": 1.5}}
    phases = [{"from_epoch": 1}, {"from_epoch": 3, "learning_rate_factor": 2.0, "batch_size": 50}]
    recipe = Recipe(
        schedule=schedule,
        phases=phases,
        epochs=6,
        batch_size=25,
        optimizer={"learning_rate": 1.0},
    )
    planned = Phases.of_samples(recipe, 100)
    rates = {each["epoch"]: each["learning_rate"] for each in rate_changes(recipe, planned)}
    assert rates == pytest.approx({1: 1 / 6, 3: 2.0, 5: 0.2, 6: 0.2})
    assert planned.warmup_epochs == 1.5
    assert peak_rate(recipe, planned) == (2.0, 50)
    assert final_rate(recipe, planned) == pytest.approx(0.2)
