"""The rules of the recipe that `tailproof import` writes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.experiment import Experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.config.yaml_writer import dump_commented
from tailproof.importer.collection import Pictures
from tailproof.importer.recipe import (
    FEW_EPOCHS,
    MANY_EPOCHS,
    design_evaluation,
    design_experts,
    design_recipe,
    positive_class,
)
from tailproof.preflight.checks.learning_rate import usual_rates

NAMES = st.text(min_size=1, max_size=8)
COUNTS = st.dictionaries(NAMES, st.integers(1, 10**6), min_size=2, max_size=12)
SIZES = st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=5)


def pictures(*sizes, colour=True) -> Pictures:
    return Pictures(list(sizes), 0, colour, {})


@settings(max_examples=25)
@given(COUNTS, SIZES)
def test_every_recipe_is_valid_and_its_rate_is_usual(counts, sizes):
    train = Counter(counts)
    recipe = design_recipe(train, pictures(*sizes)).values
    experts, _ = design_experts(train)
    evaluation, _ = design_evaluation(train) or ({}, "")
    experiment = Experiment.model_validate(
        {
            "title": "x",
            "data": {"source": {"name": "digits"}},
            "recipe": recipe,
            "experts": experts,
            "evaluation": evaluation,
        }
    )
    low, high, _ = usual_rates(experiment.recipe, experiment.recipe.batch_size)
    assert low <= experiment.recipe.optimizer.learning_rate <= high
    assert FEW_EPOCHS <= experiment.recipe.epochs <= MANY_EPOCHS
    assert experiment.recipe.schedule.warmup.epochs >= 1
    assert len(experiment.experts) == 2


@pytest.mark.parametrize(
    ("count", "side", "network", "size"),
    [
        (50, 8, "cifar_resnet20", 8),
        (50_000, 32, "cifar_resnet32", 32),
        (200, 60, "resnet10t", 64),
        (10_000, 640, "resnet18", 96),
        (50_000, 640, "resnet18", 128),
        (50_000, 100, "resnet18", 96),
        (10**6, 480, "resnet50", 224),
    ],
)
def test_network_and_size_follow_from_pictures(count, side, network, size):
    recipe = design_recipe(Counter(a=count - 10, b=10), pictures((side, side + 9))).values
    assert (recipe["model"]["name"], recipe["image_size"]) == (network, size)


def test_more_pictures_mean_fewer_epochs():
    sizes = pictures((64, 64))
    epochs = [design_recipe(Counter(a=n, b=n), sizes).values["epochs"] for n in (10, 4_000, 10**6)]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] > epochs[-1]


@pytest.mark.parametrize(
    ("names", "mirrored"),
    [
        ("cat dog fox", True),
        ("0 1 2", False),
        ("A B C", False),
        ("turn_left turn_right stop", False),
    ],
)
def test_signs_are_not_mirrored(names, mirrored):
    recipe = design_recipe(Counter(dict.fromkeys(names.split(), 9)), pictures((28, 28))).values
    assert ("flip" in recipe["augmentation"]) is mirrored


@pytest.mark.parametrize(
    ("counts", "positive"),
    [
        ({"no": 5, "yes": 9}, "yes"),
        ({"NORMAL": 5, "PNEUMONIA": 90}, "PNEUMONIA"),
        ({"benign": 9, "malignant": 5}, "malignant"),
        ({"0": 5, "1": 9}, "1"),
        ({"dog": 4, "cat": 9}, "dog"),
        ({"a": 1, "b": 2, "c": 3}, None),
    ],
)
def test_the_positive_class_is_the_one_to_find(counts, positive):
    assert (positive_class(Counter(counts)) or (None, ""))[0] == positive


def test_balanced_classes_need_no_loss_for_a_long_tail():
    assert "balanced_softmax" in design_experts(Counter(a=90, b=10))[0]
    assert "balanced_softmax" not in design_experts(Counter(a=12, b=10))[0]


def test_limits_of_classes_part_them():
    assert design_evaluation(Counter(a=500, b=50, c=5)) is None  # the defaults part them
    limits, _ = design_evaluation(Counter(a=9, b=5, c=4, d=1))
    assert 1 < limits["few_shot"] <= limits["many_shot"] < 9


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


LONG = st.text(min_size=90, max_size=200)
KEYS = st.sampled_from(("data", "model", "yes", "007"))


@settings(max_examples=40)
@given(
    st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES | LONG, max_size=3)),
    st.dictionaries(KEYS | st.just("data.model"), st.text(max_size=200)),
)
def test_what_is_written_is_read_as_it_was(tmp_path_factory, value, comments):
    file = tmp_path_factory.getbasetemp() / "written.yaml"
    file.write_text(dump_commented(value, comments), encoding="utf-8")
    assert (read_yaml(file) or {}) == value
