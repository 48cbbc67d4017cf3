from hypothesis import given
from hypothesis import strategies as st

from tailproof.data.taxonomy import head_columns


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 5)))
def test_the_heads_lie_side_by_side_and_cover_all_outputs(sizes):
    outputs = list(range(sum(sizes.values())))
    columns = head_columns(sizes)
    assert {rank: len(outputs[own]) for rank, own in columns.items()} == sizes
    assert [output for own in columns.values() for output in outputs[own]] == outputs
