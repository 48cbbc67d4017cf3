import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import log_softmax
from sklearn.metrics import average_precision_score

from tailproof.evaluation.probabilities import Prediction
from tailproof.inspection import label_noise
from tailproof.inspection.label_noise import doubt_labels


def planted(seed: int, *, classes=20, tilt=1.0, share=0.05, sharpness=2.5, towards=None):
    """Labels of a long tail, some of them wrong, and logits of an expert with a training prior."""
    rng = np.random.default_rng(seed)
    train = np.maximum(2, 300 * 0.01 ** (np.arange(classes) / (classes - 1))).astype(int)
    true = np.concatenate(
        [
            np.repeat(np.arange(classes), np.maximum(1, train // 3)),  # as rare as in train
            np.repeat(np.arange(classes), 30),  # balanced
        ]
    )
    pools = (np.arange(len(true)) >= len(true) - 30 * classes).astype(int)
    logits = sharpness * np.eye(classes)[true] + rng.normal(size=(len(true), classes))
    logits += tilt * np.log(train / train.sum())
    labels = true.copy()
    wrong = rng.random(len(true)) < share
    chance = np.ones(classes) if towards is None else towards
    for row in np.flatnonzero(wrong):
        others = np.where(np.arange(classes) == true[row], 0, chance)
        labels[row] = rng.choice(classes, p=others / others.sum())
    return log_softmax(logits, axis=1), labels, train, pools, wrong


@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_planted_labels_are_found_better_than_by_cleanlab_most_of_all_in_small_classes(tilt):
    ours, theirs, at_recall = {}, {}, {}
    for seed in range(10):
        log_p, labels, train, pools, wrong = planted(seed, tilt=tilt)
        p = np.exp(log_p)
        score = doubt_labels(Prediction(log_p, labels), train, pools).probability
        rankings = [
            -get_label_quality_scores(labels, p, method=method)
            for method in ("self_confidence", "normalized_margin")
        ]
        issues = find_label_issues(labels, p, n_jobs=1)
        for name, inside in {"all": labels >= 0, "few": train[labels] < 20}.items():
            bad = wrong[inside]
            ours.setdefault(name, []).append(average_precision_score(bad, score[inside]))
            theirs.setdefault(name, []).append(
                max(average_precision_score(bad, ranking[inside]) for ranking in rankings)
            )
            found = issues[inside] & bad
            hits = np.cumsum(bad[np.argsort(-score[inside], kind="stable")])
            needed = np.searchsorted(hits, found.sum()) + 1
            at_recall.setdefault(name, []).append(
                found.sum() / needed - found.sum() / issues[inside].sum()
            )
    for name, precisions in ours.items():
        assert np.mean(precisions) > np.mean(theirs[name])
        assert np.mean(at_recall[name]) > 0.05
    if tilt:
        assert np.mean(ours["few"]) > np.mean(theirs["few"]) + 0.02


def test_the_share_of_wrong_labels_is_estimated_and_probabilities_mean_what_they_say():
    expected, actual = 0.0, 0
    for seed in range(5):
        log_p, labels, train, pools, wrong = planted(seed)
        doubts = doubt_labels(Prediction(log_p, labels), train, pools)
        assert doubts.noise.wrong == pytest.approx(0.05, abs=0.025)
        expected, actual = expected + doubts.probability.sum(), actual + wrong.sum()
        likely = doubts.probability > 0.5
        assert wrong[likely].mean() > 0.7
    assert expected == pytest.approx(actual, rel=0.3)


def test_right_labels_stay_undoubted():
    log_p, labels, train, pools, _ = planted(0, share=0.0, sharpness=4)
    doubts = doubt_labels(Prediction(log_p, labels), train, pools)
    assert (doubts.probability > 0.5).sum() <= 2
    assert doubts.noise.wrong < 0.01


def doubt(log_p, labels, train, pools):
    return doubt_labels(Prediction(log_p, labels), train, pools)


def test_an_expert_that_knows_nothing_doubts_nothing():
    _, labels, train, pools, _ = planted(0)
    log_p = np.random.default_rng(0).normal(size=(len(labels), len(train)))
    assert (doubt_labels(Prediction(log_p, labels), train, pools).probability < 0.5).all()


def test_the_training_prior_of_the_experts_is_found():
    noise = [doubt(*planted(1, tilt=tilt)[:4]).noise for tilt in (0.0, 1.0)]
    assert [n.confidence for n in noise] == pytest.approx([2.5, 2.5], rel=0.2)
    assert [n.prior / n.confidence for n in noise] == pytest.approx([0, 1], abs=0.15)


def test_wrong_labels_that_go_into_large_classes_are_seen_as_such():
    towards = np.arange(20, 0, -1.0) ** 3
    noise = [doubt(*planted(2, share=0.1, towards=to)[:4]).noise for to in (None, towards)]
    assert noise[1].head > noise[0].head + 0.3


def test_suggestions_are_the_true_classes():
    log_p, labels, train, pools, wrong = planted(0, sharpness=5)
    doubts = doubt_labels(Prediction(log_p, labels), train, pools)
    true = np.concatenate(
        [np.repeat(np.arange(20), np.maximum(1, train // 3)), np.repeat(np.arange(20), 30)]
    )
    assert (doubts.suggested[wrong] == true[wrong]).mean() > 0.9
    assert (doubts.suggested != labels).all()


def test_two_classes():
    rng = np.random.default_rng(0)
    true = (rng.random(2000) < 0.05).astype(int)
    wrong = rng.random(2000) < 0.02
    logits = 6.0 * np.eye(2)[true] + rng.normal(size=(2000, 2))
    doubts = doubt_labels(
        Prediction(log_softmax(logits, axis=1), true ^ wrong), np.array([1900, 100])
    )
    assert (doubts.suggested == 1 - (true ^ wrong)).all()
    assert average_precision_score(wrong, doubts.probability) > 0.9


def test_many_rows_are_fitted_on_some_and_judged_in_blocks(monkeypatch):
    log_p, labels, train, pools, wrong = planted(0)
    whole = doubt_labels(Prediction(log_p, labels), train, pools)
    monkeypatch.setattr(label_noise, "ELEMENTS", 20 * 400)
    parts = doubt_labels(Prediction(log_p, labels), train, pools)
    assert average_precision_score(wrong, parts.probability) == pytest.approx(
        average_precision_score(wrong, whole.probability), abs=0.05
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 30))
def test_the_derivatives_are_those_of_the_likelihood(seed, classes, rows):
    rng = np.random.default_rng(seed)
    labels, pools = rng.integers(0, classes, rows), rng.integers(0, 2, rows)
    model = label_noise._Model.of(labels, rng.integers(0, 90, classes), pools)
    log_p = 3 * rng.normal(size=(rows, classes))
    point = label_noise.CENTRES + rng.normal(size=4) / 2
    _, slope = model.log_likelihood(point, log_p, labels, pools)
    numeric = approx_fprime(point, lambda x: model.log_likelihood(x, log_p, labels, pools)[0], 1e-6)
    assert slope == pytest.approx(numeric, abs=2e-3, rel=2e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 20), st.floats(0, 400))
def test_any_predictions_give_probabilities(seed, classes, rows, scale):
    rng = np.random.default_rng(seed)
    log_p = (scale * rng.normal(size=(rows, classes))).astype(np.float32)
    labels = rng.integers(0, classes, rows)
    doubts = doubt_labels(Prediction(log_p, labels), rng.integers(0, 500, classes))
    assert np.isfinite(doubts.probability).all()
    assert ((doubts.probability >= 0) & (doubts.probability <= 1)).all()
    assert (doubts.suggested != labels).all()
