import copy
import json
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tailproof.core.config.experiment import Experiment
from tailproof.core.config.forms import same_function
from tailproof.core.config.load import (
    load_config,
    load_experiment,
    parse_config,
    parse_experiment,
)
from tailproof.core.config.merge import merge
from tailproof.core.config.read import read_yaml
from tailproof.core.config.recipe import Monitor
from tailproof.core.config.schema import schema
from tailproof.core.config.warnings import warnings
from tailproof.core.errors import TailproofError
from tailproof.provenance.closure import ROOT

SHIPPED = sorted((ROOT / "config" / "experiments").glob("*.yaml"))

MINIMAL = {"title": "t", "data": {"source": {"name": "digits"}}, "experts": {"one": {}}}
MONITORS = ", ".join(map(repr, get_args(Monitor)[:-1])) + f" or {get_args(Monitor)[-1]!r}"


def changed(**sections):
    return {**copy.deepcopy(MINIMAL), **sections}


def mistakes(value):
    with pytest.raises(TailproofError) as caught:
        parse_experiment(value, "x.yaml")
    text = str(caught.value)
    assert text.startswith("x.yaml:")
    return [line.strip() for line in text.removeprefix("x.yaml:").strip().splitlines()]


@pytest.fixture
def write(tmp_path):
    def write(text, name="x.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


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
        ({"expert": {}}, ["'expert' is not a known key (did you mean 'experts'?)"]),
        (
            {"recipe": {"optimizer": {"lerning_rate": 0.1}}},
            ["'recipe.optimizer.lerning_rate' is not a known key (did you mean 'learning_rate'?)"],
        ),
        (
            {"experts": {"a": {"loss": {"name": "logit_adjust", "ta": 1}}}},
            ["'experts.a.loss.ta' is not a known key (did you mean 'tau'?)"],
        ),
        (
            {"recipe": {"augmentation": {"albumentations": [{"name": "A"}, {"nam": "B"}]}}},
            [
                "'recipe.augmentation.albumentations.1.name' is missing",
                "'recipe.augmentation.albumentations.1.nam' is not a known key"
                " (did you mean 'name'?)",
            ],
        ),
        (
            {"data": {"source": {"name": "digit"}}},
            [
                "'data.source.name' is 'digit' (did you mean 'digits'?); known: "
                "cifar10, cifar100, digits, idx, image_folder, lens, metadata_csv, parquet, "
                "scan_lines"
            ],
        ),
        (
            {"data": {"source": {"root": "raw"}}},
            [
                "'data.source.name' is missing; known: cifar10, cifar100, digits, idx, "
                "image_folder, lens, metadata_csv, parquet, scan_lines"
            ],
        ),
        ({"data": {"source": {"name": "idx"}}}, ["'data.source.root' is missing"]),
        ({"data": 3}, ["'data' should be a mapping of keys, found 3"]),
        ({"title": None}, ["'title' should be a valid string, found None"]),
        (
            {"experts": {}},
            ["'experts' should name at least one expert, where there is no 'sweep'"],
        ),
        (
            {"experts": {"a b": {}}},
            ["'experts.a b' should be a name of letters, digits, '_', '-' and '.', found 'a b'"],
        ),
        ({"experts": {"a": 5}}, ["'experts.a' should be a mapping of keys, found 5"]),
        ({"recipe": 5}, ["'recipe' should be a mapping of keys, found 5"]),
        ({"seeds": [0, 1, 0]}, ["'seeds' is wrong: a seed is named twice"]),
        ({"seeds": [-1]}, ["'seeds.0' should be greater than or equal to 0, found -1"]),
        (
            {"evaluation": {"many": 5, "few": 6}},
            ["'evaluation' is wrong: few (6) is larger than many (5)"],
        ),
        (
            {"recipe": {"schedule": {"name": "cosine", "warmup": {"epochs": 1, "steps": 1}}}},
            ["'recipe.schedule.warmup' is wrong: give 'epochs' or 'steps', exactly one of them"],
        ),
    ],
)
def test_mistakes_are_told_with_field_finding_and_remedy(sections, expected):
    assert mistakes(changed(**sections)) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", "5", "should be a valid integer, found '5'"),
        ("epochs", True, "should be a valid integer, found True"),
        ("epochs", 2.5, "should be a valid integer, found 2.5"),
        ("epochs", 0, "should be greater than or equal to 1, found 0"),
        ("channels_last", 1, "should be a valid boolean, found 1"),
        ("memory_budget_gb", float("nan"), "should be a finite number, found nan"),
        ("precision", "fp8", "should be 'fp32', 'bf16', 'fp16' or 'auto', found 'fp8'"),
        ("early_stopping", 3, "should be a mapping of keys, found 3"),
        (
            "monitor",
            "train_loss",
            f"should be {MONITORS}, found 'train_loss'",
        ),
        (
            "monitor",
            ["val_loss"],
            f"should be {MONITORS}",
        ),
    ],
)
def test_values_of_another_type_are_refused_not_converted(field, value, expected):
    assert mistakes(changed(recipe={field: value})) == [f"'recipe.{field}' {expected}"]


