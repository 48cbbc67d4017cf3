import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.runtime.errors import TailproofError

RANKS = ("order", "family", "species")


def columns(rows, ranks=RANKS) -> Labels:
    labels = Labels(ranks)
    for row in rows:
        for rank, label in zip(ranks, row, strict=True):
            labels.add(rank, label)
    return labels


@given(st.lists(st.tuples(*[st.none() | st.sampled_from("abc")] * 3)))
def test_labels_come_back_as_they_went_in(rows):
    labels = columns(rows)
    assert [tuple(labels.of(row).values()) for row in range(len(rows))] == rows


@given(st.lists(st.tuples(*[st.none() | st.sampled_from("abc")] * 3), min_size=1))
def test_a_label_with_two_parents_is_found_wherever_it_is(rows):
    rows = [("a", "a", "a"), *rows]
    pairs = [
        {(row[fine], row[coarse]) for row in rows if None not in (row[fine], row[coarse])}
        for coarse, fine in ((0, 1), (0, 2), (1, 2))
    ]
    is_tree = all(len({child for child, _ in pair}) == len(pair) for pair in pairs)
    try:
        columns(rows).check("x.csv", str)
        assert is_tree
    except TailproofError:
        assert not is_tree


def test_both_rows_of_a_contradiction_are_named():
    rows = [(None, "F", "x"), ("O", None, "x"), ("O", "F", "y"), ("P", None, "x")]
    with pytest.raises(TailproofError) as error:
        columns(rows).check("x.csv", "x.csv, row {}".format)
    assert re.match(
        "x.csv, row 3.* species 'x'.* order 'P'.*'O'.*x.csv, row 1.*data.source.ranks",
        str(error.value),
    )


def test_a_rank_without_any_label_is_an_error():
    with pytest.raises(TailproofError, match=r"^x\.csv: .*'family'"):
        columns([("O", None, "x")]).check("x.csv", str)
