import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from tailproof.files import read_json
from tailproof.guarantees.scores import SCORES, score_classes, score_labels

PEER = read_json("tests/field/guarantees/torchcp.json")
EQUAL = np.full(5, 0.2)


@pytest.mark.parametrize("score", ["thr", "aps", "raps"])
def test_scores_are_those_of_torchcp(score):
    p = softmax(PEER["logits"], axis=1)
    assert score_classes(score, p, EQUAL) == pytest.approx(
        np.array(PEER["scores"][score]), abs=1e-6
    )


def test_raps_punishes_classes_after_the_fifth():
    p = np.array([[0.4, 0.3, 0.1, 0.08, 0.06, 0.04, 0.02]])
    extra = score_classes("raps", p, np.ones(7)) - score_classes("aps", p, np.ones(7))
    assert extra[0] == pytest.approx([0, 0, 0, 0, 0, 0.01, 0.02])


def test_pas_is_the_softmax_over_the_share():
    p, shares = np.array([[0.6, 0.3, 0.1]]), np.array([0.9, 0.09, 0.01])
    assert -score_classes("pas", p, shares)[0] == pytest.approx([0.6 / 0.9, 0.3 / 0.09, 10])


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=8), st.randoms())
def test_scores_follow_the_classes_and_a_larger_probability_never_fits_worse(logits, random):
    p = softmax(np.array([logits]), axis=1)
    moved = random.sample(range(len(logits)), len(logits))
    for score in set(SCORES) - {"pas"}:
        scores = score_classes(score, p, np.ones(len(logits)))
        order = np.argsort(-p[0], kind="stable")
        assert (np.diff(scores[0][order]) >= 0).all()
        if len(set(p[0])) == len(logits):
            again = score_classes(score, p[:, moved], np.ones(len(logits)))
            assert again[0] == pytest.approx(scores[0][moved], abs=1e-8)


def test_the_score_of_a_label_is_that_among_all_classes():
    rng = np.random.default_rng(0)
    p = np.vstack([rng.dirichlet(np.full(9, 0.3), 200), np.full((3, 9), 1 / 9)])
    labels, shares = rng.integers(0, 9, 203), rng.dirichlet(np.full(9, 2.0))
    for name, values in score_labels(p, labels, shares).items():
        expected = score_classes(name, p, shares)[np.arange(203), labels]
        assert (values == expected).all(), name
