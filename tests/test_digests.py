import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.digests import canonical_json, digest_of, sha256_bytes, sha256_file
from tests.strategies import PLAIN


def test_digests_are_sha256(tmp_path):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_bytes(b"") == empty
    assert digest_of({"b": [1, None], "a": "ä"}) == sha256_bytes('{"a":"ä","b":[1,null]}'.encode())
    for size in (0, 1, 3_000_000):
        data = b"x" * size
        (tmp_path / "x").write_bytes(data)
        assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), PLAIN, max_size=5))
def test_the_order_of_keys_does_not_matter(value):
    assert digest_of(value) == digest_of(dict(reversed(value.items())))


@given(PLAIN, PLAIN)
def test_other_values_have_other_digests(one, other):
    assert (digest_of(one) == digest_of(other)) == (canonical_json(one) == canonical_json(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1, 1.0), (0, False), (None, "null"), ([], {}), (["ab"], ["a", "b"])],
)
def test_values_that_look_alike_have_other_digests(one, other):
    assert digest_of(one) != digest_of(other)


def test_a_digest_is_the_same_in_another_process():
    value = {"names": ["b", "a"], "rate": 0.1, "deep": {"x": [1, 2.5, True]}}
    program = f"from tailproof.digests import digest_of; print(digest_of({value!r}))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest_of(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": -float("inf")}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of(value)
