"""What the tests of sources ask of an opened source."""

import pytest

from tailproof.data.sources import Source
from tailproof.runtime.errors import TailproofError


def left_out(opened: Source) -> dict[str, int]:
    """Return how many files or rows are no samples, by reason."""
    return {skipped.reason: skipped.count for skipped in opened.skipped()}


def complaint(opened: Source) -> str:
    """Return the error of a source that cannot be read."""
    with pytest.raises(TailproofError) as error:
        list(opened.samples())
    return str(error.value)
