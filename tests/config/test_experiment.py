import copy
import json
import re
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field, ValidationError

from tailproof.config.base import Name, Strict
from tailproof.config.equivalence import same_function
from tailproof.config.experiment import Experiment
from tailproof.config.json_schema import schema
from tailproof.config.lint import warnings
from tailproof.config.merge import merge
from tailproof.config.messages import explain_errors
from tailproof.config.validation import load_config, load_experiment, parse_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.data.sources import SOURCES as REGISTERED
from tailproof.monitors import MONITORS
from tailproof.project import PIPELINE as ROOT
from tailproof.runtime.errors import TailproofError
from tests.config.minimal import MINIMAL, assert_mistakes, changed, mistakes

SHIPPED = sorted((ROOT / "config" / "experiments").glob("*.yaml"))

MONITOR_NAMES = [repr(name) for name in MONITORS]
SOURCES = ", ".join(sorted(REGISTERED))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads_and_loads_again_from_its_plain_form(path):
    experiment = load_experiment(path)
    assert parse_experiment(experiment.model_dump(mode="json")) == experiment
    shown = 1 if path.stem == "imagenet_fixres" else 0  # a faulty schedule, to compare with
    assert len(warnings(experiment)) == shown


def test_the_shipped_list_of_experiments_loads():
    assert load_config(ROOT / "config" / "config.yaml").experiments == ["digits_lt"]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"expert": {}}, [("expert", "'experts'")]),
        (
            {"recipe": {"optimizer": {"lerning_rate": 0.1}}},
            [("recipe.optimizer.lerning_rate", "'learning_rate'")],
        ),
        (
            {"experts": {"a": {"loss": {"name": "logit_adjustment", "ta": 1}}}},
            [("experts.a.loss.ta", "'tau'")],
        ),
        (
            {"recipe": {"augmentation": {"albumentations": [{"name": "D4"}, {"nam": "B"}]}}},
            [
                ("recipe.augmentation.albumentations.1.name",),
                ("recipe.augmentation.albumentations.1.nam", "'name'"),
            ],
        ),
        (
            {"data": {"source": {"name": "digit"}}},
            [("data.source.name", "'digit'", "'digits'", SOURCES)],
        ),
        (
            {"data": {"source": {"root": "raw"}}},
            [("data.source.name", SOURCES)],
        ),
        ({"data": {"source": {"name": "idx"}}}, [("data.source.root",)]),
        ({"data": 3}, [("data", "3")]),
        ({"title": None}, [("title", "nothing")]),
        (
            {"experts": {}},
            [("experts", "'sweep'")],
        ),
        (
            {"experts": {"a b": {}}},
            [("experts.a b", "'_', '-' and '.'", "found 'a b'")],
        ),
        ({"experts": {"a": 5}}, [("experts.a", "5")]),
        ({"recipe": 5}, [("recipe", "5")]),
        ({"seeds": [2, 1, 1]}, [("seeds", "seed 1 ")]),
        ({"seeds": [-1]}, [("seeds.0", "0", "found -1")]),
        (
            {"evaluation": {"many_shot": 5, "few_shot": 6}},
            [("evaluation", "few_shot is 6", "many_shot (5)")],
        ),
        (
            {"recipe": {"schedule": {"name": "cosine", "warmup": {"epochs": 1, "steps": 1}}}},
            [("recipe.schedule.warmup", "'epochs'", "'steps'")],
        ),
    ],
)
def test_errors_name_the_field_the_value_and_what_to_do(sections, expected):
    assert_mistakes(mistakes(changed(**sections)), expected)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", "5", ["integer", "found '5'"]),
        ("epochs", True, ["integer", "found True"]),
        ("epochs", 2.5, ["integer", "found 2.5"]),
        ("epochs", 0, ["1", "found 0"]),
        ("channels_last", 1, ["boolean", "found 1"]),
        ("cache_gb", float("nan"), ["finite", "found nan"]),
        ("precision", "fp8", ["'fp32'", "'bf16'", "'fp16'", "'auto'", "found 'fp8'"]),
        ("early_stopping", 3, ["mapping", "found 3"]),
        ("epochs", None, ["integer", "found nothing"]),
        ("monitor", "train_loss", [*MONITOR_NAMES, "found 'train_loss'"]),
        ("monitor", ["val_loss"], MONITOR_NAMES),
    ],
)
def test_values_of_another_type_are_refused_not_converted(field, value, expected):
    assert_mistakes(mistakes(changed(recipe={field: value})), [(f"recipe.{field}", *expected)])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("equal", ("", "'balanced'", "list", "found 'equal'")),
        ([1.0, -2.0], (".1", "0", "found -2.0")),
        ({"effective_number": 1}, (".effective_number", "1", "found 1")),
    ],
)
def test_an_error_in_a_field_of_several_types_is_reported_once(weights, expected):
    value = changed(recipe={"loss": {"name": "cross_entropy", "class_weights": weights}})
    ending, *values = expected
    assert_mistakes(mistakes(value), [(f"recipe.loss.class_weights{ending}", *values)])


