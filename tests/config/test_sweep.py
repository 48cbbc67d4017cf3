import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.base import NAME
from tailproof.config.lint import warnings
from tailproof.config.recipe import Recipe
from tailproof.config.sweep import values_at
from tailproof.config.validation import parse_experiment
from tailproof.runtime.errors import TailproofError
from tests.config.minimal import assert_mistakes

RECIPE = {"export": "best", "epochs": 20}


def experiment(sweep, recipe=RECIPE, **more):
    data = {"source": {"name": "digits"}}
    return parse_experiment({"title": "t", "data": data, "recipe": recipe, "sweep": sweep, **more})


def mistake(sweep, *arguments, **more):
    with pytest.raises(TailproofError) as caught:
        experiment(sweep, *arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("the configuration: ")


GRID = {"optimizer.weight_decay": [0.0, 5e-4], "model.name": ["cifar_resnet20", "cifar_resnet32"]}


def test_a_grid_is_the_product_of_its_values_in_order():
    found = experiment({"grid": GRID})
    assert list(found.points) == [
        "weight_decay-0--model-cifar_resnet20",
        "weight_decay-0--model-cifar_resnet32",
        "weight_decay-0.0005--model-cifar_resnet20",
        "weight_decay-0.0005--model-cifar_resnet32",
    ]
    last = list(found.points.values())[-1]
    assert (last.optimizer.weight_decay, last.model.name) == (5e-4, "cifar_resnet32")
    assert last.epochs == 20
    assert found.trained == list(found.points)
    assert found.evaluated == ["winner"]


def test_a_point_is_the_expert_with_the_same_changes():
    changes = {"loss": {"name": "focal", "gamma": 3}, "optimizer": {"name": "adamw"}}
    recipe = {**RECIPE, "optimizer": {"learning_rate": 0.5, "momentum": 0.7}}
    points = [{"name": "a", **changes}, {"loss.name": "focal", "loss.gamma": 3,
                                         "optimizer.name": "adamw"}]  # fmt: skip
    found = experiment({"points": points}, recipe, experts={"by_hand": changes})
    assert list(found.points) == ["a", "loss.name-focal--gamma-3--optimizer.name-adamw"]
    assert all(point == found.experts["by_hand"] for point in found.points.values())
    assert found.evaluated == ["by_hand", "winner"]
    (warning,) = warnings(found)
    assert warning.startswith("points 'a' and 'loss.name-focal--gamma")


def numbers(low, high):
    """Floats as people write them: with three digits, so that names stay short."""
    return st.floats(low, high).map(lambda value: float(f"{value:.3g}"))


VALUES = {
    "optimizer.learning_rate": numbers(1e-6, 10),
    "optimizer.weight_decay": numbers(0, 1),
    "epochs": st.integers(1, 999),
    "normalize": st.booleans(),
    "loss.class_weights": st.sampled_from([None, "balanced"]),
    "model.options.drop_rate": numbers(0, 1),
}
GRIDS = st.dictionaries(st.sampled_from(list(VALUES)), st.none(), min_size=1, max_size=3).flatmap(
    lambda keys: st.fixed_dictionaries(
        {key: st.lists(VALUES[key], min_size=1, max_size=2, unique=True) for key in keys}
    )
)


@given(GRIDS)
def test_every_grid_has_points_with_names_of_their_own_and_the_values_asked_for(grid):
    found = experiment({"grid": grid})
    count = 1
    for values in grid.values():
        count *= len(values)
    assert len(found.points) == count
    assert all(re.fullmatch(NAME, name) for name in found.points)
    seen = [values_at(recipe, list(grid)) for recipe in found.points.values()]
    assert all(values[key] in grid[key] for values in seen for key in grid)
    assert len({json.dumps(values) for values in seen}) == count
    assert parse_experiment(found.model_dump(mode="json")) == found
    again = parse_experiment(found.result_fields())
    assert [each.result_fields() for each in again.points.values()] == [
        each.result_fields() for each in found.points.values()
    ]


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 4))
def test_each_rung_leaves_one_in_eta_rounded_up(count, eta, rungs):
    halving = {"rungs": list(range(1, rungs + 1)), "eta": eta}
    points = [{"name": f"p{number}"} for number in range(count)]
    rounds = experiment({"points": points, "halving": halving}).rounds
    assert len(rounds) == rungs + 1
    assert rounds[0] == [f"p{number}" for number in range(count)]
    for before, after in pairwise(rounds):
        assert 0 <= len(after) * eta - len(before) < eta
    assert rounds[1][0] == "rung-2-place-1"


