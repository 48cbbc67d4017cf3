import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.functional import cross_entropy, one_hot
from torchvision.ops import sigmoid_focal_loss

from tailproof.config.recipe import Recipe
from tailproof.losses import LOSSES, Loss, register_loss
from tailproof.runtime.errors import TailproofError

COUNTS = torch.tensor([400, 90, 20, 4])


class Built:
    """A recipe's loss with its class values, called as training calls it."""

    def __init__(self, options, counts=COUNTS):
        self.loss = Recipe(loss=options).loss
        self.values = self.loss.class_values(counts)

    def __call__(self, logits, target):
        return self.loss.mean(functional, logits, target, self.values)

    def reduction_weight(self, target):
        return self.loss.reduction_weight(target, self.values)


def loss(name, **options):
    return Built({"name": name, **options})


def batch(seed, n=32, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, 4, generator=generator)
    return logits, torch.randint(0, 4, (n,), generator=generator)


@given(seed=st.integers(0, 10**6))
def test_logit_adjust_at_tau_1_is_balanced_softmax(seed):
    """log(n) and log(prior) differ by the constant log N, which softmax cannot see."""
    logits, labels = batch(seed)
    published = -torch.log(
        (COUNTS[labels] * logits.exp().gather(1, labels[:, None])[:, 0])
        / (COUNTS * logits.exp()).sum(1)
    ).mean()
    logits.requires_grad_()
    gradients = []
    for found in (loss("balanced_softmax"), loss("logit_adjustment", tau=1.0)):
        value = found(logits, labels)
        assert value.item() == pytest.approx(published.item(), rel=1e-5)
        gradients.append(torch.autograd.grad(value, logits)[0])
    assert torch.equal(*gradients)


@given(seed=st.integers(0, 10**6), tau=st.sampled_from([0.0, 0.5, 2.0]))
def test_logit_adjust_is_cross_entropy_on_shifted_logits(seed, tau):
    logits, labels = batch(seed)
    shifted = logits + tau * (COUNTS / COUNTS.sum()).log()
    assert torch.allclose(
        loss("logit_adjustment", tau=tau)(logits, labels), cross_entropy(shifted, labels)
    )


@given(seed=st.integers(0, 10**6))
def test_focal_without_focus_is_cross_entropy(seed):
    logits, labels = batch(seed)
    assert torch.allclose(loss("focal", gamma=0.0)(logits, labels), cross_entropy(logits, labels))


def test_focal_of_two_classes_is_that_of_torchvision():
    logits, labels = batch(0)
    two, binary = logits[:, :2], labels % 2
    expected = sigmoid_focal_loss(two[:, 1] - two[:, 0], binary.float(), alpha=-1, gamma=2.0)
    found = Built({"name": "focal", "gamma": 2.0}, COUNTS[:2])
    assert torch.allclose(found(two, binary), expected.mean(), atol=1e-6)