def test_a_section_without_a_name_is_the_default_variant_and_its_errors_are_reported_once():
    experts = {"a": {}, "b": {"epochs": 3}}
    section = {"schedule": {"warmup": {"steps": 5}}}
    experiment = parse_experiment(changed(recipe=section, experts=experts))
    assert experiment.recipe.schedule.name == "cosine"
    assert experiment.experts["b"].schedule == experiment.recipe.schedule
    lines = mistakes(changed(recipe={"schedule": {"warmpu": {}}}, experts=experts))
    assert_mistakes(lines, [("recipe.schedule.warmpu", "'warmup'")])


def test_more_worst_errors_than_evaluate_writes_are_refused():
    assert parse_experiment(changed(report={"worst_errors": 48})).report.worst_errors == 48
    (mistake,) = mistakes(changed(report={"worst_errors": 49}))
    assert mistake.startswith("'report.worst_errors' ")


def test_an_error_in_the_recipe_is_not_repeated_for_each_expert():
    recipe = {"epochs": 0, "optimizer": {"nam": "sgd"}, "mixing": {"mixup": 0.2}}
    experts = {"a": {}, "b": {"epochs": 3}, "c": {"epochs": -1}}
    assert_mistakes(
        mistakes(changed(recipe=recipe, experts=experts)),
        [
            ("recipe.optimizer.nam", "'name'"),
            ("recipe.epochs", "1", "found 0"),
            ("experts.c.epochs", "1", "found -1"),
        ],
    )
    assert_mistakes(
        mistakes(changed(recipe={"mixing": {"mixup": 0.2}}, experts=experts | {"c": {}})),
        [("recipe", "mixup", "drop_last: true", "batch_size", "multiple of 2,")],
    )


def test_experts_start_from_the_recipe_and_a_new_variant_replaces_its_section():
    experiment = parse_experiment(
        changed(
            recipe={
                "epochs": 7,
                "loss": {"name": "focal", "gamma": 3},
                "optimizer": {"learning_rate": 0.5, "momentum": 0.8},
                "schedule": {"name": "cosine", "min_lr": 0.1, "warmup": {"epochs": 2}},
            },
            experts={
                "plain": None,
                "other_gamma": {"loss": {"gamma": 1}},
                "other_loss": {"loss": {"name": "logit_adjustment"}},
                "same_optimizer": {"optimizer": {"name": "sgd", "momentum": 0.7}},
                "adam": {"optimizer": {"name": "adamw"}, "schedule": {"warmup": None}},
            },
        )
    )
    experts = experiment.experts
    assert experts["plain"] == experiment.recipe
    assert {recipe.epochs for recipe in experts.values()} == {7}
    assert experts["other_gamma"].loss.model_dump() == {
        "name": "focal",
        "gamma": 1,
        "class_weights": None,
    }
    assert experts["other_loss"].loss.model_dump() == {"name": "logit_adjustment", "tau": 1.0}
    assert experts["same_optimizer"].optimizer.learning_rate == 0.5
    assert experts["same_optimizer"].optimizer.momentum == 0.7
    assert experts["adam"].optimizer.learning_rate == 0.1
    assert experts["adam"].schedule.min_lr == 0.1
    assert experts["adam"].schedule.warmup is None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abz_1 ", max_size=5), inner)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=3), PLAIN), st.dictionaries(st.text(max_size=3), PLAIN))