def of_phases(*starts, **first):
    return [{"from_epoch": start} for start in starts[:1]] + [
        {"from_epoch": start, **first} for start in starts[1:]
    ]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (
            {"phases": of_phases(0)},
            "'recipe.phases.0.from_epoch' should be greater than or equal to 1, found 0",
        ),
        (
            {"phases": of_phases(3, 9)},
            "'recipe' is wrong: the first phase starts at epoch 3: set its from_epoch to 1",
        ),
        (
            {"phases": of_phases(1, 9, 5)},
            "'recipe' is wrong: phase 3 starts at epoch 5, phase 2 at 9: each lasts until the next "
            "one starts, so name them in the order of their epochs, no two from the same",
        ),
        (
            {"phases": of_phases(1, 9, 9)},
            "'recipe' is wrong: phase 3 starts at epoch 9, phase 2 at 9: each lasts until the next "
            "one starts, so name them in the order of their epochs, no two from the same",
        ),
        (
            {"phases": of_phases(1, 31), "epochs": 30},
            "'recipe' is wrong: phase 2 starts at epoch 31, after the last: raise epochs, which is "
            "30, or leave it out",
        ),
        (
            {"phases": of_phases(1, 2, batch_size=30), "devices": 4},
            "'recipe' is wrong: phase 2: batch_size is the batch of all processes together: 30 "
            "cannot be shared by 4 devices on 1 nodes",
        ),
        (
            {"phases": of_phases(1, 2, mixing={"mixup": 0.2})},
            "'recipe' is wrong: phase 2: mixup and cutmix pair images: set 'drop_last: true', a "
            "batch_size that divides by 2",
        ),
        (
            {"phases": [{"from_epoch": 1, "imagesize": 4}]},
            "'recipe.phases.0.imagesize' is not a known key (did you mean 'image_size'?)",
        ),
        (
            {"phases": [{"image_size": 4}]},
            "'recipe.phases.0.from_epoch' is missing",
        ),
        (
            {"evaluation_size": 0},
            "'recipe.evaluation_size' should be greater than or equal to 1, found 0",
        ),
    ],
)
def test_phases_that_do_not_fit_are_told(recipe, expected):
    assert mistakes(changed(recipe=recipe)) == [expected]


def test_what_a_phase_leaves_out_is_the_recipe_s():
    recipe = {
        "image_size": 20,
        "batch_size": 64,
        "augmentation": {"flip": True},
        "phases": [
            {"from_epoch": 1, "image_size": 12},
            {"from_epoch": 5, "augmentation": {"cutout": 3}, "learning_rate_factor": 0.5},
        ],
    }
    found = parse_experiment(changed(recipe=recipe)).recipe
    first, second = found.timeline
    assert (first.image_size, second.image_size) == (12, 20)
    assert first.augmentation.flip and not second.augmentation.flip
    assert (first.batch_size, second.learning_rate_factor) == (64, 0.5)
    assert found.final_size == 20
    (only,) = parse_experiment(MINIMAL).recipe.timeline
    assert (only.from_epoch, only.image_size, only.batch_size) == (1, None, 128)


