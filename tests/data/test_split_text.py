import pytest

from tailproof.data.split_text import cleaning_sentences, small_class_sentence

DROPPED = (
    "unlabelled_dropped",
    "duplicates_dropped",
    "conflicting_dropped",
    "shared_groups_dropped",
)


@pytest.mark.parametrize("counted", DROPPED)
def test_each_kind_of_dropped_sample_is_counted(counted):
    splits = {"samples": 1000, **dict.fromkeys(DROPPED, 0), "official_test_dropped": 0}
    clean = cleaning_sentences(splits)
    assert "1,000 samples" in clean
    assert " 37 " not in clean
    assert " 37 " in cleaning_sentences({**splits, counted: 37})


def test_small_classes_are_named_up_to_a_limit():
    names = [f"class-{index}" for index in range(30)]
    text = small_class_sentence({"classes_under_10_training_samples": names}, 40)
    assert "30 of 40 classes" in text
    assert "class-19 and 10 more" in text
    assert "class" in small_class_sentence({"classes_under_10_training_samples": []}, 40)


def test_a_published_test_set_that_is_not_whole_is_said():
    splits = {"samples": 1000, **dict.fromkeys(DROPPED, 0), "duplicates_dropped": 5}
    assert "published" not in cleaning_sentences({**splits, "official_test_dropped": 0})
    said = cleaning_sentences({**splits, "official_test_dropped": 3})
    assert "3 samples of the published test set" in said
