import numpy as np
import pytest
from scipy.stats import binom

from tailproof.evaluation.class_groups import GROUPS
from tailproof.guarantees.risk import answered_above, fit_risk, measure_answers
from tests.guarantees.drawn import classes, draw

GROUPED = classes().groups


def test_each_group_is_that_of_the_predicted_class():
    prediction = draw(3000, 1)
    rule = fit_risk(prediction, GROUPED, 0.1, 0.9)
    assert list(rule.groups) == [name for name in GROUPS if GROUPED[name].any()]
    for name, fit in rule.groups.items():
        assert fit.samples == GROUPED[name][prediction.predicted].sum()
    assert sum(fit.samples for fit in rule.groups.values()) == rule.overall.samples == 3000


def test_a_risk_is_broken_as_often_as_the_confidence_allows_over_all_and_in_groups():
    population, broken = draw(20000, 2, sharp=1.4), {"all": 0, "groups": 0}
    wrong, certainty = ~population.correct, population.confidence
    for seed in range(200):
        rule = fit_risk(draw(400, [3, seed], sharp=1.4), GROUPED, 0.1, 0.9)
        there = answered_above(certainty, rule.overall.threshold)
        broken["all"] += there.any() and wrong[there].mean() > 0.1
        parts = [
            GROUPED[name][population.predicted] & answered_above(certainty, fit.threshold)
            for name, fit in rule.groups.items()
        ]
        broken["groups"] += any(part.any() and wrong[part].mean() > 0.1 for part in parts)
    assert max(broken.values()) <= binom.ppf(0.999, 200, 0.1)


def test_answers_are_counted_by_weight():
    answered, wrong = np.array([True, True, False]), np.array([False, True, True])
    weights = np.array([[1.0, 1, 1], [2, 0, 2], [0, 0, 1]])
    found = measure_answers(answered, wrong, weights)
    assert found["answered"] == pytest.approx([2 / 3, 0.5, 0])
    assert found["error"][:2] == pytest.approx([0.5, 0]) and np.isnan(found["error"][2])
