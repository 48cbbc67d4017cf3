import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation.class_groups import class_groups
from tailproof.evaluation.class_mixes import (
    GAINED,
    KNOWN,
    MIXES,
    PLAIN,
    assumed_shares,
    measure_class_mixes,
    mix_shares,
    summarise_class_mixes,
)
from tailproof.evaluation.method import Method
from tailproof.evaluation.task import Task
from tests.guarantees.drawn import COUNTS, draw

TASK = Task("species", [str(n) for n in COUNTS], COUNTS, class_groups(COUNTS, Evaluation()))
EQUAL = np.full(len(COUNTS), 1 / len(COUNTS))


def test_the_ends_of_a_mix_have_the_named_ratio_in_the_order_of_train():
    counts = np.array([5, 90, 30, 30])
    for mix, ends in MIXES.items():
        shares = mix_shares(counts, ends)
        assert shares.sum() == pytest.approx(1)
        assert shares[1] / shares[0] == pytest.approx(ends)
        word, _, imbalance = mix.partition(" ")
        assert {"forward": ends > 1, "uniform": ends == 1, "backward": ends < 1}[word]
        assert not imbalance or max(ends, 1 / ends) == pytest.approx(float(imbalance))
    assert mix_shares(counts, 8.0)[2:] == pytest.approx(mix_shares(counts, 8.0)[1] / [2, 4])


@pytest.fixture(scope="module")
def measured():
    """The exact posterior under the shares of train, on samples of equal shares."""
    splits = {"tune": draw(3000, 1, shares=EQUAL), "test": draw(6000, 2, shares=EQUAL)}
    method = Method("exact", "expert", {"0": splits})
    counts = np.ones((3, 6000), np.uint16)
    counts[1, :3000], counts[2, 3000:] = 0, 0
    return splits, measure_class_mixes(method, "test", counts, TASK, assumed_shares(method, TASK))


def test_values_are_weighted_accuracies(measured):
    splits, values = measured
    test = splits["test"]
    observed = np.bincount(test.labels) / len(test.labels)
    for mix, ends in MIXES.items():
        weights = (mix_shares(COUNTS, ends) / observed)[test.labels]
        expected = accuracy_score(test.labels, test.predicted, sample_weight=weights)
        assert values[mix][PLAIN][0][0] == pytest.approx(expected)
        half = slice(3000, None)
        expected = accuracy_score(
            test.labels[half], test.predicted[half], sample_weight=weights[half]
        )
        assert values[mix][PLAIN][0][1] == pytest.approx(expected)


def test_the_known_mix_gives_the_best_answer_there_is(measured):
    """Of the exact posterior, the known shares make that of the mix: Bayes' rule."""
    splits, values = measured
    test = splits["test"]
    prior = COUNTS / COUNTS.sum()
    for mix in ("forward 50", "uniform", "backward 50"):
        wanted = mix_shares(COUNTS, MIXES[mix])
        best = (test.log_p + np.log(wanted / prior)).argmax(axis=1)
        weights = wanted[test.labels] / np.bincount(test.labels)[test.labels]
        expected = accuracy_score(test.labels, best, sample_weight=weights)
        assert values[mix][KNOWN][0][0] == pytest.approx(expected, abs=0.004)
    summary = summarise_class_mixes(values)
    assert summary["backward 50"][GAINED]["difference"] > 0.1
    assert abs(summary["forward 50"][GAINED]["difference"]) < 0.02