def test_both_schedules_of_the_case_can_be_said_and_the_faulty_one_is_flagged():
    """Sizes by epoch, counted from 0, of a run of 60 epochs; the faulty one ends with "eval"."""
    schedules = {
        "faulty": {0: (128, "train"), 10: (224, "train"), 50: (256, "eval")},
        "mended": {0: (160, "train"), 15: (224, "train"), 45: (256, "train")},
    }
    experts = {
        name: {
            "phases": [
                {"from_epoch": epoch + 1, "image_size": size}
                | ({"augmentation": {}} if transforms == "eval" else {})
                for epoch, (size, transforms) in schedule.items()
            ]
        }
        for name, schedule in schedules.items()
    }
    recipe = {"epochs": 60, "augmentation": {"flip": True}}
    expected = (
        "expert 'faulty': phase 3, from epoch 51, trains without augmentation, other phases with: "
        "to evaluate at another size, set 'evaluation_size'"
    )
    assert warnings(parse_experiment(changed(recipe=recipe, experts=experts))) == [expected]
    bare = parse_experiment(changed(recipe={"epochs": 60}, experts=experts))
    assert warnings(bare) == [], "no phase has augmentation: nothing was switched off"
    twice = experts | {"again": experts["faulty"] | {"epochs": 61}}
    found = warnings(parse_experiment(changed(recipe=recipe, experts=twice)))
    assert found == [expected.replace("expert 'faulty'", "experts 'faulty', 'again'")]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("equal", "' should be 'balanced' or should be a valid list, found 'equal'"),
        ([1.0, -2.0], ".1' should be greater than 0, found -2.0"),
    ],
)
def test_a_field_of_several_types_is_told_once(weights, expected):
    value = changed(recipe={"loss": {"name": "cross_entropy", "class_weights": weights}})
    assert mistakes(value) == ["'recipe.loss.class_weights" + expected]


def test_a_section_without_a_name_is_the_default_s_variant_with_its_mistakes_told_once():
    experts = {"a": {}, "b": {"epochs": 3}}
    section = {"schedule": {"warmup": {"steps": 5}}}
    experiment = parse_experiment(changed(recipe=section, experts=experts))
    assert experiment.recipe.schedule.name == "cosine"
    assert experiment.experts["b"].schedule == experiment.recipe.schedule
    assert mistakes(changed(recipe={"schedule": {"warmpu": {}}}, experts=experts)) == [
        "'recipe.schedule.warmpu' is not a known key (did you mean 'warmup'?)"
    ]


def test_a_mistake_in_the_recipe_is_not_told_again_for_each_expert():
    recipe = {"epochs": 0, "optimizer": {"nam": "sgd"}, "mixing": {"mixup": 0.2}}
    experts = {"a": {}, "b": {"epochs": 3}, "c": {"epochs": -1}}
    assert mistakes(changed(recipe=recipe, experts=experts)) == [
        "'recipe.optimizer.nam' is not a known key (did you mean 'name'?)",
        "'recipe.epochs' should be greater than or equal to 1, found 0",
        "'experts.c.epochs' should be greater than or equal to 1, found -1",
    ]
    assert mistakes(changed(recipe={"mixing": {"mixup": 0.2}}, experts=experts | {"c": {}})) == [
        "'recipe' is wrong: mixup and cutmix pair images: set 'drop_last: true', a batch_size "
        "that divides by 2"
    ]


