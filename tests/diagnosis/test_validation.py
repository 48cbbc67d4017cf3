"""Detectors of a validation that does not measure what training learns."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.merge import merged_recipe
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import error_of_level, samples_behind
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.schedule_end import rate_at_end
from tests.diagnosis.trained import WATCHED, Run, train, trained

EPOCHS = 12
LEARNS = 0.97 - 0.6 * np.exp(-np.arange(EPOCHS) / 2)
LOSS = 2.2 * np.exp(-np.arange(EPOCHS) / 2) + 0.05


def history(**columns) -> RunHistory:
    """Build a history from columns; a number is a constant column."""
    length = max(len(column) for column in columns.values() if np.ndim(column))
    filled = {name: np.broadcast_to(column, length).astype(float)
              for name, column in columns.items()}  # fmt: skip
    epochs = np.arange(1, length + 1)
    return RunHistory("drawn", epochs, filled, tuple(map(int, epochs)))


def kinds(run: RunHistory, **facts) -> set[str]:
    return {finding.kind for finding in diagnose(run, Context(**facts))}


@pytest.mark.parametrize(
    ("columns", "classes"),
    [
        # two classes, swapped: val gets worse than guessing as train learns
        ({"train_accuracy": LEARNS, "val_accuracy": 1 - LEARNS, "train_loss": LOSS}, 2),
        # one class is predicted for everything, and it is the most common one of val
        ({"train_balanced_accuracy": LEARNS, "val_balanced_accuracy": 0.1, "train_accuracy": LEARNS,
          "val_accuracy": 0.6, "train_loss": LOSS, "val_loss": 4.0 + LOSS}, 10),
        ({"train_accuracy": LEARNS, "val_accuracy": 0.6, "train_loss": LOSS}, None),
        # no accuracy at all
        ({"train_loss": LOSS, "val_loss": 2.4 + 0.3 * np.arange(EPOCHS)}, 10),
        ({"train_loss": LOSS, "val_auroc": 0.5 + 0.01 * np.sin(np.arange(EPOCHS))}, 2),
        ({"train_loss": LOSS, "val_macro_f1": 0.02, "val_loss": 9.0}, None),
    ],
)  # fmt: skip
def test_a_val_that_never_learns_is_found_by_whatever_was_measured(columns, classes):
    assert kinds(history(**columns), classes=classes) == {"val_never_learns"}


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        # val rises slowly, far behind train
        ({"train_accuracy": LEARNS, "val_accuracy": 0.01 + 0.01 * np.arange(EPOCHS),
          "train_loss": 2 * LOSS}, {"classes": 200}),
        # the loss shows that val learns, although accuracy does not yet
        ({"train_accuracy": LEARNS, "val_accuracy": 0.1, "val_loss": np.linspace(2.3, 1.9, EPOCHS),
          "train_loss": LOSS}, {"classes": 10}),
        # a few epochs of many
        ({"train_accuracy": LEARNS[:4], "val_accuracy": [0.11, 0.09, 0.1, 0.12],
          "train_loss": LOSS[:4]}, {"classes": 10, "recipe": Recipe(epochs=90)}),
        # averaged weights follow late
        ({"train_accuracy": LEARNS, "val_accuracy": 0.1, "val_loss": 2.3, "train_loss": LOSS},
         {"classes": 10, "recipe": Recipe(epochs=90, ema={"decay": 0.9998})}),
        # train does not learn much either
        ({"train_accuracy": 0.1 + 0.01 * np.arange(EPOCHS), "val_accuracy": 0.1,
          "train_loss": 2.3 - 0.01 * np.arange(EPOCHS)}, {"classes": 10}),
    ],
)  # fmt: skip
def test_a_val_that_may_still_learn_is_not_accused(columns, facts):
    assert "val_never_learns" not in kinds(history(**columns), **facts)


def test_too_few_samples_prove_nothing():
    few = np.array([5, 6, 6, 5, 6, 5, 6, 6, 5, 6, 5, 6]) / 12
    run = history(train_accuracy=LEARNS, val_accuracy=few, train_loss=LOSS)
    assert "val_never_learns" not in kinds(run, classes=2)
    many = np.array([499, 502, 500, 498, 501, 503, 500, 497, 500, 501, 499, 500]) / 1000
    run = history(train_accuracy=LEARNS, val_accuracy=many, train_loss=LOSS)
    assert kinds(run, classes=2, val_samples=1000) == {"val_never_learns"}


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ({}, None),
        ({"ema": {"decay": 0.9998}}, {"ema": None}),
        (
            {"augmentation": {"albumentations": [{"name": "InvertImg"}]}},
            {"augmentation": {"albumentations": []}},
        ),
        ({"image_size": 64, "eval_image_size": 224}, {"eval_image_size": None}),
    ],
)
def test_what_makes_val_differ_is_removed_from_the_recipe(recipe, change):
    recipe = Recipe.model_validate({"epochs": EPOCHS} | recipe)
    run = history(train_accuracy=LEARNS, val_accuracy=0.1, val_loss=3.0, train_loss=LOSS)
    (finding,) = diagnose(run, Context(classes=10, recipe=recipe))
    assert (finding.kind, finding.change) == ("val_never_learns", change)
    if change:
        merged = merged_recipe(recipe.model_dump(mode="json"), change)
        assert Recipe.model_validate(merged) != recipe


def test_a_large_gap_from_the_start_is_found():
    val = 0.35 + 0.005 * np.sin(np.arange(EPOCHS))
    run = history(train_accuracy=LEARNS, val_accuracy=val, train_loss=LOSS, val_loss=2.1)
    assert kinds(run, classes=10) == {"large_gap"}
    assert kinds(history(train_accuracy=LEARNS, val_accuracy=LEARNS - 0.15), classes=10) == set()


@pytest.mark.parametrize("classes", [10, None])
def test_a_softmax_in_front_of_the_loss_is_found(classes):
    twice = train(Run(softmax_twice=("train", "val"), rate=0.3, decay=1e-4, spread=0.5), 0)
    (finding,) = diagnose(twice, Context(classes=classes))
    assert finding.kind == "double_softmax"
    assert finding.evidence["loss_plus_accuracy"] == pytest.approx(np.log(9 + np.e), abs=0.05)
    once = train(Run(rate=0.3, decay=1e-4, spread=0.5), 0)
    assert "double_softmax" not in kinds(once, classes=classes)


def test_a_val_loss_that_its_accuracy_contradicts_is_found():
    """A pretrained network: val loss is 1.55 although 93 % are right and train loss is 0.05."""
    accuracy = 0.93 + 0.003 * np.sin(np.arange(EPOCHS))
    run = history(train_loss=LOSS / 10, val_accuracy=accuracy, val_loss=2.48 - accuracy)
    assert kinds(run) == {"double_softmax"}
    assert kinds(history(train_loss=LOSS / 10, val_accuracy=accuracy, val_loss=0.3)) == set()


def test_the_loss_of_mixed_images_is_not_one_of_probabilities():
    mixed = history(train_loss=1.78 - LEARNS, train_accuracy=LEARNS, val_loss=LOSS + 0.2)
    assert "double_softmax" not in kinds(mixed)


def test_columns_that_lack_some_epochs_are_compared_where_both_are():
    loss, accuracy = 2.461 - LEARNS, LEARNS.copy()
    loss[2], accuracy[[0, 5]] = np.nan, np.nan
    assert kinds(history(train_loss=loss, train_accuracy=accuracy), classes=10) == {
        "double_softmax"
    }


def test_networks_that_are_really_trained_are_judged_right():
    found, healthy = {}, []
    for case in trained(3, 4):
        named = {finding.kind for finding in diagnose(case.history, case.context)}
        if case.expected:
            found.setdefault(case.name, []).append(case.expected <= named)
        else:
            healthy.append((case.name, named & WATCHED))
    assert [pair for pair in healthy if pair[1]] == []
    assert sum(map(sum, found.values())) >= 0.85 * sum(map(len, found.values())), found


@given(
    samples=st.integers(2, 400),
    hits=st.lists(st.floats(0, 1), min_size=2, max_size=12),
    digits=st.integers(5, 9),
)
def test_shares_of_few_samples_show_how_many_they_are(samples, hits, digits):
    shares = np.round(np.array([round(hit * samples) for hit in hits]) / samples, digits)
    smallest = samples_behind(shares)
    if smallest is not None:  # shares such as 0.5 have too few digits to show it
        assert 2 <= smallest <= samples
        assert np.abs(shares * smallest - np.round(shares * smallest)).max() < 1e-2


def test_the_steps_of_an_accuracy_show_the_size_of_val():
    assert samples_behind(np.array([0, 0.083333333, 0.25])) == 12
    assert samples_behind(np.array([0.0833, 0.1667])) == 12
    assert samples_behind(np.array([0.02020202, 0.060606061])) == 99
    assert samples_behind(np.array([0.1, 0.1, 0.1])) is None
    assert samples_behind(np.random.default_rng(0).random(9)) is None


def test_more_epochs_do_not_make_a_small_val_larger():
    assert error_of_level(0.5, 0.0, 4, 100) == error_of_level(0.5, 0.0, 400, 100) > 0.04
    assert error_of_level(0.5, 0.02, 400, None) == pytest.approx(0.001)


def cosine(epochs: int, floor: float = 0.0) -> np.ndarray:
    return floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * np.arange(epochs) / epochs))


def with_floor(epochs: int) -> np.ndarray:
    return cosine(epochs, 0.01)


def line(epochs: int) -> np.ndarray:
    return 1 - np.arange(epochs) / epochs


def step(epochs: int) -> np.ndarray:
    return np.where(np.arange(epochs) < 0.6 * epochs, 1.0, 0.1)


@pytest.mark.parametrize("epochs", [8, 20, 90, 300])
@pytest.mark.parametrize("shape", [cosine, with_floor, line])
def test_a_schedule_is_over_when_its_rate_arrives(epochs, shape):
    rates = shape(epochs)
    assert rate_at_end(history(learning_rate=rates), Context()) == "low"
    part = history(learning_rate=rates[: max(4, epochs * 3 // 4)])
    assert rate_at_end(part, Context()) == "moving"
    assert rate_at_end(part, Context(recipe=Recipe(epochs=epochs))) == "moving"
    assert rate_at_end(part, Context(recipe=Recipe(epochs=part.done))) != "moving"


@pytest.mark.parametrize("epochs", [8, 20, 90, 300])
def test_a_rate_that_does_not_change_is_high_or_low(epochs):
    warmed = np.minimum(np.arange(1, epochs + 1) / 3, 1.0)
    for rates, where in ((step(epochs), "low"), (np.ones(epochs), "high"), (warmed, "high")):
        assert rate_at_end(history(learning_rate=rates), Context()) == where


def test_a_run_whose_schedule_goes_on_is_not_called_unfinished():
    rising = 0.1 + 0.01 * np.arange(30)
    for rates, found in ((cosine(30), True), (cosine(60)[:30], False), (np.ones(30), True)):
        run = history(val_accuracy=rising, learning_rate=rates)
        assert ("still_improving" in kinds(run)) == found
    flat = 0.7 - 0.6 * np.exp(-np.arange(30) / 5)
    assert kinds(history(val_accuracy=flat, learning_rate=cosine(30))) == set()


def test_a_train_loss_of_exactly_zero_is_not_finite_unless_it_was_small():
    broken = history(train_loss=[2.0, 1.8, 1.6, 0.0, 0.0, 0.0], val_loss=[2.1, 1.9, 1.7, 9, 9, 9])
    (finding,) = (each for each in diagnose(broken) if each.kind == "not_finite")
    assert finding.epochs == (4,) and finding.evidence["train_loss"] == [4, 5, 6]
    solved = history(
        train_loss=[2.0, 0.5, 0.05, 0.001, 0.0, 0.0], val_loss=[2.1, 0.6, 0.1] + [0.08] * 3
    )
    assert "not_finite" not in kinds(solved)


def test_a_loss_that_is_finite_again_wastes_no_epochs():
    loss = np.r_[LOSS[:5], math.inf, LOSS[6:]]
    (finding,) = diagnose(history(train_loss=loss))
    assert (finding.kind, finding.epochs, finding.cost) == ("not_finite", (6,), {})


def test_what_follows_from_a_loss_that_is_not_finite_is_not_reported():
    nan, chance = [math.inf] * 12, [0.1] * 12
    run = history(
        train_loss=[2.0, 1.9, 1.8, 1.7, *nan], val_loss=[2.0, 1.9, 1.8, 1.7, *nan],
        train_accuracy=[0.2, 0.3, 0.35, 0.4, *chance], val_accuracy=[0.2, 0.3, 0.35, 0.4, *chance],
    )  # fmt: skip
    assert kinds(run, classes=10) == {"not_finite"}
