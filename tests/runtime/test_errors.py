import pytest

from tailproof.runtime.errors import suggestion, unknown_name


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lerning_rate", " (did you mean 'learning_rate'?)"),
        ("epoch", " (did you mean 'epochs'?)"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_word_is_suggested_and_only_a_near_one(word, expected):
    assert suggestion(word, {"learning_rate": 1, "epochs": 2, "seed": 3}) == expected


def test_an_unknown_name_lists_what_is_known_where_that_is_short():
    assert str(unknown_name("source", "idxx", {"idx", "digits"})) == (
        "unknown source 'idxx' (did you mean 'idx'?); known: digits, idx"
    )
    assert str(unknown_name("model", "resnt", [f"resnet{n}" for n in range(100)])).endswith(
        "and 95 more"
    )