def test_experts_start_from_the_recipe_and_a_new_variant_replaces_its_section():
    experiment = parse_experiment(
        changed(
            recipe={
                "epochs": 7,
                "loss": {"name": "focal", "gamma": 3},
                "optimizer": {"learning_rate": 0.5, "momentum": 0.8},
                "schedule": {"name": "cosine", "minimum": 0.1, "warmup": {"epochs": 2}},
            },
            experts={
                "plain": None,
                "other_gamma": {"loss": {"gamma": 1}},
                "other_loss": {"loss": {"name": "logit_adjust"}},
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
    assert experts["other_loss"].loss.model_dump() == {"name": "logit_adjust", "tau": 1.0}
    assert experts["same_optimizer"].optimizer.learning_rate == 0.5
    assert experts["same_optimizer"].optimizer.momentum == 0.7
    assert experts["adam"].optimizer.learning_rate == 0.1
    assert experts["adam"].schedule.minimum == 0.1
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


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_a_file_without_keys_is_refused(value):
    kind = type(value).__name__
    with pytest.raises(TailproofError, match=f"holds {kind}, expected a mapping of keys"):
        parse_experiment(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5e3),
        ("-1.5e+2", -150.0),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("0.1", 0.1),
        ("20", 20),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e-4x", "1e-4x"),
        ("'1e-4'", "1e-4"),
    ],
)
def test_numbers_with_an_exponent_are_numbers(write, text, value):
    read = read_yaml(write(f"x: {text}\n"))["x"]
    assert (read, type(read)) == (value, type(value))


def test_merge_keys_and_anchors_work(write):
    text = "a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  x: 3\nc: {<<: *b, y: 4}\n'1': q\n1: r\n"
    assert read_yaml(write(text)) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 3, "y": 4},
        "1": "q",
        1: "r",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", r"x\.yaml, line 3: the key 'a' is given twice: keep one"),
        ("a:\n  c: 1\n  'c': 2\n", r"x\.yaml, line 3: the key 'c' is given twice"),
        ("a: {b: 1, b: 1}\n", r"x\.yaml, line 1: the key 'b' is given twice"),
        ("a: [1\nb: 2\n", r"x\.yaml, line 2: not valid YAML: "),
        ("a: !!python/object/apply:os.getcwd []\n", r"x\.yaml, line 1: not valid YAML: could not"),
        ("? [a, b]\n: 1\n", r"x\.yaml, line 1: not valid YAML: found unhashable key"),
        ("a: \x01\n", r"x\.yaml is not valid YAML: "),
        (b"a: \xff\n", r"x\.yaml is not UTF-8 text"),
    ],
)
def test_broken_yaml_is_named_with_its_line(write, text, expected):
    with pytest.raises(TailproofError, match=expected):
        read_yaml(write(text))


def test_a_missing_experiment_suggests_the_one_meant(write):
    path = write("title: t\n", "experiments/digits_lt.yaml")
    with pytest.raises(TailproofError, match=r"digit_lt\.yaml does not exist \(did you mean 'dig"):
        load_experiment(path.with_name("digit_lt.yaml"))
    with pytest.raises(TailproofError, match=r"experiments cannot be read: Is a directory"):
        load_experiment(path.parent)
    with pytest.raises(TailproofError, match=r"absent\.yaml does not exist"):
        read_yaml(path.with_name("absent.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("experiment: [a]\n", "'experiments' is missing"),
        ("experiments: [a]\nextra: 1\n", "'extra' is not a known key"),
        ("experiments: []\n", "'experiments' should have at least 1 item"),
        ("experiments: a\n", "'experiments' should be a valid list, found 'a'"),
        ("experiments: [a, b/c]\n", "'experiments.1' should be a name of letters"),
        ("experiments: [b]\n", r"experiments/b\.yaml does not exist"),
        ("experiments: [aa]\n", r"experiments/aa\.yaml does not exist \(did you mean 'a'\?\)"),
    ],
)
def test_the_list_of_experiments_is_checked(write, text, expected):
    write("", "experiments/a.yaml")
    with pytest.raises(TailproofError, match=expected):
        load_config(write(text, "config.yaml"))


def test_the_list_of_experiments_can_come_from_the_workflow(write):
    write("", "experiments/a.yaml")
    path = write("experiments: [a]\n", "config.yaml")
    assert parse_config({"experiments": ["a"]}, path) == load_config(path)


def test_experts_that_are_one_function_are_named():
    losses = {
        "bs": {"name": "balanced_softmax"},
        "la": {"name": "logit_adjust", "tau": 1},
        "la2": {"name": "logit_adjust", "tau": 2},
        "la0": {"name": "logit_adjust", "tau": 0},
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
    recipe = parse_experiment(MINIMAL).recipe.model_dump(mode="json")
    assert same_function(recipe) == recipe


def test_the_schema_on_disk_is_the_models():
    found = json.loads((ROOT / "config" / "schema.json").read_text())
    assert found == schema(), "run `make schema`"


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
