import numpy as np
import pytest
from scipy.stats import binom

from tailproof.guarantees.binomial_threshold import ALWAYS, fit_threshold
from tailproof.guarantees.roll_up import (
    NONE,
    Rank,
    answer_rank,
    answers_by_rank,
    fit_roll_up,
    wrong_by_rank,
)
from tests.guarantees.drawn import GENUS, classes, draw

RANKS = classes().ranks


def fitted(prediction, precision, ranks=RANKS):
    answers = answers_by_rank(prediction.p, ranks)
    return fit_roll_up(answers, wrong_by_rank(answers, prediction.labels, ranks), precision, 0.9)


def answered(prediction, fits, ranks=RANKS):
    """The rank of each sample, and whether its answer is wrong."""
    answers = answers_by_rank(prediction.p, ranks)
    wrong = wrong_by_rank(answers, prediction.labels, ranks)
    rank = answer_rank(answers, [fit.threshold for fit in fits])
    return rank, wrong[np.maximum(rank, 0), np.arange(len(rank))]


def test_a_coarser_class_sums_the_classes_below_it():
    p = np.array([[0.3, 0.25, 0.25, 0.2]])
    ranks = [Rank("species", list("abcd"), np.arange(4)), Rank("genus", ["x", "y"], [0, 1, 1, -1])]
    ranks = [Rank(rank.name, rank.classes, np.array(rank.above)) for rank in ranks]
    species, genus = answers_by_rank(p, ranks)
    assert (species.chosen[0], species.certainty[0]) == (0, 0.3)
    assert (genus.chosen[0], genus.certainty[0]) == (1, 0.5)
    wrong = wrong_by_rank([species, genus], np.array([3]), ranks)
    assert wrong.tolist() == [[True], [True]]  # 'd' has no genus, so no genus is right


def test_the_finest_certain_rank_answers():
    prediction = draw(6, 0)
    answers = answers_by_rank(prediction.p, RANKS)
    middle = float(np.median(answers[0].certainty))
    rank = answer_rank(answers, [middle, ALWAYS])
    assert (rank == np.where(answers[0].certainty > middle, 0, 1)).all()
    assert (answer_rank(answers, [None, None]) == NONE).all()
    assert (answer_rank(answers, [ALWAYS, ALWAYS]) == 0).all()


def test_without_coarser_ranks_it_is_rejection():
    prediction = draw(500, 1)
    (fit,) = fitted(prediction, 0.9, RANKS[:1])
    wrong = ~prediction.correct
    assert fit.threshold == fit_threshold(prediction.confidence, wrong, 0.1, 0.9).threshold


def test_more_is_answered_than_by_rejection_and_each_rank_is_as_precise_as_promised():
    tune, test = draw(2000, 2), draw(20000, 3)
    rank, wrong = answered(test, fitted(tune, 0.95))
    rejection = fit_threshold(tune.confidence, ~tune.correct, 0.05, 0.9).threshold
    assert (rank != NONE).mean() > (test.confidence > rejection).mean() + 0.1
    for index in (0, 1):
        assert wrong[rank == index].mean() <= 0.05


@pytest.mark.parametrize("precision", [0.7, 0.9])
def test_a_precision_is_broken_as_often_as_the_confidence_allows(precision):
    """At any rank, in 200 draws of 300 samples, against the error of a large sample."""
    population = draw(20000, 5, sharp=1.5)
    answers = answers_by_rank(population.p, RANKS)
    wrong = wrong_by_rank(answers, population.labels, RANKS)
    broken = 0
    for seed in range(200):
        fits = fitted(draw(300, [6, seed], sharp=1.5), precision)
        rank = answer_rank(answers, [fit.threshold for fit in fits])
        shares = [wrong[index][rank == index].mean() for index in (0, 1) if (rank == index).any()]
        broken += any(share > 1 - precision for share in shares)
    assert broken <= binom.ppf(0.999, 200, 0.1)


def test_genera_are_those_of_the_species():
    assert (RANKS[1].above == GENUS).all()
