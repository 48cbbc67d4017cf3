import io
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from tailproof.data.sources import open_source
from tailproof.data.sources.simulated.scan_lines import SHARES, STATES, ScanLines, draw
from tailproof.runtime.errors import TailproofError


def source(**changes):
    fields = {"scans": 6, "lines": 40, "pixels": 32, "window": 8, "stride": 4}
    return open_source(ScanLines(name="scan_lines", **{**fields, **changes}))


def test_windows_are_consecutive_lines_and_named_by_the_last():
    found = source()
    samples = list(found.samples())
    assert len(samples) == len(found) == 6 * 9
    assert samples[1].sample_id == "scan-0000-line-012"
    assert {sample.group for sample in samples} == {f"scan-000{number}" for number in range(6)}
    first, second = (np.load(io.BytesIO(found.read("simulated", row))) for row in (0, 1))
    assert first.shape == (8, 32, 1) and first.dtype == np.float32
    assert np.array_equal(first[4:], second[:4])


def test_the_label_is_the_state_at_the_last_line():
    found = source(stride=1)
    states = draw(np.random.default_rng([0, 3]), STATES, 40, 32, 0.5)[1]
    labels = [each.labels["class"] for each in found.samples() if each.group == "scan-0003"]
    assert labels == [STATES[state] for state in states[7:]]


def test_the_same_seed_gives_the_same_lines_and_another_others():
    first, again, other = source(), source(), source(seed=1)
    assert first.read("simulated", 20) == again.read("simulated", 20)
    assert first.read("simulated", 20) != other.read("simulated", 20)


def test_states_are_as_unbalanced_as_stated():
    found = source(scans=300, lines=128, pixels=16, window=1, stride=8)
    counts = Counter(sample.labels["class"] for sample in found.samples())
    shares = {name: counts[name] / len(found) for name in STATES}
    assert sum(SHARES.values()) == pytest.approx(1)
    assert shares == pytest.approx(SHARES, abs=0.05)


def test_a_tip_shows_what_its_state_says():
    """Sharp tips show more detail than blunt ones, changing ones jump within a line."""
    spread = {name: [] for name in STATES}
    for seed in range(30):
        heights, states = draw(np.random.default_rng(seed), STATES, 64, 64, 0.0)
        detail = np.abs(np.diff(heights, n=2, axis=1)).mean(axis=1)
        for index, name in enumerate(STATES):
            spread[name] += detail[states == index].tolist()
    means = {name: np.mean(values) for name, values in spread.items()}
    assert means["atoms"] > 1.5 * means["rows"] > 1.5 * means["double_tip"]
    assert max(spread["tip_change"]) > 1.2 * max(spread["rows"])


def test_a_row_that_is_not_there_is_named():
    with pytest.raises(TailproofError, match=r"row 99.* no longer"):
        source().read("simulated", 99)


def test_a_window_longer_than_a_scan_is_refused():
    with pytest.raises(ValidationError, match=r"window is 50, expected at most .*40"):
        source(window=50)
