"""One head a taxonomic rank: the loss against torch's own, weights, masks, mixing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data import Mixup
from torch.nn import functional as F

from tailproof.config.augmentation import Mixing
from tailproof.config.recipe import Phase, Recipe
from tailproof.losses import CrossEntropy
from tailproof.runtime.errors import TailproofError
from tailproof.training.mixing import build_mixing
from tailproof.training.multi_head import Heads, MultiHeadLoss, rank_weights

RANKS = {"family": ["F", "G"], "genus": ["a", "b", "c"], "species": ["v", "w", "x", "y", "z"]}
MANIFEST = {"target": "species", "positive": None, "ranks": list(RANKS), "classes": RANKS}


def heads(value="all"):
    return Heads(MANIFEST, Recipe(heads=value))


def batch(seed, samples=24, unlabelled=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, 10, generator=generator)
    labels = torch.stack(
        [torch.randint(size, (samples,), generator=generator) for size in (2, 3, 5)], dim=1
    )
    labels[:, :2][torch.rand(samples, 2, generator=generator) < unlabelled] = -1
    return logits, labels


def test_half_of_the_loss_is_on_the_finest_rank_by_default():
    assert heads().weights == {"family": 0.25, "genus": 0.25, "species": 0.5}
    assert heads(None).weights == {"species": 1.0}
    assert heads({"species": 3.0, "genus": 1.0}).weights == {"genus": 1.0, "species": 3.0}
    assert rank_weights("all", ["only"], "only") == {"only": 1.0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"species": 1.0, "genius": 1.0}, r"recipe\.heads 'genius'"),
        ({"genus": 1.0}, r"recipe\.heads .*'species'"),
    ],
)
def test_ranks_that_do_not_fit_are_named(value, expected):
    with pytest.raises(TailproofError, match=expected):
        heads(value)


def test_a_rank_of_one_class_is_refused():
    manifest = {**MANIFEST, "classes": {**RANKS, "family": ["F"]}}
    with pytest.raises(TailproofError, match=r"'family' .*\(F\)"):
        Heads(manifest, Recipe(heads="all"))
    assert Heads(manifest, Recipe()).sizes == {"species": 5}


@given(st.integers(0, 10**6))
def test_the_loss_is_the_weighted_sum_of_torchs_over_what_has_a_label(seed):
    own = heads()
    logits, labels = batch(seed)
    options = CrossEntropy(class_weights="balanced", label_smoothing=0.1)
    loss = MultiHeadLoss(own, options, labels)
    expected = []
    starts = ((0, 2), (2, 5), (5, 10))
    columns = zip(starts, labels.unbind(1), own.weights.values(), strict=True)
    for (start, end), truth, weight in columns:
        known = truth >= 0
        counts = torch.bincount(truth[known], minlength=end - start).clamp_min(1)
        balanced = (counts.sum() / ((end - start) * counts.double())).float()
        expected.append(
            weight
            * F.cross_entropy(
                logits[known, start:end], truth[known], weight=balanced, label_smoothing=0.1
            )
        )
    torch.testing.assert_close(loss(logits, labels), torch.stack(expected))


@given(st.integers(0, 10**6), st.integers(1, 23))
def test_parts_of_a_batch_weighed_by_their_divisors_are_the_whole(seed, cut):
    own = heads()
    logits, labels = batch(seed)
    loss = MultiHeadLoss(own, CrossEntropy(class_weights="balanced"), labels)
    whole = loss.reduction_weight(labels)
    parts = sum(
        loss(logits[part], labels[part]) * loss.reduction_weight(labels[part]) / whole
        for part in (slice(None, cut), slice(cut, None))
    )
    torch.testing.assert_close(parts, loss(logits, labels))


def test_a_rank_without_any_label_in_a_batch_adds_nothing():
    own = heads()
    logits, labels = batch(0)
    loss = MultiHeadLoss(own, CrossEntropy(), labels)
    labels[:, 0] = -1
    logits.requires_grad_()
    found = loss(logits, labels)
    assert found[0] == 0 and loss.reduction_weight(labels)[0] == 0
    found.sum().backward()
    assert not logits.grad[:, :2].any() and logits.grad[:, 2:].any()


def test_one_head_gives_the_bits_of_the_plain_loss():
    own = heads(None)
    logits, labels = batch(1)
    truth = labels[:, 2:]
    loss = MultiHeadLoss(own, CrossEntropy(), truth)
    assert loss(logits[:, 5:], truth).sum() == F.cross_entropy(logits[:, 5:], truth[:, 0])


def test_mixed_labels_are_those_of_timm_at_every_rank():
    own = heads()
    _, labels = batch(3, samples=8, unlabelled=0)
    images = torch.rand(8, 3, 4, 4)
    phase = Phase(from_epoch=1, batch_size=8, mixing=Mixing(mixup=1.0))
    np.random.seed(0)
    mixed, shares = build_mixing(phase, 1)(images.clone(), torch.arange(8))
    soft = own.parts(shares @ own.one_hot(labels))
    for column, (rank, size) in enumerate(own.sizes.items()):
        np.random.seed(0)
        theirs, wanted = Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=size)(
            images.clone(), labels[:, column]
        )
        assert torch.equal(theirs, mixed)
        torch.testing.assert_close(soft[rank], wanted, rtol=0, atol=1e-7)


def test_a_missing_label_has_no_place_in_mixed_targets():
    own = heads()
    one_hot = own.one_hot(torch.tensor([[-1, 2, 4]]))
    assert one_hot.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]
