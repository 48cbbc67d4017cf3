"""Metrics by rank against scikit-learn and against a tree walked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

from tailproof.evaluation.hierarchy import measure_ranks, measured, tree_distance
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task

SIZES = {"order": 3, "family": 5, "species": 12}


def drawn(seed, samples=200, unlabelled=0.2):
    """Return task, prediction at species, labels by rank and heads of a random tree."""
    rng = np.random.default_rng(seed)
    family = np.arange(12) % 5
    order = (np.arange(5) % 3)[family]
    task = Task(
        target="species",
        classes=[str(number) for number in range(12)],
        train_counts=np.full(12, 50),
        groups={name: np.ones(12, bool) for name in ("many", "medium", "few")},
        coarser={"order": order, "family": family},
        rank_classes={rank: [str(n) for n in range(size)] for rank, size in SIZES.items()},
    )
    truth = rng.integers(12, size=samples)
    labels = {"species": truth, "family": family[truth], "order": order[truth]}
    labels["family"] = np.where(rng.random(samples) < unlabelled, -1, labels["family"])
    logits = {rank: 2 * rng.standard_normal((samples, size)) for rank, size in SIZES.items()}
    logits["species"][np.arange(samples), truth] += 2
    log_p = {rank: log_softmax(each, axis=1) for rank, each in logits.items()}
    return task, Prediction(log_p["species"], truth), labels, log_p


def summed(p, above, size):
    return np.stack([p[:, above == index].sum(axis=1) for index in range(size)], axis=1)


@given(st.integers(0, 10**6))
def test_each_rank_is_measured_as_scikit_learn_does(seed):
    task, prediction, labels, log_p = drawn(seed)
    heads = {rank: Prediction(log_p[rank], labels[rank]) for rank in ("order", "family")}
    ones = np.ones((1, len(labels["species"])), np.uint16)
    found = measure_ranks(prediction, labels, heads, ones, task)
    assert set(found) == set(measured(task))
    for rank, above in task.coarser.items():
        known = labels[rank] >= 0
        truth, classes = labels[rank][known], range(SIZES[rank])
        sums = summed(prediction.p, above, SIZES[rank])
        for kind, scores in (("", log_p[rank]), ("summed_", sums)):
            own = scores[known]
            said = own.argmax(axis=1)
            name = f"{rank}_{kind}"
            assert found[f"{name}top1"][0] == pytest.approx(accuracy_score(truth, said))
            assert found[f"{name}macro_f1"][0] == pytest.approx(
                f1_score(truth, said, average="macro")
            )
            assert found[f"{name}top3"][0] == pytest.approx(
                top_k_accuracy_score(truth, own, k=3, labels=classes) if len(classes) > 3 else 1
            )
        gained = found[f"{rank}_top1"] - found[f"{rank}_summed_top1"]
        assert found[f"{rank}_gained_top1"] == pytest.approx(gained)
    assert found["top3"][0] == pytest.approx(
        top_k_accuracy_score(labels["species"], log_p["species"], k=3, labels=range(12))
    )


@given(st.integers(0, 10**6))
def test_errors_are_as_far_as_the_walk_up_to_a_common_ancestor(seed):
    task, prediction, _, _ = drawn(seed)
    walks = []
    for true, said in zip(prediction.labels, prediction.predicted, strict=True):
        if true != said:
            above = [task.coarser[rank] for rank in ("family", "order")]
            ways = [[each[leaf] for each in above] for leaf in (true, said)]
            shared = [up for up, (a, b) in enumerate(zip(*ways, strict=True), 1) if a == b]
            walks.append(min(shared, default=3))
    found = tree_distance(prediction, np.ones((1, len(prediction.labels))), task)
    assert found[0] == pytest.approx(np.mean(walks))


def test_ranks_agree_where_all_classes_lie_on_one_path():
    task, _, labels, _ = drawn(0, samples=4)
    sure = np.log(np.eye(12)[[0, 1, 2, 3]] * 0.9 + 0.1 / 12)
    prediction = Prediction(sure, np.array([0, 1, 2, 3]))
    family, order = task.coarser["family"][:4], task.coarser["order"][:4]
    heads = {
        "family": Prediction(np.log(np.eye(5)[family] + 1e-9), family),
        "order": Prediction(
            np.log(np.eye(3)[[order[0], (order[1] + 1) % 3, order[2], order[3]]] + 1e-9), order
        ),
    }
    ones = np.ones((1, 4), np.uint16)
    found = measure_ranks(prediction, labels, heads, ones, task)
    assert found["consistency"][0] == 0.75
    assert found["consistency_summed"][0] == 1


def test_a_class_whose_ancestor_nobody_knows_contradicts_nothing_and_shares_nothing():
    task, prediction, labels, _ = drawn(1)
    unknown = {rank: np.full(12, -1) for rank in task.coarser}
    lost = Task(**{**task.__dict__, "coarser": unknown})
    ones = np.ones((1, 200), np.uint16)
    found = measure_ranks(prediction, labels, {}, ones, lost)
    assert found["consistency_summed"][0] == 1
    assert found["tree_distance"][0] == 3


def test_without_coarser_ranks_there_is_nothing_to_measure():
    task, prediction, labels, _ = drawn(2)
    flat = Task(**{**task.__dict__, "coarser": {}})
    assert measure_ranks(prediction, labels, {}, np.ones((1, 200), np.uint16), flat) == {}
    assert measured(flat) == []
