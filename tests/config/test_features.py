"""The section features of a recipe, and the name of stored features."""

from copy import deepcopy
from pathlib import Path

import pytest

from tailproof.config.features import backbones_by_key, deciding_fields, keys_for
from tailproof.config.recipe import pretrained_models
from tailproof.config.validation import parse_experiment
from tailproof.runtime.errors import TailproofError
from tests.project import TINY

RECIPE = {"model": {"name": "resnet18", "weights": "start.pth"}, "features": {"size": 96}}


def parsed(recipe: dict, data: dict | None = None):
    value = deepcopy(TINY)
    value["data"] |= data or {}
    value["recipe"], value["experts"] = recipe, {"only": {}}
    return parse_experiment(value)


def keys(recipe: dict = RECIPE, data: dict | None = None) -> list[str]:
    experiment = parsed(recipe, data)
    return list(backbones_by_key(experiment.data, [experiment.experts["only"]]))


def key(recipe: dict = RECIPE, data: dict | None = None) -> str:
    (only,) = keys(recipe, data)
    return only


@pytest.mark.parametrize(
    ("recipe", "field"),
    [
        ({"features": {}}, "model.weights"),
        (RECIPE | {"image_size": 64}, "features.size"),
        (RECIPE | {"eval_image_size": 64}, "features.size"),
        (RECIPE | {"augmentation": {"flip": True}}, "features.augmentation"),
        (RECIPE | {"phases": [{"from_epoch": 1, "image_size": 8}]}, "phases"),
        (RECIPE | {"channels_last": True}, "channels_last"),
        (RECIPE | {"compile": True}, "compile"),
        (RECIPE | {"activation_checkpointing": True}, "activation_checkpointing"),
        (RECIPE | {"sync_batchnorm": True}, "sync_batchnorm"),
        (RECIPE | {"mixing": {"cutmix": 1.0}, "drop_last": True}, "mixing.cutmix"),
        (RECIPE | {"features": {"layers": ["middle"]}}, "layers"),
        (RECIPE | {"features": {"layers": ["last", "last"]}}, "layers"),
        (RECIPE | {"features": {"layers": []}}, "layers"),
        (RECIPE | {"features": {"augmentation": {"flip": True}}}, "views"),
        (RECIPE | {"features": {"precision": "int8"}}, "precision"),
        (RECIPE | {"features": {"views": 128}}, "views"),
    ],
)
def test_what_makes_no_sense_for_a_head_is_refused(recipe, field):
    with pytest.raises(TailproofError) as refused:
        parsed(recipe)
    assert field in str(refused.value)


def test_an_expert_next_to_heads_may_be_a_network():
    value = deepcopy(TINY)
    value["recipe"] = RECIPE
    value["experts"] = {"head": {}, "network": {"features": None, "image_size": 64}}
    experiment = parse_experiment(value)
    assert not backbones_by_key(experiment.data, [experiment.experts["network"]])
    assert list(backbones_by_key(experiment.data, [experiment.experts["head"]])) == [key()]


HEADS = {"features": {}, "optimizer": {"weight_decay": 0.2}, "epochs": 3, "head": {"kind": "mlp"}}
NETWORKS = {"optimizer": {"weight_decay": 0.2}, "epochs": 3}


@pytest.mark.parametrize(
    ("recipe", "expert", "expected"),
    [
        (NETWORKS, {"features": {}}, ("linear", "adamw", 0.001, 5e-4, 20)),
        (NETWORKS, {"features": {}, "head": None}, ("linear", "adamw", 0.001, 5e-4, 20)),
        (
            NETWORKS,
            {"features": {}, "optimizer": {"weight_decay": 0.1}},
            ("linear", "adamw", 0.001, 0.1, 20),
        ),
        (NETWORKS, {"features": None}, (None, "sgd", 0.1, 0.2, 3)),
        (HEADS, {"features": None}, (None, "sgd", 0.1, 5e-4, 200)),
        (HEADS, {"features": None, "epochs": 4}, (None, "sgd", 0.1, 5e-4, 4)),
        (HEADS, {"features": {"size": 64}}, ("mlp", "adamw", 0.001, 0.2, 3)),
        (HEADS, {"head": None}, ("linear", "adamw", 0.001, 0.2, 3)),
    ],
)
def test_heads_and_networks_do_not_inherit_what_only_the_other_wants(recipe, expert, expected):
    value = deepcopy(TINY)
    value["recipe"] = {"model": RECIPE["model"]} | recipe
    value["experts"] = {"only": expert}
    found = parse_experiment(value).experts["only"]
    optimizer = found.optimizer
    assert expected == (
        found.head and found.head.kind,
        optimizer.name,
        optimizer.learning_rate,
        optimizer.weight_decay,
        found.epochs,
    )


def test_a_head_does_not_inherit_how_a_network_is_trained_on_images():
    value = deepcopy(TINY)
    value["recipe"] = {
        "model": RECIPE["model"],
        "loss": {"name": "balanced_softmax"},
        "schedule": {"name": "multistep", "milestones": [1]},
        "epochs": 9,
        "batch_size": 32,
        "image_size": 64,
        "augmentation": {"flip": True},
        "mixing": {"cutmix": 1.0},
        "drop_last": True,
        "phases": [{"from_epoch": 1, "augmentation": {"flip": False}}],
        "precision": "bf16",
        "channels_last": True,
        "validate_every": 9,
    }
    value["experts"] = {"network": {}, "head": {"features": {}}}
    experts = parse_experiment(value).experts
    assert experts["network"].augmentation.flip and experts["network"].precision == "bf16"
    head = experts["head"]
    assert head.loss.name == "balanced_softmax" and head.batch_size == 32
    assert not head.augmentation.flip and not head.mixing.cutmix and not head.channels_last
    assert (head.epochs, head.validate_every, head.precision) == (20, 1, "fp32")
    assert not head.phases and head.image_size is None and head.schedule.name == "cosine"


