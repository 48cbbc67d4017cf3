"""Each finding, with a configuration that has it and one that has not."""

import re
from dataclasses import replace

import pytest
import yaml

from tailproof.config.merge import merge, merged_recipe
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import SEVERITIES
from tailproof.preflight import gate
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.findings import findings, validate_ignore
from tailproof.preflight.loss_effect import loss_effect
from tailproof.preflight.registry import KINDS
from tailproof.runtime.errors import TailproofError

LEVEL = {"a": 400, "b": 400, "c": 400}
TAIL = {"a": 1000, "b": 300, "c": 20}
RARE = {"event": 2000, "other": 200_000}

GOOD = {
    "model": {"name": "cifar_resnet20"},
    "loss": {"name": "balanced_softmax"},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "cosine", "warmup": {"epochs": 1.0}},
    "epochs": 20,
    "batch_size": 128,
    "augmentation": {"flip": True},
}
PHASES = [
    {"from_epoch": 1, "image_size": 16},
    {"from_epoch": 6, "image_size": 24},
    {"from_epoch": 16, "image_size": 32},
]
BARE = [*PHASES[:2], {**PHASES[2], "augmentation": {}}]
DEFERRED = [{"from_epoch": 1}, {"from_epoch": 16, "sampler": "class_aware"}]
REWEIGHTED = [
    {"from_epoch": 1},
    {"from_epoch": 16, "loss": {"name": "focal", "class_weights": "balanced"}},
]
CONSTANT = {"schedule": {"name": "constant"}}


def recipe(**changes) -> Recipe:
    return Recipe(**merged_recipe(GOOD, changes))


def facts(*changes: dict, **more) -> ExperimentFacts:
    recipes = {f"expert{number}": recipe(**own) for number, own in enumerate(changes or [{}])}
    train = more.pop("train", LEVEL)
    known = {
        "recipes": recipes,
        "train": train,
        "val": {name: 20 * count for name, count in train.items()},
        "samples": sum(train.values()),
        "row_groups": 4,
        "decoded_bytes": 1e6,
    }
    return ExperimentFacts(**known | more)


def rare(monitor: str, **more) -> ExperimentFacts:
    return facts({"monitor": monitor}, train=RARE, positive="event", **{"val": RARE} | more)


def workers(count: int) -> ExperimentFacts:
    return facts({"workers": count}, decoded_bytes=1e12)


