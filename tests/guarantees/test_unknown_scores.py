"""Scores of unknown images against independent implementations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from tailproof.guarantees import unknown_scores
from tailproof.guarantees.unknown_scores import NEIGHBORS, KnownFeatures, bank_rows, logit_scores


def drawn(rows=400, width=12, classes=6, seed=0):
    """Features of Gaussian classes with a long tail, and their labels."""
    rng = np.random.default_rng(seed)
    shares = 0.5 ** np.arange(classes)
    labels = np.concatenate(
        [np.arange(classes), rng.choice(classes, rows, p=shares / shares.sum())]
    )
    means = 3 * np.random.default_rng(7).normal(size=(classes, width))
    scale = np.linspace(0.3, 2, width)
    return (means[labels] + scale * rng.normal(size=(len(labels), width))).astype(
        np.float32
    ), labels


def test_logit_scores_are_those_of_scipy():
    from scipy.special import logsumexp, softmax

    logits = np.random.default_rng(0).normal(0, 50, (100, 7)).astype(np.float32)
    found = logit_scores(logits)
    assert np.allclose(found["max_softmax"], softmax(logits.astype(float), axis=1).max(axis=1))
    assert np.allclose(found["energy"], logsumexp(logits.astype(float), axis=1))
    assert (found["max_logit"] == logits.max(axis=1)).all()


def test_knn_is_that_of_scikit_learn():
    features, labels = drawn()
    query, _ = drawn(seed=1)
    known = KnownFeatures.fit(features, labels)
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    nearest = NearestNeighbors(n_neighbors=NEIGHBORS).fit(directions)
    distances, _ = nearest.kneighbors(query / np.linalg.norm(query, axis=1, keepdims=True))
    assert len(known.bank) == len(features)
    assert np.allclose(known.scores(query)["knn"], -distances[:, -1], atol=1e-3)


def test_mahalanobis_is_that_of_scikit_learn():
    features, labels = drawn()
    query, _ = drawn(seed=1)
    means = np.stack([features[labels == label].mean(axis=0) for label in range(6)])
    fitted = LedoitWolf(assume_centered=True, store_precision=True)
    fitted.fit((features - means[labels]).astype(float))
    expected = np.stack(
        [-np.einsum("nd,de,ne->n", query - mean, fitted.precision_, query - mean) for mean in means]
    )
    found = KnownFeatures.fit(features, labels).scores(query)["mahalanobis"]
    assert np.allclose(found, expected.max(axis=0), rtol=1e-3)


@pytest.mark.parametrize("width", [3, 40])
def test_few_or_equal_images_leave_finite_scores(width):
    """A singular covariance: fewer images than features, classes of one image, all the same."""
    features = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
    for values in (features, np.ones_like(features), np.zeros_like(features)):
        known = KnownFeatures.fit(values, np.arange(5))
        for scores in known.scores(features).values():
            assert scores.shape == (5,) and np.isfinite(scores).all()
    assert len(known.scores(features[:0])["knn"]) == 0


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    most=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_full_bank_keeps_rare_classes_whole(counts, most, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unknown_scores, "BANK_BYTES", 2 * 4 * most)
        rows = bank_rows(labels, 4)
    held = np.bincount(labels[rows], minlength=len(counts))
    assert len(rows) == len(set(rows.tolist())) <= most
    if len(labels) <= most:
        assert len(rows) == len(labels)
    elif len(counts) <= most:
        each = held.max()
        assert (held == np.minimum(counts, each)).all()
        assert np.minimum(counts, each + 1).sum() > most
