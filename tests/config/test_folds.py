"""The experiments of folds: written from one experiment, and refused once they differ from it."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.folds import read_folds, write_folds
from tailproof.config.validation import load_experiment
from tailproof.config.yaml_reader import read_yaml, yaml_text
from tailproof.runtime.errors import TailproofError
from tests.config.minimal import changed

NAMES = ["one-fold-0", "one-fold-1", "one-fold-2"]


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "experiments"
    folder.mkdir(parents=True)
    write(folder, "one", changed(recipe={"epochs": 3}, seeds=[0, 1]))
    return folder


def write(folder, name, value):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(value))


def test_folds_differ_in_their_number_alone(experiments):
    write_folds("one", 3)
    assert read_folds("one") == NAMES
    whole = load_experiment(experiments / "one.yaml").result_fields()
    for index, name in enumerate(NAMES):
        fields = load_experiment(experiments / f"{name}.yaml").result_fields()
        assert fields["data"]["splits"].pop("fold") == {"index": index, "of": 3}
        fields["data"]["splits"]["fold"], fields["title"] = None, whole["title"]
        assert fields == whole


def test_folds_of_an_older_experiment_are_refused_until_they_are_written_again(experiments):
    write_folds("one", 3)
    write(experiments, "one", changed(recipe={"epochs": 4}, seeds=[0, 1]))
    with pytest.raises(TailproofError, match=r"one-fold-0\.yaml .*recipe\.epochs.*--of 3"):
        read_folds("one")
    write_folds("one", 3)
    assert read_folds("one") == NAMES


def test_a_fold_that_was_edited_is_refused(experiments):
    write_folds("one", 3)
    path = experiments / "one-fold-2.yaml"
    path.write_text(path.read_text().replace("index: 2", "index: 1"))
    with pytest.raises(TailproofError, match=r"one-fold-2\.yaml .*data\.splits\.fold\.index"):
        read_folds("one")


def test_title_and_execution_may_differ(experiments):
    write_folds("one", 3)
    path = experiments / "one-fold-0.yaml"
    value = yaml.safe_load(path.read_text())
    value["title"], value["recipe"]["workers"] = "another", 2
    write(experiments, "one-fold-0", value)
    assert read_folds("one") == NAMES


def test_a_file_of_the_user_is_not_replaced(experiments):
    mine = changed(title="mine")
    write(experiments, "one-fold-1", mine)
    with pytest.raises(TailproofError, match=r"one-fold-1\.yaml"):
        write_folds("one", 3)
    assert yaml.safe_load((experiments / "one-fold-1.yaml").read_text()) == mine
    assert not (experiments / "one-fold-0.yaml").exists()


def test_what_is_left_of_more_folds_is_named(experiments):
    write_folds("one", 5)
    with pytest.raises(TailproofError, match=r"one-fold-3\.yaml.*one-fold-4\.yaml"):
        write_folds("one", 3)


@pytest.mark.parametrize("missing", ["one-fold-0", "one-fold-2"])
def test_a_missing_fold_is_named(experiments, missing):
    write_folds("one", 3)
    (experiments / f"{missing}.yaml").unlink()
    with pytest.raises(TailproofError, match=rf"{missing}\.yaml does not exist"):
        read_folds("one")


def test_a_fold_has_no_folds(experiments):
    write_folds("one", 2)
    with pytest.raises(TailproofError, match=r"data\.splits\.fold"):
        write_folds("one-fold-0", 2)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(["yes", "no", "012", "1e3", "2024-01-01", "12:30", "null", "7", "=", "<<"]),
)


@given(
    value=st.dictionaries(
        st.text("abcyn01", min_size=1, max_size=3), SCALARS | st.lists(SCALARS, max_size=3)
    )
)
def test_what_is_written_as_yaml_is_read_as_the_same(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(yaml_text(value), encoding="utf-8")
    assert read_yaml(path) == value
