from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from tailproof.evaluation.prior_shift import prior_shares
from tailproof.files import read_json
from tailproof.guarantees.prediction_sets import (
    LOWEST,
    PROCEDURES,
    LabelledWeights,
    SetRule,
    TrueScores,
    conformal_thresholds,
    fit_sets,
    measure_sets,
    set_scores,
    shift_weights,
)
from tailproof.guarantees.scores import SCORES, score_classes
from tailproof.runtime.errors import TailproofError
from tests.guarantees.drawn import COUNTS, classes, draw

PEER = read_json("tests/field/guarantees/torchcp.json")
SHARES = prior_shares(COUNTS, 1.0)
LEVELS = [0.5, 0.8, 0.9, 0.95]


def rules_of(tune, shares, levels, weights=None):
    true = TrueScores(tune.labels, shares)
    tune.collect({}, once=[true])
    weights = np.ones(tune.classes) if weights is None else weights
    return fit_sets(true.scores, tune.labels, levels, weights)


def held(rule: SetRule, p: np.ndarray, shares=SHARES) -> np.ndarray:
    return rule.holds(set_scores(rule.score, p, shares))


def measured(sets, *others):
    hit = sets[np.arange(len(sets)), others[0].labels]
    return measure_sets(hit, sets.sum(axis=1), *others)


def one_threshold(scores, coverage):
    return conformal_thresholds(scores, np.ones(len(scores)), np.ones(1), coverage)[0]


@pytest.mark.parametrize("score", ["thr", "aps", "raps"])
def test_thresholds_are_those_of_torchcp(score):
    p, labels = softmax(PEER["logits"], axis=1), np.array(PEER["labels"])
    own = score_classes(score, p, np.ones(5))[np.arange(len(p)), labels]
    expected = PEER["thresholds"][score]
    assert one_threshold(own, PEER["coverage"]) == pytest.approx(expected, abs=1e-6)


def test_class_thresholds_are_those_of_torchcp_where_it_has_enough_samples():
    p, labels = softmax(PEER["logits"], axis=1), np.array(PEER["labels"])
    own = score_classes("thr", p, np.ones(5))[np.arange(len(p)), labels]
    for index, expected in enumerate(PEER["thresholds"]["classwise"]):
        found = one_threshold(own[labels == index], PEER["coverage"])
        assert found == (np.inf if expected is None else pytest.approx(expected, abs=1e-6))


