import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from tailproof.operating_points import (
    NO_FALSE_POSITIVE,
    ONE_IN,
    POINTS,
    SHARES,
    enough_negatives,
)
from tailproof.score_curve import ScoreCurve, epoch_points


def drawn(seed, samples, scores):
    """Few different scores make many ties; each class is there."""
    rng = np.random.default_rng(seed)
    positive = rng.random(samples) < rng.uniform(0.1, 0.9)
    positive[:2] = [True, False]
    return rng.integers(0, scores, samples) / 7 + positive * rng.integers(0, 3) / 7, positive


cases = st.builds(drawn, st.integers(0, 2**32 - 1), st.integers(2, 400), st.integers(1, 200))


def by_scikit_learn(scores, positive, weight=None):
    fpr, tpr, _ = roc_curve(positive, scores, sample_weight=weight, drop_intermediate=False)
    slack = 1e-12
    found = {name: tpr[fpr <= 1 / one_in + slack].max() for name, one_in in ONE_IN.items()}
    found[NO_FALSE_POSITIVE] = tpr[fpr == 0].max()
    return found | {name: fpr[tpr >= float(share) - slack].min() for name, share in SHARES.items()}


def by_brute_force(scores, positive):
    """Try every threshold, written as the definition reads."""
    points = [(0.0, 0.0)] + [
        (np.mean(scores[~positive] >= at), np.mean(scores[positive] >= at)) for at in scores
    ]
    found = {name: max(t for f, t in points if f * one <= 1) for name, one in ONE_IN.items()}
    found[NO_FALSE_POSITIVE] = max(t for f, t in points if f == 0)
    return found | {
        name: min(f for f, t in points if t >= float(share) - 1e-12)
        for name, share in SHARES.items()
    }


def once(scores, positive):
    return ScoreCurve.of(scores, positive, np.ones((1, len(scores)), np.uint8))


@given(cases)
def test_points_are_those_of_scikit_learn_and_of_brute_force(case):
    curve = once(*case)
    found = {name: curve.value(name)[0] for name in POINTS}
    assert found == pytest.approx(by_scikit_learn(*case))
    assert found == pytest.approx(by_brute_force(*case))
    assert curve.auroc()[0] == pytest.approx(roc_auc_score(case[1], case[0]))


@given(cases, st.integers(0, 1000))
def test_counts_are_weights_of_scikit_learn(case, seed):
    scores, positive = case
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, 4, (3, len(scores)))
    chosen[:, :2] += 1  # both classes in every row
    curve = ScoreCurve.of(scores, positive, chosen.astype(np.uint16))
    for row, weight in enumerate(chosen):
        expected = by_scikit_learn(scores, positive, weight)
        for name, value in expected.items():
            assert curve.value(name)[row] == pytest.approx(value), name
        auroc = roc_auc_score(positive, scores, sample_weight=weight)
        assert curve.auroc()[row] == pytest.approx(auroc)


@given(cases)
def test_points_know_nothing_but_the_order(case):
    scores, positive = case
    ranks = np.unique(scores, return_inverse=True)[1]
    first, second = once(scores, positive), once(np.exp(ranks), positive)
    assert [first.value(name) for name in POINTS] == [second.value(name) for name in POINTS]


def test_a_point_inside_a_tie_does_not_exist():
    """Fifty positives share the highest score with one negative: none of them comes alone."""
    scores = np.r_[np.ones(50), np.zeros(50), 1.0, np.zeros(999)]
    positive = np.arange(1100) < 100
    curve = once(scores, positive)
    assert curve.value(NO_FALSE_POSITIVE) == 0
    assert curve.value("tpr_at_fpr_1e-3") == 0.5  # one in a thousand is allowed
    assert curve.value("tpr_at_fpr_1e-4") == 0
    assert curve.value("fpr_at_tpr_0.5") == 1 / 1000
    assert curve.value("fpr_at_tpr_0.7") == 1


def test_a_rate_is_reached_exactly():
    """Float division would let 1e-5 · 100,000 fall to either side of 1."""
    for one_in in ONE_IN.values():
        scores = np.r_[2.0, np.zeros(2 * one_in - 1), 1.0]
        curve = once(scores, np.arange(len(scores)) == len(scores) - 1)
        name = f"tpr_at_fpr_1e-{len(str(one_in)) - 1}"
        assert curve.value(name) == 1
        assert curve.value(NO_FALSE_POSITIVE) == 0
        assert enough_negatives(name, one_in) and not enough_negatives(name, one_in - 1)


def test_an_epoch_shows_only_what_its_negatives_can():
    scores, positive = np.arange(1500.0), np.arange(1500) >= 1000
    found = epoch_points(scores, positive)
    assert set(found) == {"val_auroc", *POINTS} - {"tpr_at_fpr_1e-4", "tpr_at_fpr_1e-5"}
    assert found["val_auroc"] == found["tpr_at_fpr_1e-3"] == 1
    assert epoch_points(scores, positive | True) == {}


def test_without_both_classes_there_is_no_value():
    curve = ScoreCurve.of(np.arange(4.0), np.arange(4) > 1, np.array([[1, 1, 0, 0], [1, 1, 1, 1]]))
    for name in POINTS:
        first, second = curve.value(name)
        assert np.isnan(first) and not np.isnan(second)
    assert np.isnan(curve.auroc()[0])
