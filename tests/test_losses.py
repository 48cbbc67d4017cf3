import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.functional import cross_entropy, one_hot
from torchvision.ops import sigmoid_focal_loss

from tailproof.config.recipe import Recipe
from tailproof.losses import LOSSES, Loss, register_loss
from tailproof.runtime.errors import TailproofError

COUNTS = torch.tensor([400, 90, 20, 4])
EFFECTIVE = {"effective_number": 0.99}


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
        loss("ldam", max_margin=2.0, class_weights={"effective_number": 0.99}),
        loss("label_aware_smoothing"),
    ],
)
def test_soft_targets_of_one_class_are_hard_targets(found):
    logits, labels = batch(1, n=1)
    soft = found(logits, one_hot(labels, 4).float())
    # torch divides soft targets by the batch, hard ones by the sum of their weights
    weighted = found.loss.name == "cross_entropy" and found.loss.class_weights
    factor = float(found.values[labels][0]) if weighted else 1.0
    assert soft.item() == pytest.approx(found(logits, labels).item() * factor, rel=1e-5)


def test_balanced_weights_make_a_batch_of_the_prior_weigh_one_each_class():
    weights = loss("cross_entropy", class_weights="balanced").values
    assert torch.allclose(weights * COUNTS, (weights * COUNTS).mean().expand(4))
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1.0)


@settings(max_examples=30)
@given(beta=st.floats(0, 0.99999), counts=st.lists(st.integers(1, 500), min_size=2, max_size=5))
def test_weights_by_the_effective_number_are_those_of_cui_et_al(beta, counts):
    """(1 − beta) / (1 − beta^n), normalized to the number of classes; the sum is E_n (Prop. 1)."""
    weights = Built(
        {"name": "focal", "class_weights": {"effective_number": beta}}, torch.tensor(counts)
    ).values
    effective = [
        sum(beta**k for k in range(n)) if n < 50 else (1 - beta**n) / (1 - beta) for n in counts
    ]
    expected = [1 / number for number in effective]
    expected = [len(counts) * weight / sum(expected) for weight in expected]
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


def ldam_by_equation_13(logits, label, counts, largest, cosine_scale=1.0):
    """−log of the softmax in which the true class has the margin C / n^(1/4) taken off."""
    margins = [largest * (min(counts) / n) ** 0.25 for n in counts]
    scores = [cosine_scale * z for z in logits]
    scores[label] = cosine_scale * (logits[label] - margins[label])
    return math.log(sum(math.exp(score - scores[label]) for score in scores))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), largest=st.sampled_from([0.0, 0.5, 5.0]))
def test_ldam_is_equation_13_of_cao_et_al(seed, largest):
    logits, labels = batch(seed, n=8)
    counts = COUNTS.tolist()
    each = [
        ldam_by_equation_13(row, label, counts, largest)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    found = loss("ldam", max_margin=largest)
    assert found(logits, labels).item() == pytest.approx(sum(each) / len(each), rel=1e-4)
    weighted = loss("ldam", max_margin=largest, class_weights=EFFECTIVE)
    weights = [1 / (1 - 0.99 ** counts[label]) for label in labels]
    expected = sum(w * one for w, one in zip(weights, each, strict=True)) / sum(weights)
    assert weighted(logits, labels).item() == pytest.approx(expected, rel=1e-4)


def test_ldam_of_scaled_cosines_is_that_of_the_authors_code():
    """It multiplies cosines by 30 after a margin of 0.5 at most: 15 in the unit of the logits."""
    cosines = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.arange(8) % 4
    expected = [
        ldam_by_equation_13(row, label, COUNTS.tolist(), 0.5, cosine_scale=30.0)
        for row, label in zip(cosines.tolist(), labels.tolist(), strict=True)
    ]
    found = loss("ldam", max_margin=15.0)(30 * cosines, labels)
    assert found.item() == pytest.approx(sum(expected) / 8, rel=1e-4)


@pytest.mark.parametrize("shape", ["concave", "linear", "convex"])
@given(
    seed=st.integers(0, 10**6), head=st.sampled_from([0.0, 0.4]), tail=st.sampled_from([0.0, 0.1])
)
def test_label_aware_smoothing_is_that_of_zhong_et_al(shape, seed, head, tail):
    """Section 3.2: 1 − f(n) for the true class and f(n) / (K − 1) for each other one."""
    logits, labels = batch(seed, n=8)
    counts = COUNTS.tolist()
    most, fewest = max(counts), min(counts)

    def smoothing(n):
        x = (n - fewest) / (most - fewest)
        return {
            "concave": tail + (head - tail) * math.sin(math.pi * x / 2),
            "linear": tail + (head - tail) * x,
            "convex": head + (head - tail) * math.sin(1.5 * math.pi + math.pi * x / 2),
        }[shape]

    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(map(math.exp, row)))
        for index, z in enumerate(row):
            f = smoothing(counts[label])
            expected -= ((1 - f) if index == label else f / 3) * (z - log_sum) / 8
    found = loss("label_aware_smoothing", head=head, tail=tail, shape=shape)
    assert found(logits, labels).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"name": "ldam", "max_margin": 5.0}, {"name": "label_aware_smoothing"}],
    ids=["ldam", "label-aware"],
)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_soft_target_is_the_mixture_of_its_hard_ones(options, seed):
    found = loss(**options)
    logits, labels = batch(seed, n=6)
    other = labels.flip(0)
    soft = 0.7 * one_hot(labels, 4).float() + 0.3 * one_hot(other, 4).float()
    expected = 0.7 * found(logits, labels) + 0.3 * found(logits, other)
    assert found(logits, soft).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("logit", [15.0, 90.0, 1e4, -1e4])
@pytest.mark.parametrize("soft", [False, True])
def test_ldam_is_exact_at_certainty(logit, soft):
    """Where a class has all of the probability, and the margin of 15 decides."""
    logits = torch.tensor([[logit, 0.0, 0.0, 0.0]], requires_grad=True)
    target = torch.tensor([0])
    value = loss("ldam", max_margin=15.0)(logits, one_hot(target, 4).float() if soft else target)
    margin = 15.0 * (4 / 400) ** 0.25
    above = math.log(3) - (logit - margin)
    expected = above if above > 30 else math.log1p(math.exp(above))
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    value.backward()
    assert torch.isfinite(logits.grad).all()


def test_equally_large_classes_are_smoothed_as_the_largest():
    found = Built({"name": "label_aware_smoothing", "head": 0.3}, COUNTS * 0 + 9)
    assert found.values.tolist() == pytest.approx([0.3] * 4)


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
    with pytest.raises(TailproofError, match=r"class_weights is 1, expected 4"):
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
        ({"name": "cross_entropy", "class_weights": EFFECTIVE}, True, None, "cross_entropy"),
        ({"name": "ldam", "max_margin": 0.0}, False, "cross_entropy", "cross_entropy"),
        ({"name": "ldam"}, True, None, None),
        ({"name": "label_aware_smoothing"}, False, None, None),
        (
            {"name": "label_aware_smoothing", "head": 0.0, "tail": 0.0},
            False,
            "cross_entropy",
            "cross_entropy",
        ),
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
        {"name": "ldam", "max_margin": 3.0, "class_weights": EFFECTIVE},
        {"name": "label_aware_smoothing"},
    ],
    ids=["smoothed", "weighted", "adjusted", "focal", "ldam", "label-aware"],
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
