import pytest

from tailproof.config.validation import load_config, load_experiment, parse_config, parse_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.runtime.errors import TailproofError


@pytest.fixture
def write(tmp_path):
    def write(text, name="x.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("value", "found"), [(None, "nothing"), ([], "a list"), ("text", ".*'text'"), (3, ".*3")]
)
def test_a_file_without_keys_is_refused(value, found):
    with pytest.raises(TailproofError, match=f"mapping.*found {found}"):
        parse_experiment(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5e3),
        ("-1.5e+2", -150.0),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("0.1", 0.1),
        ("20", 20),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e-4x", "1e-4x"),
        ("'1e-4'", "1e-4"),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("No", "No"),
        ("ON", "ON"),
        ("off", "off"),
        ("y", "y"),
        ("012", "012"),
        ("007", "007"),
        ("0o14", "0o14"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00"),
    ],
)
def test_names_stay_text_and_numbers_are_decimal(write, text, value):
    read = read_yaml(write(f"x: {text}\n"))["x"]
    assert (read, type(read)) == (value, type(value))


def test_merge_keys_and_anchors_work(write):
    text = "a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  x: 3\nc: {<<: *b, y: 4}\n'1': q\n1: r\n"
    assert read_yaml(write(text)) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 3, "y": 4},
        "1": "q",
        1: "r",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", r"x\.yaml, line 3: .*'a'"),
        ("a:\n  c: 1\n  'c': 2\n", r"x\.yaml, line 3: .*'c'"),
        ("a: {b: 1, b: 1}\n", r"x\.yaml, line 1: .*'b'"),
        ("a: [1\nb: 2\n", r"x\.yaml, line 2: .*YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", r"x\.yaml, line 1: .*YAML"),
        ("? [a, b]\n: 1\n", r"x\.yaml, line 1: .*YAML"),
        ("a: \x01\n", r"x\.yaml, line 1: .*YAML"),
        (b"a: \xff\n", r"x\.yaml .*UTF-8"),
    ],
)
def test_broken_yaml_is_named_with_its_line(write, text, expected):
    with pytest.raises(TailproofError, match=expected):
        read_yaml(write(text))


def test_a_missing_experiment_suggests_the_one_meant(write):
    path = write("title: t\n", "experiments/digits_lt.yaml")
    with pytest.raises(TailproofError, match=r"digit_lt\.yaml .*'digits_lt'"):
        load_experiment(path.with_name("digit_lt.yaml"))
    with pytest.raises(TailproofError, match=r"experiments is a folder"):
        load_experiment(path.parent)
    with pytest.raises(TailproofError, match=r"absent\.yaml"):
        read_yaml(path.with_name("absent.yaml"))


def test_a_character_that_yaml_does_not_allow_is_named_with_its_line(write):
    with pytest.raises(TailproofError, match=r"x\.yaml, line 2: .*U\+0007"):
        read_yaml(write("a: 1\nb: \x07\n"))
    with pytest.raises(TailproofError, match=r"x\.yaml .*deep"):
        read_yaml(write("[" * 5000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("experiment: [a]\n", "'experiments' "),
        ("experiments: [a]\nextra: 1\n", "'extra' "),
        ("experiments: []\n", "'experiments' .*1 item"),
        ("experiments: a\n", "'experiments' .*list, found 'a'"),
        ("experiments: [a, b/c]\n", r"'experiments\.1' .*found 'b/c'"),
        ("experiments: [b]\n", r"experiments/b\.yaml"),
        ("experiments: [aa]\n", r"experiments/aa\.yaml .*'a'"),
    ],
)
def test_the_list_of_experiments_is_checked(write, text, expected):
    write("", "experiments/a.yaml")
    with pytest.raises(TailproofError, match=expected):
        load_config(write(text, "config.yaml"))


def test_the_list_of_experiments_can_come_from_the_workflow(write):
    write("", "experiments/a.yaml")
    path = write("experiments: [a]\n", "config.yaml")
    assert parse_config({"experiments": ["a"]}, path) == load_config(path)
