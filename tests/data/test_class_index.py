import pytest

from tailproof.data.class_index import class_index, class_order


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "-1", "2.5"], ["-1", "2.5", "9", "10"]),
        (["b", "10", "9", "B"], ["10", "9", "B", "b"]),
        (["1e3", "inf", "2"], ["1e3", "2", "inf"]),
        (["01", "1"], ["01", "1"]),
        ([], []),
    ],
)
def test_classes_are_sorted_and_numbers_by_their_value(names, ordered):
    assert class_order(names) == class_order(names[::-1]) == ordered


def test_an_index_is_the_place_in_the_order():
    assert class_index(class_order(["10", "9", "b"])) == {"10": 0, "9": 1, "b": 2}