TABLE = {
    "short_warmup": [
        ("warning", facts({"schedule": {"warmup": {"steps": 2, "epochs": None}}})),
        (None, facts({"schedule": {"warmup": {"steps": 20, "epochs": None}}})),
        (None, facts({"schedule": {"warmup": None}})),
        ("warning", facts({"model": {"name": "vit_tiny_patch16_224"}, **CONSTANT})),
        (None, facts({"model": {"name": "vit_tiny_patch16_224", "weights": "hub"}, **CONSTANT})),
    ],
    "unusual_rate": [
        ("warning", facts({"optimizer": {"learning_rate": 0.4}})),
        ("error", facts({"optimizer": {"learning_rate": 40.0}})),
        ("warning", facts({"optimizer": {"learning_rate": 1e-7}})),
        ("warning", facts({"optimizer": {"name": "adamw", "learning_rate": 0.01}})),
        (None, facts({"optimizer": {"name": "adamw", "learning_rate": 1e-3}})),
        (None, facts({"optimizer": {"name": "adagrad", "learning_rate": 9.0}})),
        (None, facts({"batch_size": 1024, "optimizer": {"learning_rate": 1.7}})),
        ("warning", facts({"phases": [{"from_epoch": 1, "learning_rate_factor": 9.0}]})),
        (None, facts({"epochs": 1, "schedule": {"warmup": {"epochs": 2, "steps": None}}})),
    ],
    "no_schedule": [
        ("warning", facts(CONSTANT)),
        ("warning", facts({"schedule": {"name": "multistep", "milestones": []}})),
        (None, facts({**CONSTANT, "epochs": 2})),
        (None, facts({"schedule": {"name": "plateau"}})),
    ],
    "blank_images": [
        ("error", facts({"image_size": 16, "augmentation": {"cutout": 32}})),
        ("error", facts({"augmentation": {"line_dropout": 1.0}}, sides=(16, 90))),
        ("warning", facts({"image_size": 16, "augmentation": {"cutout": 16}})),
        ("warning", facts({"augmentation": {"crop_padding": 16}}, sides=(16, 90))),
        (None, facts({"augmentation": {"cutout": 32}}, sides=(16, 90))),
        (None, facts({"augmentation": {"cutout": 32}})),
        (None, facts({"image_size": 16, "augmentation": {"cutout": 8, "crop_padding": 4}})),
    ],
    "no_early_stopping": [
        ("info", facts({"epochs": 100})),
        ("warning", facts({"epochs": 100, "schedule": {"name": "plateau"}})),
        ("info", facts(samples=1_000_000)),
        (None, facts({"epochs": 100, "early_stopping": {"patience": 9}})),
        (None, facts()),
    ],
    "frequent_validation": [
        ("info", facts({"epochs": 256})),
        (None, facts({"epochs": 256, "validate_every": 10})),
        (None, facts({"epochs": 256, "export": "best"})),
    ],
    "outputs_differ": [
        ("error", facts({"loss": {"name": "focal", "class_weights": [1.0, 2.0]}})),
        ("error", facts({"model": {"options": {"num_classes": 6}}})),
        (None, facts({"loss": {"name": "focal", "class_weights": [1.0, 2.0, 3.0]}})),
    ],
    "no_rebalancing": [
        ("warning", facts({"loss": {"name": "focal"}}, train=TAIL)),
        ("info", facts({"loss": {"name": "focal"}}, train={"a": 500, "b": 100})),
        (None, facts({"loss": {"name": "focal"}})),
        (None, facts({"loss": {"name": "focal"}}, {}, train=TAIL)),
        (
            None,
            facts({"loss": {"name": "cross_entropy", "class_weights": "balanced"}}, train=TAIL),
        ),
        (None, facts({"loss": {"name": "focal"}, "sampler": "square_root"}, train=TAIL)),
        (None, facts({"loss": {"name": "focal"}, "phases": DEFERRED}, train=TAIL)),
        (None, facts({"loss": {"name": "focal"}, "phases": REWEIGHTED}, train=TAIL)),
    ],
    "rebalanced_twice": [
        ("warning", facts({"sampler": "class_aware"}, train=TAIL)),
        ("warning", facts({"phases": DEFERRED}, train=TAIL)),
        ("warning", facts({"sampler": "class_aware", "phases": REWEIGHTED}, train=TAIL)),
        (None, facts({"sampler": "class_aware"})),
        (None, facts({"sampler": "class_aware", "loss": {"name": "ldam"}}, train=TAIL)),
        (None, facts({"sampler": "class_aware", "loss": {"name": "focal"}}, train=TAIL)),
        (None, facts(train=TAIL)),
    ],
    "rare_classes": [("info", facts(train={"a": 500, "b": 9})), (None, facts(train=TAIL))],
    "loss_effect": [
        ("info", facts({}, {"loss": {"name": "cross_entropy"}}, train=TAIL)),
        (None, facts(train=TAIL)),
        (None, facts({}, {"loss": {"name": "cross_entropy"}})),
    ],
    "same_function": [
        ("warning", facts({}, {"loss": {"name": "logit_adjustment", "tau": 1}}, train=TAIL)),
        (None, facts({}, {"loss": {"name": "logit_adjustment", "tau": 2}}, train=TAIL)),
        ("warning", facts({}, {"loss": {"name": "logit_adjustment", "tau": 2}})),
        ("warning", facts({}, {"loss": {"name": "cross_entropy", "class_weights": "balanced"}})),
        ("warning", facts({}, {"sampler": "class_aware"})),
        (None, facts({}, {"sampler": "class_aware"}, train=TAIL)),
        (None, facts({}, {"epochs": 30})),
        (None, facts({}, {"phases": REWEIGHTED}, train=TAIL)),
    ],
    "no_normalization": [("warning", facts({"normalize": False})), (None, facts())],
    "weights_of_other_images": [
        ("warning", facts({"model": {"weights": "hub"}, "normalize": True})),
        (None, facts({"model": {"weights": "hub"}})),
        (None, facts({"normalize": True})),
    ],
    "bare_phase": [
        ("warning", facts({"phases": BARE})),
        (None, facts({"phases": PHASES})),
        (None, facts({"phases": PHASES, "augmentation": {"flip": False}})),
    ],
    "short_first_phase": [
        ("info", facts({"phases": [PHASES[0], {**PHASES[1], "from_epoch": 3}]})),
        (None, facts({"phases": PHASES})),
    ],
    "undefined_monitor": [
        ("error", facts({"monitor": "val_auroc"})),
        ("error", rare("val_auroc", val={"event": 0, "other": 9})),
        (None, rare("tpr_at_fpr_0")),
    ],
    "too_few_negatives": [
        ("error", rare("tpr_at_fpr_1e-4", val={"event": 9, "other": 9_999})),
        ("warning", rare("tpr_at_fpr_1e-4", val={"event": 9, "other": 10_000})),
        (None, rare("tpr_at_fpr_1e-4")),
        (None, rare("tpr_at_fpr_1e-2", val={"event": 9, "other": 0})),
    ],
    "saturating_monitor": [
        ("warning", facts({"monitor": "val_accuracy"}, train={"a": 900, "b": 100})),
        (None, facts({"monitor": "val_accuracy"})),
        ("warning", rare("val_auroc")),
        (None, rare("val_auroc", val={"event": 500, "other": 500})),
        (None, rare("tpr_at_fpr_1e-3")),
    ],
    "small_validation": [
        ("warning", facts({}, {"epochs": 30}, val=dict.fromkeys(LEVEL, 20))),
        ("info", facts({}, {"epochs": 30}, val=dict.fromkeys(LEVEL, 500))),
        (None, facts({}, {"epochs": 30}, val=dict.fromkeys(LEVEL, 5000))),
        (None, facts(val=dict.fromkeys(LEVEL, 20))),
    ],
    "more_workers_than_shards": [
        ("warning", workers(5)),
        (None, workers(4)),
        ("warning", facts({"workers": 3, "devices": 2}, decoded_bytes=1e12)),
        (None, facts({"workers": 5})),
    ],
}


