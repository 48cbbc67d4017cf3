"""The smallest valid configuration, changes to it, and the errors that they cause."""

import copy

import pytest

from tailproof.config.validation import parse_experiment
from tailproof.runtime.errors import TailproofError

MINIMAL = {"title": "t", "data": {"source": {"name": "digits"}}, "experts": {"one": {}}}


def changed(**sections):
    return {**copy.deepcopy(MINIMAL), **sections}


def mistakes(value):
    with pytest.raises(TailproofError) as caught:
        parse_experiment(value, "x.yaml")
    text = str(caught.value)
    assert text.startswith("x.yaml:")
    return [line.strip() for line in text.removeprefix("x.yaml:").strip().splitlines()]


def assert_mistakes(lines, expected):
    """Each line starts with the field expected and names the values expected."""
    assert len(lines) == len(expected), lines
    for line, (field, *values) in zip(lines, expected, strict=True):
        assert line.startswith(f"'{field}' "), line
        assert [value for value in values if value not in line] == [], line
