import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from tailproof.models.weights_header import TensorType, read_header
from tailproof.runtime.errors import TailproofError
from tests.strategies import PLAIN

TENSORS = {
    "a": np.zeros((2, 3), np.float32),
    "b.c": np.arange(4, dtype=np.int64),
    "none": np.zeros((0, 5), np.float16),
    "one": np.ones((), np.float64),
}


def file_of(header, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(dtype="F32", shape=(2,), start=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def refused(path) -> str:
    with pytest.raises(TailproofError) as error:
        read_header(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    return str(error.value)


def test_the_header_says_what_the_file_holds(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(TENSORS, metadata={"made": "here"}))
    assert read_header(path) == {
        "a": TensorType("F32", (2, 3)),
        "b.c": TensorType("I64", (4,)),
        "none": TensorType("F16", (0, 5)),
        "one": TensorType("F64", ()),
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        (2**63).to_bytes(8, "little"),
        (100).to_bytes(8, "little") + b"{}",
        file_of(b"{"),
        file_of(b"\xff\xfe"),
        file_of(b'{"a": 1, "a": 2}'),
        file_of(b"[" * 50_000),
        file_of([]),
        file_of({}),
        file_of({"__metadata__": {}}),
        file_of({"a": entry()}),
        file_of({"a": entry()}, b"\0" * 9),
        file_of({"a": entry(start=8, end=16)}, b"\0" * 16),
        file_of({"a": entry(), "b": entry(start=4, end=12)}, b"\0" * 12),
        file_of({"a": entry(), "b": entry()}, b"\0" * 8),
        file_of({"a": entry(), "b": entry(start=12, end=20)}, b"\0" * 20),
        file_of({"a": entry(dtype="F16")}, b"\0" * 8),
        file_of({"a": entry(dtype="F99")}, b"\0" * 8),
        file_of({"a": entry(shape=[-2])}, b"\0" * 8),
        file_of({"a": entry(shape=[2**62, 2**62])}, b"\0" * 8),
        file_of({"a": entry(shape=[1.0])}, b"\0" * 8),
        file_of({"a": entry() | {"url": "x"}}, b"\0" * 8),
        file_of({"a": "F32"}, b"\0" * 8),
    ],
    ids=lambda content: repr(content[8:60]),
)
def test_a_header_that_lies_is_one_sentence(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refused(path)


@given(value=PLAIN, size=st.integers(0, 64))
def test_any_header_is_read_or_refused(tmp_path_factory, value, size):
    path = tmp_path_factory.mktemp("header") / "w.safetensors"
    path.write_bytes(file_of(json.dumps(value, allow_nan=False).encode(), b"\0" * size))
    refused(path)


@given(place=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 8))
def test_what_is_accepted_is_what_the_library_loads(tmp_path_factory, place, byte, cut):
    path = tmp_path_factory.mktemp("header") / "w.safetensors"
    content = bytearray(save(TENSORS))
    content[place % len(content)] = byte
    path.write_bytes(content[: len(content) - cut])
    try:
        header = read_header(path)
    except TailproofError:
        return
    assert header.keys() == load_file(path).keys()
