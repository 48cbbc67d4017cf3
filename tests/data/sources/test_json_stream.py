"""JSON objects with large arrays, read item by item."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.data.sources.json_files import json_stream
from tailproof.data.sources.json_files.json_stream import JsonStream
from tailproof.runtime.errors import TailproofError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(), VALUES | st.lists(VALUES, max_size=6), max_size=5)


def read(file: Path, content: str | bytes) -> list[tuple[str, object]]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(JsonStream(file))


def flat(value: dict) -> list[tuple[str, object]]:
    return [
        (key, item)
        for key, each in value.items()
        for item in (each if isinstance(each, list) else [each])
    ]


@settings(max_examples=100, deadline=None)
@given(value=OBJECTS, block=st.integers(1, 30), indent=st.sampled_from([None, 1]))
def test_blocks_of_any_size_give_what_json_gives(tmp_path_factory, value, block, indent):
    file = tmp_path_factory.mktemp("json") / "x.json"
    before, json_stream.BLOCK = json_stream.BLOCK, block
    try:
        assert read(file, json.dumps(value, indent=indent)) == flat(value)
    finally:
        json_stream.BLOCK = before


@pytest.mark.parametrize("number", ["0.0", "-12.5", "1e+7", "1.25E-10", "123456789", "-0"])
@pytest.mark.parametrize("block", range(1, 12))
def test_a_number_may_be_cut_anywhere(tmp_path, monkeypatch, number, block):
    monkeypatch.setattr(json_stream, "BLOCK", block)
    assert read(tmp_path / "x.json", f'{{"a": [{number}], "b": {number}}}') == [
        ("a", json.loads(number)),
        ("b", json.loads(number)),
    ]


@settings(max_examples=40, deadline=None)
@given(value=OBJECTS.filter(bool), data=st.data())
def test_a_truncated_file_is_never_read(tmp_path_factory, value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(TailproofError):
        read(tmp_path_factory.mktemp("json") / "x.json", text[:cut])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_read(tmp_path, encoding):
    assert read(tmp_path / "x.json", '{"a": ["Bär"]}'.encode(encoding)) == [("a", "Bär")]


def test_nan_is_read_as_python_writes_it(tmp_path):
    ((_, item),) = read(tmp_path / "x.json", '{"images": [{"latitude": NaN}]}')
    assert item["latitude"] != item["latitude"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains nothing"),
        ("[1, 2]", "contains an array"),
        ("7", "contains another value"),
        ('{"a": 1}\n{"a": 2}\n', r"line 2: a second value .*JSON lines"),
        ('{"a": [1, 2', "truncated"),
        ('{"a": [{"b": "x', "truncated"),
        ('{"a": [{"b": 1}', "truncated"),
        ('{"a": [\n1,\n2,,\n3]}', "line 3 is not valid JSON"),
        ('{"a": [1 2]}', "line 1 is not valid JSON"),
        ("{'a': 1}", "line 1 is not valid JSON"),
        ('{"a": 1, "a": 2}', 'expected a key.*"a"'),
        ('{"a": [{"b": 1, "b": 2}]}', "'b' occurs twice"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "is not utf-8 text"),
        (b"\x1f\x8b\x08", "is compressed: unpack it"),
        (b"PK\x03\x04", "is a zip archive: unpack it"),
        ("<html>", "web page"),
    ],
)
def test_what_is_no_such_file_is_named_in_one_sentence(tmp_path, content, message):
    with pytest.raises(TailproofError, match=message) as error:
        read(tmp_path / "x.json", content)
    assert str(error.value).startswith(str(tmp_path / "x.json"))
    assert "\n" not in str(error.value)


def test_other_files_are_refused_without_reading_them(tmp_path):
    for path, reason in ((tmp_path / "no.json", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(TailproofError, match=reason):
            list(JsonStream(path))


def test_an_item_without_an_end_needs_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST", 1000)
    monkeypatch.setattr(json_stream, "BLOCK", 100)
    with pytest.raises(TailproofError, match="not valid JSON"):
        read(tmp_path / "x.json", '{"a": "' + "x" * 100_000)
