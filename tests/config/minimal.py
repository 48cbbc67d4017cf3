"""The least that a configuration may say, what is changed of it, and what is told of that."""

import copy

import pytest

from tailproof.config.load import parse_experiment
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
