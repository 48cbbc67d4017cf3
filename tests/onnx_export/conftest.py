"""Experts that nobody trained."""

from tests.predict.conftest import colour_expert  # noqa: F401 - a fixture