@pytest.mark.parametrize(
    ("kind", "severity", "known"),
    [(kind, *row) for kind, rows in TABLE.items() for row in rows],
)
def test_each_finding_is_there_where_it_should_be_and_nowhere_else(kind, severity, known):
    found = [finding for finding in findings(known, loss_effect) if finding.kind == kind]
    assert [finding.severity for finding in found] == ([severity] if severity else [])


@pytest.mark.parametrize("kind", ["linear", "prototype", "ridge", "knn", "tau_norm"])
def test_what_fitted_heads_ignore_is_not_found_in_them(kind):
    head = {"model": {"name": "resnet18", "weights": "w.pth"}, "features": {}, "epochs": 256}
    head |= {"head": {"kind": kind}}
    rate, warmup = {"name": "sgd", "learning_rate": 9.0}, {"warmup": {"steps": 2, "epochs": None}}
    recipes = {
        "constant": Recipe(**head, schedule={"name": "constant"}, optimizer=rate),
        "warm": Recipe(**head, schedule={"name": "cosine", **warmup}),
    }
    twice = {"sampler": "class_aware", "loss": {"name": "balanced_softmax"}}
    found = [
        *findings(replace(facts(train=TAIL), recipes=recipes)),
        *findings(replace(facts(train=TAIL), recipes={"twice": Recipe(**head, **twice)})),
    ]
    ignored = {
        *("short_warmup", "unusual_rate", "no_schedule", "no_early_stopping"),
        *("frequent_validation", "no_rebalancing", "rebalanced_twice"),
    }
    assert ignored & {each.kind for each in found} == (ignored if kind == "linear" else set())


def test_every_kind_is_tried():
    tried = {"probe_failed", "refused_transform", "constant_transform", "enlarged_crops"}
    assert set(TABLE) | tried == set(KINDS)


def test_the_list_that_a_blocked_run_advises_lets_it_start(monkeypatch):
    wrong = facts({"optimizer": {"learning_rate": 1e6}, "monitor": "val_auroc"})
    monkeypatch.setattr(gate, "facts_of", lambda *_: wrong)
    text = gate.blocking_message("manifest.json", wrong.recipes, ["undefined_monitor"])
    advised = yaml.safe_load(re.search(r"'(preflight: .*)'", text)[1])["preflight"]["ignore"]
    assert gate.blocking_message("manifest.json", wrong.recipes, advised) == ""


def test_an_unknown_kind_cannot_be_ignored():
    validate_ignore(list(KINDS), "a.yaml")
    with pytest.raises(TailproofError, match="'unusual_rate'"):
        validate_ignore(["unusual_rates"], "a.yaml")


def test_a_good_configuration_has_nothing_to_find():
    assert findings(facts(), loss_effect) == []


@pytest.mark.parametrize("kind", TABLE)
def test_a_change_mends_what_it_is_for(kind):
    for severity, known in TABLE[kind]:
        for finding in findings(known, loss_effect) if severity else ():
            if finding.kind != kind or finding.change is None:
                continue
            experts = finding.evidence["experts"]
            mended = {
                name: Recipe(**merge(own.model_dump(mode="json"), finding.change))
                if name in experts
                else own
                for name, own in known.recipes.items()
            }
            after = {
                each.kind: each.severity
                for each in findings(replace(known, recipes=mended), loss_effect)
            }
            if kind not in ("outputs_differ", "too_few_negatives"):
                assert kind not in after, (kind, finding.change)
            assert after.get(kind) != "error" or kind == "outputs_differ"


def test_no_rate_is_recommended_that_stands_on_fewer_negatives_still():
    (few,) = (
        each
        for each in findings(rare("tpr_at_fpr_1e-2", val={"event": 99, "other": 500}))
        if each.kind == "too_few_negatives"
    )
    assert few.change is None


def test_what_experts_share_is_told_once():
    found = findings(facts(CONSTANT, {**CONSTANT, "epochs": 20}, {}, train=TAIL))
    (finding,) = [each for each in found if each.kind == "no_schedule"]
    assert finding.evidence["experts"] == ["expert0", "expert1"]


def test_the_worst_comes_first():
    found = findings(
        facts(
            {"normalize": False, "epochs": 256, "model": {"options": {"num_classes": 9}}},
            train=TAIL,
        )
    )
    places = [SEVERITIES.index(finding.severity) for finding in found]
    assert places == sorted(places) and len(set(places)) == 3