class Rows(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose images are its probabilities."""

    def __init__(self, classes):
        self.classes_ = np.arange(classes)
        self.fitted_ = True

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(axis=1)


@pytest.mark.parametrize("coverage", [0.8, 0.93])
def test_sets_of_thr_are_those_of_mapie_without_the_most_probable_class(coverage):
    tune, test = draw(211, 1), draw(300, 2)
    peer = SplitConformalClassifier(
        Rows(len(COUNTS)), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    _, sets = peer.conformalize(tune.p, tune.labels).predict_set(test.p)
    own = score_classes("thr", tune.p, SHARES)[np.arange(211), tune.labels]
    mine = score_classes("thr", test.p, SHARES) <= one_threshold(own, coverage)
    assert (mine == sets[:, :, 0]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 120), st.sampled_from([0.3, 1.0, 3.0]))
def test_sets_are_nested_never_empty_and_hold_the_most_probable_class(seed, samples, sharp):
    tune, test = draw(samples, [0, seed], sharp=sharp), draw(40, [1, seed], sharp=sharp)
    rules = rules_of(tune, SHARES, LEVELS)
    for name in PROCEDURES:
        sets = [held(rules[level][name], test.p) for level in LEVELS]
        assert all(own[np.arange(40), test.predicted].all() for own in sets)
        if name not in ("classwise", "interp_q"):  # whose classes are pooled by the coverage
            assert all((small <= large).all() for small, large in pairwise(sets))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 150))
def test_the_fitted_samples_are_covered(seed, samples):
    tune = draw(samples, seed)
    for coverage, rules in rules_of(tune, SHARES, LEVELS).items():
        for name in (*SCORES, "classwise"):
            covered = held(rules[name], tune.p)[np.arange(samples), tune.labels]
            assert covered.mean() >= coverage


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(0.05, 0.95), st.randoms())
def test_whole_weights_are_repeated_samples(scores, coverage, random):
    scores, weights = np.array(scores), np.array([random.randint(1, 4) for _ in scores])
    found = conformal_thresholds(scores, weights, np.array([1.0, 3.0]), coverage)
    for weight, threshold in zip((1, 3), found, strict=True):
        repeated = np.append(np.repeat(scores, weights), np.full(weight, np.inf))
        ordered = np.sort(repeated)
        expected = ordered[int(np.ceil(round(coverage * len(ordered), 9))) - 1]
        assert threshold == expected


def test_coverage_is_exact_over_draws():
    """Not below the promise by more than 3.3 standard errors; thr and pas not above either."""
    rows = {name: [] for name in PROCEDURES}
    for seed in range(200):
        tune, test = draw(99, [2, seed]), draw(200, [3, seed])
        for name, rule in rules_of(tune, SHARES, [0.9])[0.9].items():
            rows[name].append(held(rule, test.p)[np.arange(200), test.labels].mean())
    for name, values in rows.items():
        slack = 3.3 * np.std(values) / np.sqrt(len(values))
        assert np.mean(values) >= (0.8 if name == "interp_q" else 0.9) - slack
        if name in ("thr", "pas"):
            assert np.mean(values) <= 0.9 + 1 / 100 + slack


def test_pas_covers_more_classes_at_the_same_coverage():
    tune, test = draw(4000, 4), draw(8000, 5)
    samples = LabelledWeights.of(test.labels, np.ones((1, 8000)))
    found = {
        name: measured(held(rule, test.p), samples, classes().groups["few"], 0.9)
        for name, rule in rules_of(tune, SHARES, [0.9])[0.9].items()
    }
    assert abs(found["pas"]["coverage"][0] - found["thr"]["coverage"][0]) < 0.015
    assert found["pas"]["macro_coverage"][0] > found["thr"]["macro_coverage"][0] + 0.05
    assert found["pas"]["tail_coverage"][0] > found["thr"]["tail_coverage"][0] + 0.1


def test_label_shift_weights_keep_the_coverage_of_other_shares():
    """Fitted on long-tailed samples, for images with equal shares; without weights it fails."""
    level = np.full(len(COUNTS), 1 / len(COUNTS))
    covered = {"weighted": [], "plain": []}
    for seed in range(60):
        tune, test = draw(1500, [6, seed]), draw(400, [7, seed], shares=level)
        present = np.unique(tune.labels)
        target = np.where(np.isin(np.arange(len(COUNTS)), present), 1 / len(present), 0)
        weights = shift_weights(tune.labels, target, classes().names)
        kept = np.isin(test.labels, present)
        for name, own in {"weighted": weights, "plain": None}.items():
            rule = rules_of(tune, SHARES, [0.9], own)[0.9]["thr"]
            covered[name].append(held(rule, test.p)[np.arange(400), test.labels][kept].mean())
    error = 3.3 * np.std(covered["weighted"]) / np.sqrt(60)
    assert np.mean(covered["weighted"]) >= 0.9 - error
    assert np.mean(covered["plain"]) < 0.8


def test_a_class_that_no_sample_has_cannot_be_weighted():
    names = ["ant", "bee", "cat"]
    with pytest.raises(TailproofError, match=r"'cat' has a share of 0\.2"):
        shift_weights(np.array([0, 0, 1]), np.array([0.5, 0.3, 0.2]), names)
    weights = shift_weights(np.array([0, 0, 1]), np.array([0.5, 0.5, 0]), names)
    assert weights == pytest.approx([0.75, 1.5, 0])


def test_classes_of_few_samples_share_a_threshold():
    tune = draw(400, 8)
    rule = rules_of(tune, SHARES, [0.9])[0.9]["classwise"]
    counts = np.bincount(tune.labels, minlength=len(COUNTS))
    scores = set_scores("thr", tune.p, SHARES)[np.arange(400), tune.labels]
    few = counts < 9
    assert few.any() and not few.all()
    pooled = np.sort(scores[few[tune.labels]])
    place = int(np.ceil(round((len(pooled) + 1) * 0.9, 9)))
    assert (rule.threshold[few] == np.append(pooled, np.inf)[place - 1]).all()
    for index in np.flatnonzero(~few):
        own = np.sort(scores[tune.labels == index])
        expected = own[int(np.ceil(round((len(own) + 1) * 0.9, 9))) - 1]
        assert rule.threshold[index] == expected


def test_interp_q_lies_between_its_two_thresholds():
    tune = draw(400, 8)
    rules = rules_of(tune, SHARES, [0.9])[0.9]
    counts = np.bincount(tune.labels, minlength=len(COUNTS))
    overall = max(rules["thr"].threshold[0], 0)
    own = np.where(counts >= 9, np.maximum(rules["classwise"].threshold, 0), 1)
    assert rules["interp_q"].threshold == pytest.approx(0.9 * own + 0.1 * overall)
    assert rules["interp_q"].promise == pytest.approx(0.8)


def test_an_expert_above_the_coverage_answers_with_one_class():
    tune = draw(300, 9, sharp=1.0)
    rule = rules_of(tune, SHARES, [0.5])[0.5]["thr"]
    assert tune.correct.mean() > 0.5 and rule.threshold == [LOWEST]
    assert (held(rule, tune.p).sum(axis=1) == 1).all()


def test_too_few_samples_exclude_nothing():
    tune = draw(5, 10)
    for name in ("thr", "pas", "aps", "classwise"):
        assert held(rules_of(tune, SHARES, [0.9])[0.9][name], tune.p).all()


def test_measures_by_hand():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]], bool)
    samples = LabelledWeights.of(np.array([0, 1, 0, 1]), np.array([[1.0, 1, 1, 1], [1, 0, 0, 2]]))
    found = measured(sets, samples, np.array([False, True, True]), 0.9)
    assert found["coverage"] == pytest.approx([0.75, 1])
    assert found["macro_coverage"] == pytest.approx([0.75, 1])
    assert found["tail_coverage"] == pytest.approx([1, 1])
    assert found["below_half"] == pytest.approx([0, 0])
    assert found["size"] == pytest.approx([1.5, 5 / 3])
    strict = measured(sets, samples, np.array([False, False, True]), 1.5)
    assert strict["below_half"] == pytest.approx([0.5, 0])
    assert np.isnan(strict["tail_coverage"]).all()
