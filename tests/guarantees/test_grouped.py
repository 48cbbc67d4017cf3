"""Promises of groups: four noisy views of one thing."""

import numpy as np
import pytest

from tailproof.calibration.metrics import ece
from tailproof.config.evaluation import Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.data.logits import Logits
from tailproof.evaluation.prior_shift import prior_shares
from tailproof.evaluation.probabilities import Prediction
from tailproof.guarantees.fitting import Setting
from tailproof.guarantees.grouped import Groups
from tailproof.guarantees.held_out_predictions import predict_held_out
from tailproof.guarantees.prediction_sets import set_scores
from tailproof.guarantees.promised import PromisedGroups
from tailproof.guarantees.rules import fit_guarantees
from tailproof.guarantees.summary import Method
from tests.guarantees.drawn import COUNTS, GENUS, classes

VIEWS = 4
SIZES = {"val": 50, "calib": 50, "tune": 400, "dev": 100, "test": 1500}
CONFIG = Guarantees(coverages=[0.9], risks=[0.1], precisions=[0.9])
MEANS = 0.8 * np.random.default_rng(7).normal(size=(len(COUNTS), 4)) + 3 * np.eye(3, 4)[GENUS]
SHARED, OWN = 0.4, 1.2
"""Standard deviations of what a thing's views have in common, and of each view."""


def things(split):
    """The posterior of each view alone, and the thing that it shows."""
    rng = np.random.default_rng([1, list(SIZES).index(split)])
    labels = rng.integers(0, len(COUNTS), SIZES[split])
    centre = MEANS[labels] + SHARED * rng.normal(size=(SIZES[split], 4))
    x = np.repeat(centre, VIEWS, axis=0) + OWN * rng.normal(size=(VIEWS * SIZES[split], 4))
    spread = 2 * (SHARED**2 + OWN**2)
    logits = -((x[:, None] - MEANS) ** 2).sum(axis=2) / spread
    ids = np.array([f"{split}-{row}" for row in range(len(x))], object)
    facts = {"split": split, "target": "species"}
    return Logits(
        ids, {"species": np.repeat(labels, VIEWS)}, np.ones(len(x)), {"species": logits}, facts
    )


LOGITS = {split: things(split) for split in SIZES}


def group_of(sample):
    split, row = sample.split("-")
    return f"{split}-thing-{int(row) // VIEWS}"


NAMES = {name: group_of(name) for own in LOGITS.values() for name in own.sample_ids}
GROUPS = Groups.of(LOGITS, NAMES)
SINGLE = {split: Prediction.from_logits(own.values, own.target) for split, own in LOGITS.items()}


@pytest.fixture(scope="module")
def promised():
    method = Method("views", "expert", {"0": SINGLE}, {}, {}, {})
    evaluation = Evaluation(bootstrap=100)
    setting = Setting(classes(), CONFIG, evaluation, None, None)
    groups = PromisedGroups.of(method, GROUPS, GROUPS.unit({}, evaluation), setting)
    return groups.promised.summary, groups.stored("0")


def test_groups_are_more_often_right_and_not_worse_calibrated():
    temperature = GROUPS.fit(SINGLE)
    test = GROUPS.predict(SINGLE, temperature)["test"]
    single = SINGLE["test"]
    assert test.correct.mean() > single.correct.mean() + 0.05
    assert ece(test.p, test.labels) <= ece(single.p, single.labels) + 0.01
    assert 1 / VIEWS < temperature < 1, "views share some of their noise"


def test_what_is_promised_of_groups_is_kept_on_test(promised):
    summary, _ = promised
    assert list(summary["temperatures"]) == ["0"]
    for row in summary["sets"]:
        values = row["test"]["coverage"]
        assert values["mean"] >= row["lowest"]["test"]
    (overall,) = (row for row in summary["risks"] if row["group"] == "all")
    assert overall["test"]["error"]["low"] <= 0.1
    shares = prior_shares(COUNTS, 0.0)
    single = fit_guarantees(SINGLE["tune"], classes(), shares, CONFIG, {"plain": None})
    answered = (SINGLE["test"].confidence > single.risks[0].overall.threshold).mean()
    assert overall["test"]["answered"]["mean"] > answered + 0.05


def test_stored_rules_are_those_that_were_measured(promised):
    summary, rules = promised
    assert rules.largest == VIEWS and rules.temperature == summary["temperatures"]["0"]
    test = GROUPS.predict(SINGLE, rules.temperature)["test"]
    rows = np.arange(len(test.labels))
    for own in rules.sets:
        rule = own.rule()
        held = rule.holds(set_scores(rule.score, test.p, np.array(rules.shares)))
        (row,) = (row for row in summary["sets"] if row["procedure"] == own.procedure)
        assert held[rows, test.labels].mean() == pytest.approx(row["test"]["coverage"]["mean"])


def test_data_without_groups_of_one_class_promise_nothing_of_groups():
    assert Groups.of(LOGITS, {}) is None
    mixed = NAMES | {"test-0": "one", "test-4000": "one"}
    assert Groups.of(LOGITS, mixed) is None
    late = {name: group for name, group in NAMES.items() if not name.startswith("tune")}
    assert Groups.of(LOGITS, late) is None


def test_each_row_is_predicted_by_a_fit_on_others():
    labels = np.repeat([0, 1, 2], [20, 7, 1])
    seen = np.zeros(28, int)

    def predict(fitted, predicted):
        assert not (fitted & predicted).any() and (fitted | predicted).all()
        seen[predicted] += 1
        return np.flatnonzero(predicted)[:, None]

    assert predict_held_out(labels, predict)[:, 0].tolist() == list(range(28))
    assert (seen == 1).all()
    alone = predict_held_out(labels[:1], lambda fitted, predicted: np.array([[fitted.sum()]]))
    assert alone.tolist() == [[1]]
