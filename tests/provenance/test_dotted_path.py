import pytest

from tailproof.provenance.dotted_path import look_up, read_keyed
from tailproof.runtime.errors import TailproofError

CONTENT = {"a": {"b.c": {"d": 1}, "b": {"c": [5, {"e": 6}]}}, "a.b": {"x": 2}, "risk_at_0.8": 3}


@pytest.mark.parametrize(
    ("key", "value", "way"),
    [
        ("a.b.c.d", 1, ("a", "b.c", "d")),
        ("a.b.c.1.e", 6, ("a", "b", "c", "1", "e")),
        ("a.b.x", 2, ("a.b", "x")),
        ("risk_at_0.8", 3, ("risk_at_0.8",)),
        ("a.b.c.0", 5, ("a", "b", "c", "0")),
    ],
)
def test_a_key_is_found_though_names_hold_dots(key, value, way):
    assert look_up(CONTENT, key, "here") == (value, way)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("a.b.c.2", r"^here\b.*'a\.b"),
        (
            "risk_at_0.9",
            r"^here\b.*'risk_at_0'.*'risk_at_0\.8'.*: a\b",
        ),
        ("a.bb", r"^here\b.*'a\.bb'.*'b"),
        ("risk_at_0.8.mean", r"^here\b.*'risk_at_0\.8\.mean'.*'risk_at_0\.8'"),
        ("", r"^here\b.*''.*: a\b"),
    ],
)
def test_a_wrong_key_is_told(key, message):
    with pytest.raises(TailproofError, match=message):
        look_up(CONTENT, key, "here")


def test_a_table_is_keyed_by_the_columns_that_tell_its_rows_apart(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('split,class,recall,n\ntest,"a, b",0.5,3\ntest,c,,4\ndev,c,1,5\n')
    content, columns = read_keyed(path)
    assert columns == ["split", "class"]
    assert look_up(content, "test.a, b.recall", path)[0] == "0.5"
    assert content["dev"]["c"] == {"recall": "1", "n": "5"}
    path.write_text("epoch,loss\n1,0.5\n2,0.5\n")
    assert read_keyed(path) == ({"1": {"loss": "0.5"}, "2": {"loss": "0.5"}}, ["epoch"])


@pytest.mark.parametrize("text", ["", 'a,b\n"1'])
def test_what_is_no_table_is_told(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(TailproofError, match=r"table\.csv"):
        read_keyed(path)


def test_files_without_keys_and_missing_ones_are_told(tmp_path):
    with pytest.raises(TailproofError, match=r"JSON.*CSV"):
        read_keyed(tmp_path / "model.safetensors")
    for name in ("none.csv", "none.json"):
        with pytest.raises(TailproofError, match=name):
            read_keyed(tmp_path / name)
