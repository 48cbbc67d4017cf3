"""The risk of what is not called unknown, and groups that are."""

import numpy as np
import pytest

from tailproof.evaluation.class_groups import GROUPS
from tailproof.guarantees.known_risks import group_scores, is_known
from tailproof.guarantees.risk import fit_risk
from tailproof.guarantees.unknown import fit_false_alarms
from tests.guarantees.drawn import classes, draw

RISK, RATE, CONFIDENCE = 0.1, 0.2, 0.9


@pytest.mark.parametrize("related", [True, False])
def test_a_risk_is_kept_among_what_is_not_called_unknown(related):
    """The score of "unknown" is that which a risk decides with, or says nothing of errors."""
    population, broken, answered = draw(20000, 0), [], []
    rng = np.random.default_rng(1)
    scores = population.confidence if related else rng.random(20000)
    groups = {name: classes().groups[name] for name in GROUPS}
    for seed in range(300):
        rows = np.random.default_rng([2, seed]).choice(20000, 300, replace=False)
        tune = population.take(np.sort(rows))
        fit = fit_false_alarms(scores[np.sort(rows)], RATE, CONFIDENCE)
        known = is_known(scores, fit)
        rule = fit_risk(tune, groups, RISK, CONFIDENCE, known[np.sort(rows)])
        limit = rule.overall.threshold
        accepted = known & (population.confidence > (np.inf if limit is None else limit))
        answered.append(accepted.mean())
        broken.append(accepted.any() and (~population.correct)[accepted].mean() > RISK)
    assert np.mean(broken) <= 0.1 + 3 * 0.0173 and np.mean(answered) > 0.1


def test_the_score_of_a_group_is_the_mean_of_its_images():
    scores = group_scores(np.array([1.0, 2.0, 4.0, 9.0]), np.array([0, 1, 1, 2]), 3)
    assert scores.tolist() == [1.0, 3.0, 9.0]