def test_points_of_a_sweep_over_features_are_heads():
    value = deepcopy(TINY)
    value["recipe"] = {"model": RECIPE["model"], "export": "best"}
    value["experts"] = {}
    value["sweep"] = {"grid": {"features.size": [64, 96]}}
    for point in parse_experiment(value).points.values():
        assert point.head.kind == "linear" and point.optimizer.name == "adamw"
        assert point.epochs == 20


@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        ({"loss": {"name": "balanced_softmax"}, "epochs": 3}, {}),
        ({"normalize": "backbone"}, {}),
        ({}, {"near_duplicates": "off"}),
        ({}, {"positive_class": "1", "max_bad_share": 0.5}),
    ],
)
def test_what_decides_no_feature_shares_them(recipe, data):
    assert key(RECIPE | recipe, data) == key()


def test_the_same_normalization_is_the_same_parameter_of_embed():
    """A new experiment that names the default does not make the features of others stale."""
    named, default = (parsed(RECIPE | change) for change in ({"normalize": "backbone"}, {}))
    assert named.recipe.normalize_as == default.recipe.normalize_as == "backbone"
    for normalize in (True, False):
        assert parsed(RECIPE | {"normalize": normalize}).recipe.normalize_as is normalize
    rule = Path(__file__).parents[2] / "rules" / "features.smk"
    assert "backbone_of_features, w.key).normalize," in rule.read_text()


@pytest.mark.parametrize(
    ("recipe", "data"),
    [
        ({"model": {"name": "resnet18", "weights": "other.pth"}}, {}),
        ({"model": {"name": "resnet18", "weights": "start.pth", "options": {"depth": 3}}}, {}),
        ({"normalize": True}, {}),
        ({"normalize": False}, {}),
        ({"features": {"size": 64}}, {}),
        ({"features": {"size": 96, "views": 2}}, {}),
        ({"features": {"size": 96, "precision": "bf16"}}, {}),
        ({"features": {"size": 96, "layers": ["last"]}}, {}),
        ({}, {"seed": 1}),
        ({}, {"shards_per_split": 2}),
        ({}, {"near_duplicates": "group"}),
        ({}, {"long_tail": {"kind": "natural"}}),
    ],
)
def test_what_decides_features_is_in_their_name(recipe, data):
    assert key(RECIPE | recipe, data) != key()


FURTHER = {"name": "cifar_resnet20", "weights": "further.pth", "size": 32}


def test_each_of_several_backbones_shares_its_features_with_those_who_have_it_alone():
    concat = RECIPE | {"features": {"size": 96, "views": 2, "concat": [FURTHER]}}
    alone = {"name": FURTHER["name"], "weights": FURTHER["weights"]}
    assert keys(concat) == [
        key(RECIPE | {"features": {"size": 96, "views": 2}}),
        key({"model": alone, "features": {"size": 32, "views": 2}}),
    ]
    raw = {"size": 96, "concat": [FURTHER | {"normalize": False, "layers": ["last"]}]}
    _, further = keys(RECIPE | {"features": raw, "normalize": True})
    assert further == key(
        {"model": alone, "normalize": False, "features": {"size": 32, "layers": ["last"]}}
    )
    (first, second) = pretrained_models([parsed(concat).experts["only"]]).values()
    assert (first.weights, second.weights) == ("start.pth", "further.pth")


def test_a_job_finds_the_features_of_its_recipe_in_the_order_of_its_backbones():
    orders = [
        {"model": {"name": "a", "weights": "a"}, "concat": [{"name": "b", "weights": "b"}]},
        {"model": {"name": "b", "weights": "b"}, "concat": [{"name": "a", "weights": "a"}]},
    ]
    recipes = [
        parsed({"model": one["model"], "features": {"concat": one["concat"]}}).experts["only"]
        for one in orders
    ]
    fields = deciding_fields(parsed(RECIPE).data, recipes)
    first, second = (keys_for(recipe, fields) for recipe in recipes)
    assert len(fields) == 2 and first == second[::-1]
    assert [name.split("--")[0] for name in first] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"concat": [{"name": "resnet18", "weights": "start.pth", "size": 96}]}, "concat[0]"),
        ({"concat": [FURTHER, FURTHER]}, "concat[1]"),
        ({"concat": [{"name": "cifar_resnet20"}]}, "weights"),
        ({"concat": [FURTHER | {"weights": None}]}, "weights"),
        ({"concat": [FURTHER | {"layers": ["middle"]}]}, "layers"),
        ({"concat": [FURTHER | {"layers": ["last", "last"]}]}, "layers"),
        ({"concat": [FURTHER | {"views": 2}]}, "views"),
        ({"concat": [FURTHER | {"weight": "x"}]}, "weight"),
        ({"concat": [FURTHER | {"weights": str(number)} for number in range(8)]}, "concat"),
        ({"concat": FURTHER}, "concat"),
    ],
)
def test_backbones_that_make_no_sense_are_refused(change, field):
    with pytest.raises(TailproofError) as refused:
        parsed(RECIPE | {"features": {"size": 96} | change})
    assert field in str(refused.value)


@pytest.mark.parametrize("kind", ["tau_norm", "lws"])
def test_a_classifier_of_one_of_several_backbones_is_not_rescaled(kind):
    with pytest.raises(TailproofError, match=r"head\.kind"):
        parsed(RECIPE | {"features": {"concat": [FURTHER]}, "head": {"kind": kind}})