def test_merge_keeps_what_is_not_changed_and_leaves_its_arguments_alone(base, changes):
    before = repr((base, changes))
    merged = merge(base, changes)
    assert repr((base, changes)) == before
    assert set(merged) == set(base) | set(changes)
    assert all(merged[key] is base[key] for key in set(base) - set(changes))
    assert repr(merge(merged, changes)) == repr(merged)


def paths(value, prefix=()):
    yield prefix
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*prefix, key))


FULL = json.loads((parse_experiment(MINIMAL)).model_dump_json())


@given(st.sampled_from(list(paths(FULL))[1:]), PLAIN | st.sampled_from([{}, [], "x", -1, 1e9]))
def test_whatever_stands_in_a_field_it_loads_or_is_explained(path, value):
    broken = copy.deepcopy(FULL)
    node = broken
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    try:
        experiment = parse_experiment(broken)
    except TailproofError as error:
        fields = re.findall(r"^(?:the configuration:)?\s*'([^']*)' ", str(error), flags=re.M)
        assert fields, error
        start = ".".join(path)
        fields = [re.sub(r"^experts\.one\b", "recipe", field) for field in fields]
        start = re.sub(r"^experts\.one\b", "recipe", start)
        assert all(f.startswith(start) or start.startswith(f) for f in fields), (path, fields)
    else:
        assert parse_experiment(experiment.model_dump(mode="json")) == experiment


def test_experts_that_are_one_function_are_named():
    losses = {
        "bs": {"name": "balanced_softmax"},
        "la": {"name": "logit_adjustment", "tau": 1},
        "la2": {"name": "logit_adjustment", "tau": 2},
        "la0": {"name": "logit_adjustment", "tau": 0},
        "ce": {"name": "cross_entropy"},
        "smooth": {"name": "cross_entropy", "label_smoothing": 0.1},
        "focal0": {"name": "focal", "gamma": 0},
        "weighted_focal0": {"name": "focal", "gamma": 0, "class_weights": "balanced"},
        "weighted": {"name": "cross_entropy", "class_weights": "balanced"},
    }
    experts = {name: {"loss": loss} for name, loss in losses.items()}
    experts["longer"] = {"loss": losses["bs"], "epochs": 3}
    found = warnings(parse_experiment(changed(experts=experts)))
    assert [re.findall(r"'(\w+)'", text) for text in found] == [
        ["bs", "la"],
        ["la0", "ce"],
        ["la0", "focal0"],
        ["weighted_focal0", "weighted"],
    ]


def test_same_function_changes_nothing_else():
    recipe = parse_experiment(MINIMAL).recipe
    assert same_function(recipe) == recipe


def test_the_schema_on_disk_is_the_models():
    stored = json.loads((ROOT / "config" / "schema.json").read_text())
    assert stored == schema(), "run `make schema`"


def test_the_schema_takes_what_is_shipped_and_refuses_unknown_keys_everywhere():
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema())
    for path in SHIPPED:
        validator.validate(read_yaml(path))
    for spoilt in (changed(extra=1), changed(recipe={"epoch": 1}), changed(experts={"a b": {}})):
        assert not validator.is_valid(spoilt)
    closed = [
        node
        for node in [schema(), *schema()["$defs"].values(), schema()["properties"]["experts"]]
        if node.get("type") == "object"
    ]
    assert len(closed) > 20
    assert all(node["additionalProperties"] is False for node in closed)


def test_a_configuration_cannot_be_changed():
    experiment = Experiment(**MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        experiment.title = "other"


def test_only_a_wrong_name_is_explained_as_a_name():
    class File(Strict):
        expert: Name
        digest: Annotated[str, Field(pattern="^[0-9a-f]{4}$")]

    with pytest.raises(ValidationError) as error:
        File(expert="-a", digest="XYZ")
    expert, digest = explain_errors(error.value, File)
    assert "name" in expert and "'-a'" in expert
    assert "name" not in digest and "[0-9a-f]{4}" in digest and "'XYZ'" in digest