def test_the_sweep_of_a_scan_line_transformer_can_be_written_down():
    """Eight named points over weight decay and dropout, as a person once ran them by hand."""
    runs = {
        "no_wd_control": (0.0, 0.1), "baseline": (0.01, 0.1), "wd05_drop10": (0.05, 0.1),
        "wd10_drop15": (0.1, 0.15), "wd01_drop15": (0.01, 0.15), "wd05_drop15": (0.05, 0.15),
        "wd01_drop20": (0.01, 0.2), "wd05_drop20": (0.05, 0.2),
    }  # fmt: skip
    keys = ("optimizer.weight_decay", "model.options.proj_drop_rate")
    points = [{"name": name, **dict(zip(keys, v, strict=True))} for name, v in runs.items()]
    recipe = {
        "model": {"name": "vit_tiny_patch16_224", "options": {"img_size": 8, "patch_size": 2}},
        "optimizer": {"name": "adamw", "learning_rate": 1e-4},
        "schedule": {"name": "cosine", "warmup": {"epochs": 5}},
        "epochs": 50,
        "batch_size": 32,
        "export": "best",
        "monitor": "val_accuracy",
    }
    found = experiment({"points": points}, recipe)
    assert {
        name: tuple(values_at(point, list(keys)).values()) for name, point in found.points.items()
    } == runs
    assert all(point.model.options["img_size"] == 8 for point in found.points.values())


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        (
            {"grid": {"optimizer.lerning_rate": [0.1]}},
            ("sweep", "'optimizer.lerning_rate'", "'optimizer.learning_rate'"),
        ),
        (
            {"points": [{"weight_decay": 0.1}]},
            ("sweep", "'weight_decay'", "'optimizer.weight_decay'"),
        ),
        ({"griid": {}}, ("sweep.griid", "'grid'")),
        (
            {"grid": {"optimizer.learning_rate": [0.1, "x"]}},
            ("sweep", "'learning_rate-x'", "'optimizer.learning_rate'", "number", "found 'x'"),
        ),
        (
            {"grid": {"loss.tau": [1.0]}},
            ("sweep", "'tau-1'", "'loss.tau'"),
        ),
        (
            {"grid": {"workers": [0, 2]}},
            ("sweep", "'workers' cannot be swept"),
        ),
        (
            {"grid": {"monitor": ["val_loss"]}},
            ("sweep", "'monitor' cannot be swept"),
        ),
        ({}, ("sweep", "'grid' and 'points'", "found none")),
        (
            {"grid": {"epochs": [1]}, "points": []},
            ("sweep", "'grid' and 'points'", "found both"),
        ),
        ({"grid": {}}, ("sweep", "empty", "grid", "point")),
        ({"grid": {"epochs": []}}, ("sweep", "grid.epochs")),
        ({"grid": {"epochs": 3}}, ("sweep.grid.epochs", "list", "found 3")),
        (
            {"grid": {"normalize": [True, True]}},
            ("sweep", "two points", "'normalize-true'", "'points'"),
        ),
        (
            {"points": [{"name": "a b"}]},
            ("sweep", "'a b'", "100", "'_', '-' and '.'", "'points'"),
        ),
        (
            {"points": [{"name": "rung-2-place-1"}]},
            ("sweep", "'rung-2-place-1' is reserved"),
        ),
        (
            {"points": [{"loss": {"name": "focal"}, "loss.gamma": 1}]},
            ("sweep", "'loss' and 'loss.gamma'"),
        ),
        (
            {"grid": {"normalize": [True]}, "halving": {"rungs": [5, 3]}},
            ("sweep.halving", "rungs", "found [5, 3]"),
        ),
        (
            {"grid": {"epochs": [5, 10]}, "halving": {"rungs": [5]}},
            ("sweep", "halving.rungs holds 5", "below the 5 epochs", "'epochs-5'"),
        ),
        (
            {"grid": {"validate_every": [2]}, "halving": {"rungs": [5]}},
            ("sweep", "halving.rungs holds 5", "'validate_every-2'", "validate_every (2)"),
        ),
    ],
)
def test_errors_are_one_sentence_that_names_the_key_and_the_value(sweep, expected):
    assert_mistakes([mistake(sweep)], [expected])


def test_points_that_cannot_be_compared_are_refused():
    grid = {"grid": {"normalize": [True, False]}}
    assert_mistakes([mistake(grid, {})], [("sweep", "'last'", "'export: best'")])
    losses = {"grid": {"loss.name": ["cross_entropy", "balanced_softmax"]}}
    experiment(losses)
    assert_mistakes(
        [mistake(losses, {**RECIPE, "monitor": "val_loss"})], [("sweep", "monitor", "'val_loss'")]
    )


def test_names_of_experts_and_points_are_apart():
    grid = {"grid": {"normalize": [True]}}
    for sweep, name, owner in (
        (grid, "winner", "reserved for sweeps"),
        (grid, "normalize-true", "a point of the sweep"),
        (None, "stacked", "an ensemble"),
    ):
        line = mistake(sweep, experts={name: {}})
        assert_mistakes([line], [("experts", f"'{name}'", owner)])
    assert_mistakes([mistake(None)], [("experts", "'sweep'")])


def test_values_of_keys_that_a_recipe_has_not_are_none():
    keys = ["model.options.depth", "optimizer.learning_rate", "loss.gamma.x"]
    assert list(values_at(Recipe(), keys).values()) == [None, 0.1, None]
