"""Context, against what is known of drawn classes, images and places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import dirichlet_multinomial

from tailproof.guarantees.context_prior import (
    ContextColumn,
    add_context,
    codes_of_groups,
    encode,
    fit_exponents,
    fit_smoothing,
)

PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
PLACE = np.array([[0.7, 0.1, 0.2], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]])
"""How often a class is at a place."""

PLACES = ["coast", "forest", "heath"]


def draw(samples, seed, signal):
    """Labels, log p(y|x) of images with a signal, and places."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, samples, p=PRIOR)
    x = signal * np.eye(4)[labels] + rng.normal(size=(samples, 4))
    log_p = log_softmax(np.log(PRIOR) + signal * x, axis=1)
    places = (PLACE[labels].cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    return labels, log_p, places


def column(samples=20000, seed=0, name="site"):
    labels, _, places = draw(samples, seed, 0.0)
    cells = [PLACES[place] for place in places]
    return ContextColumn.fit(name, "value", cells, labels, np.bincount(labels, minlength=4))


def nll(log_p, labels):
    return -log_p[np.arange(len(labels)), labels].mean()


def test_without_images_the_gain_is_the_mutual_information_of_class_and_place():
    labels, log_p, places = draw(20000, 1, signal=0.0)
    site = column()
    fit = fit_exponents(log_p[:4000], labels[:4000], [site], [places[:4000]])
    assert fit.values == pytest.approx([1.0], abs=0.05)
    after = add_context(log_p, [site], [places], fit.values)
    joint = PRIOR[:, None] * PLACE
    information = (joint * np.log(joint / PRIOR[:, None] / joint.sum(axis=0))).sum()
    assert nll(log_p, labels) - nll(after, labels) == pytest.approx(information, rel=0.05)


def test_with_images_the_result_is_bayes_rule():
    labels, log_p, places = draw(20000, 2, signal=1.0)
    site = column()
    fit = fit_exponents(log_p[:4000], labels[:4000], [site], [places[:4000]])
    after = add_context(log_p, [site], [places], fit.values)
    bayes = log_softmax(log_p + np.log(PLACE[:, places].T), axis=1)
    gain, best = (nll(log_p, labels) - nll(own, labels) for own in (after, bayes))
    assert gain == pytest.approx(best, rel=0.05) and best > 0.1
    accuracy = [(own.argmax(axis=1) == labels).mean() for own in (log_p, after, bayes)]
    assert accuracy[1] == pytest.approx(accuracy[2], abs=0.003) and accuracy[1] > accuracy[0] + 0.05


def test_it_holds_for_other_class_shares_too():
    """p(y|c) / p(y) is p(c|y) up to a factor, so train may have a long tail."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 8000)
    log_p = np.full((8000, 4), np.log(0.25))
    places = (PLACE[labels].cumsum(axis=1) > rng.random((8000, 1))).argmax(axis=1)
    after = add_context(log_p, [column()], [places], np.ones(1))
    expected = log_softmax(np.log(PLACE[:, places].T), axis=1)
    assert np.exp(after) == pytest.approx(np.exp(expected), abs=0.02)


def test_context_that_says_nothing_is_not_used():
    rng = np.random.default_rng(4)
    labels, log_p, _ = draw(600, 4, signal=1.0)
    for values in (2, 40):
        noise = [str(value) for value in rng.integers(0, values, 2000)]
        learnt = draw(2000, 5, 0.0)[0]
        useless = ContextColumn.fit("noise", "value", noise, learnt, np.bincount(learnt))
        codes = [rng.integers(0, len(useless.values), 600)]
        fit = fit_exponents(log_p, labels, [useless], codes)
        assert fit.values.tolist() == [0.0] and fit.gain["high"] >= 0
        assert useless.smoothing > 100


def test_each_sample_of_tune_is_predicted_by_exponents_of_others():
    labels, log_p, places = draw(1000, 8, signal=1.0)
    fit = fit_exponents(log_p, labels, [column()], [places])
    again = add_context(log_p, [column()], [places], fit.values)
    assert fit.in_use and 0 < np.abs(fit.held_out - again).max() < 0.2
    assert np.exp(fit.held_out).sum(axis=1) == pytest.approx(np.ones(1000))


def test_a_group_has_the_value_that_its_samples_agree_on():
    codes = np.array([2, 2, 0, 1, -1, 3, -1, -1])
    group = np.array([0, 0, 1, 1, 2, 2, 3, 4])
    assert codes_of_groups(codes, group, 6).tolist() == [2, -1, 3, -1, -1, -1]


def test_columns_that_say_the_same_share_the_exponent():
    labels, log_p, places = draw(4000, 6, signal=0.5)
    columns = [column(), column(name="again")]
    fit = fit_exponents(log_p, labels, columns, [places, places])
    assert fit.values.sum() == pytest.approx(1, abs=0.1)
    assert fit.values[0] == pytest.approx(fit.values[1], abs=0.01)


def test_missing_and_unknown_values_leave_the_prediction_as_it_is():
    _, log_p, places = draw(50, 7, signal=1.0)
    site = column()
    cells = [None, "desert", *(PLACES[place] for place in places[2:])]
    codes = site.codes(cells)
    after = add_context(log_p, [site], [codes], np.array([1.3]))
    assert after[:2] == pytest.approx(log_p[:2])
    assert (np.abs(after[2:] - log_p[2:]).max(axis=1) > 0.01).all()
    assert encode(["b", None, "c"], ["a", "b"]).tolist() == [1, -1, -1]


def test_smoothing_has_the_largest_likelihood_of_scipy():
    counts = np.array([[30, 2, 1], [3, 18, 0], [1, 1, 9], [0, 2, 0]])
    totals = counts.sum(axis=0)
    prior = (totals + 0.5) / (totals + 0.5).sum()

    def likelihood(m):
        return dirichlet_multinomial.logpmf(counts, m * prior, counts.sum(axis=1)).sum()

    best = fit_smoothing(counts, totals)
    assert all(likelihood(best) >= likelihood(best * factor) for factor in (0.5, 0.9, 1.1, 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 6))
def test_probabilities_stay_probabilities(seed, values, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 30)
    cells = [str(value) for value in rng.integers(0, values, 30)]
    counts = np.bincount(labels, minlength=classes)
    own = ContextColumn.fit("any", "value", cells, labels, counts)
    ratio = np.exp(own.log_ratio) * (counts + 0.5) / (counts + 0.5).sum()
    assert ratio.sum(axis=1) == pytest.approx(np.ones(len(own.values) + 1))
    log_p = log_softmax(rng.normal(size=(8, classes)), axis=1)
    codes = rng.integers(-1, len(own.values), 8)
    after = add_context(log_p, [own], [codes], np.array([rng.uniform(0, 3)]))
    assert np.exp(after).sum(axis=1) == pytest.approx(np.ones(8))