def test_focal_has_finite_gradients_at_certainty():
    logits = torch.tensor([[200.0, 0, 0, 0]], requires_grad=True)
    loss("focal", gamma=0.5)(logits, torch.tensor([0])).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    "found",
    [
        loss("cross_entropy"),
        loss("cross_entropy", class_weights="balanced"),
        loss("balanced_softmax"),
        loss("logit_adjustment", tau=2.0),
        loss("focal", gamma=2.0, class_weights=[1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_soft_targets_of_one_class_are_hard_targets(found):
    logits, labels = batch(1, n=1)
    soft = found(logits, one_hot(labels, 4).float())
    weight = 1.0
    if getattr(found.loss, "class_weights", None):
        weight = found.values[labels][0]
    # torch divides soft targets by the batch, hard ones by the sum of their weights
    factor = weight if found.loss.name == "cross_entropy" else 1.0
    assert soft.item() == pytest.approx(found(logits, labels).item() * float(factor), rel=1e-5)


def test_balanced_weights_make_a_batch_of_the_prior_weigh_one_each_class():
    weights = loss("cross_entropy", class_weights="balanced").values
    assert torch.allclose(weights * COUNTS, (weights * COUNTS).mean().expand(4))
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1.0)


def test_initial_losses_are_those_of_the_readiness_review():
    """A review of three experts on CIFAR-100-LT measured, before training, cross-entropy 5.11 on
    the head and 5.14 on the tail, and 3.59 and 8.23 with either rebalancing loss.
    """
    counts = torch.tensor([math.floor(500 * 100 ** (-i / 99) + 1e-9) for i in range(100)])
    assert counts.sum() == 10847
    logits = torch.randn(20000, 100, generator=torch.Generator().manual_seed(0))

    def initial(config, label):
        labels = torch.full((len(logits),), label)
        return Built(config, counts)(logits, labels).item()

    plain = {"name": "cross_entropy"}
    assert initial(plain, 0) == pytest.approx(5.11, abs=0.05)
    assert initial(plain, 99) == pytest.approx(5.14, abs=0.05)
    for config in ({"name": "logit_adjustment", "tau": 1.0}, {"name": "balanced_softmax"}):
        assert initial(config, 0) == pytest.approx(3.59, abs=0.1)
        assert initial(config, 99) == pytest.approx(8.23, abs=0.1)


def test_class_weights_of_other_classes_are_refused():
    with pytest.raises(TailproofError, match=r"class_weights has 1 values, expected 4"):
        loss("focal", gamma=1.0, class_weights=[1.0])


@pytest.mark.parametrize(
    ("options", "rebalances", "canonical", "level"),
    [
        ({"name": "cross_entropy"}, False, "cross_entropy", "cross_entropy"),
        ({"name": "cross_entropy", "class_weights": "balanced"}, True, None, "cross_entropy"),
        ({"name": "cross_entropy", "label_smoothing": 0.1}, False, None, None),
        ({"name": "focal", "gamma": 0.0}, False, "cross_entropy", "cross_entropy"),
        ({"name": "focal"}, False, None, None),
        ({"name": "balanced_softmax"}, True, "logit_adjustment", "cross_entropy"),
        ({"name": "logit_adjustment", "tau": 2.0}, True, None, "cross_entropy"),
        ({"name": "logit_adjustment", "tau": 0.0}, False, "cross_entropy", "cross_entropy"),
    ],
)
def test_a_loss_and_its_canonical_form_train_the_same(options, rebalances, canonical, level):
    """`canonical` and `level` name plain losses that it comes to; None is itself."""
    found = Built(options)
    assert found.loss.rebalances is rebalances
    logits, labels = batch(0)
    for counts, known, name in ((COUNTS, False, canonical), (COUNTS * 0 + 9, True, level)):
        simplest = found.loss.canonical(level=known)
        expected = LOSSES[name](name=name) if name else found.loss
        assert simplest == expected
        value = Built(options, counts)(logits, labels)
        same = Built(simplest.model_dump(), counts)(logits, labels)
        assert value.item() == pytest.approx(same.item(), rel=1e-6)


def test_a_name_belongs_to_one_loss():
    class Nameless(Loss):
        """None."""

    for loss_class in (Nameless, LOSSES["focal"]):
        with pytest.raises(ValueError, match="Literal"):
            register_loss(loss_class)


@pytest.mark.parametrize("module", ["tailproof.config.validation", "tailproof.preflight.gate"])
def test_reading_a_configuration_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'timm'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "cross_entropy", "label_smoothing": 0.1},
        {"name": "cross_entropy", "class_weights": "balanced"},
        {"name": "balanced_softmax"},
        {"name": "focal", "gamma": 2.0, "class_weights": [1.0, 2.0, 3.0, 9.0]},
    ],
    ids=["smoothed", "weighted", "adjusted", "focal"],
)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 31), soft=st.booleans())
def test_parts_of_a_batch_add_up_by_their_divisors(options, seed, cut, soft):
    found = loss(**options)
    logits, target = batch(seed)
    if soft:
        target = 0.7 * one_hot(target, 4).float() + 0.3 * one_hot(target.flip(0), 4).float()
    parts = [(logits[:cut], target[:cut]), (logits[cut:], target[cut:])]
    whole = found.reduction_weight(target)
    added = sum(found(*part) * found.reduction_weight(part[1]) / whole for part in parts)
    assert added.item() == pytest.approx(found(logits, target).item(), rel=1e-4)


@pytest.mark.parametrize("weights", [{}, {"class_weights": [1.0, 1.0, 1.0, 1.0]}])
def test_focal_adds_up_where_some_of_a_mixed_image_has_no_label(weights):
    found = loss(name="focal", gamma=2.0, **weights)
    logits, target = batch(0)
    soft = one_hot(target, 4).float() * torch.linspace(0.2, 1, len(target))[:, None]
    parts = [(logits[:9], soft[:9]), (logits[9:], soft[9:])]
    added = sum(
        found(*part) * found.reduction_weight(part[1]) for part in parts
    ) / found.reduction_weight(soft)
    assert added.item() == pytest.approx(found(logits, soft).item(), rel=1e-5)
