import pytest

from tests.evaluation.drawn_experts import write_experts


@pytest.fixture
def files(tmp_path):
    """Two experts with two seeds, as evaluate takes them; manifest.json lies in tmp_path."""
    return write_experts(tmp_path)
