"""Simulated scanning-tunnelling lines of dimer rows, with a tip that changes while it scans.

A scan is a surface, seen line by line through a tip whose state lasts some lines and then jumps.
A sample is a window of consecutive lines; its class is the tip's state at the last one.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from tailproof.core.config.data import ScanLines
from tailproof.core.errors import TailproofError
from tailproof.data.bands import encode_bands
from tailproof.data.sources.base import Sample, Source

STATES = ("atoms", "rows", "tip_change", "double_tip")
KEPT = 512  # scans in memory


class ScanLinesSource(Source):
    """Windows of simulated scans; each scan follows from (seed, number) alone."""

    classes = {"class": list(STATES)}  # noqa: RUF012

    def __init__(self, config: ScanLines) -> None:
        self.config = config
        self._scan = lru_cache(KEPT)(self._draw)

    def files(self) -> list[Path]:
        """Return no file: the scans are computed."""
        return []

    @property
    def _windows(self) -> int:
        """Windows of a scan."""
        return (self.config.lines - self.config.window) // self.config.stride + 1

    def __len__(self) -> int:
        return self.config.scans * self._windows

    def samples(self) -> Iterator[Sample]:
        """Yield ``scan-0000-line-016``, …, named by the last line; a scan is one group."""
        for row in range(len(self)):
            scan, end = self._place(row)
            state = STATES[self._scan(scan)[1][end - 1]]
            name = f"scan-{scan:04d}"
            yield Sample(f"{name}-line-{end:03d}", {"class": state}, "simulated", row, group=name)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the window as a .npy file, float32 [lines, pixels, 1]."""
        if row is None or not 0 <= row < len(self):
            raise TailproofError(
                f"{path}, row {row}: no longer in the source; run the stage prepare again"
            )
        scan, end = self._place(row)
        window = self._scan(scan)[0][end - self.config.window : end]
        return encode_bands(window[:, :, None])

    def _place(self, row: int) -> tuple[int, int]:
        """Return a window's scan, and the line that it ends before."""
        scan, number = divmod(row, self._windows)
        return scan, self.config.window + number * self.config.stride

    def _draw(self, scan: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the heights of a scan, float32 [lines, pixels], and its state at each line."""
        from tailproof.data.sources.scan_lines_physics import draw

        return draw(
            np.random.default_rng([self.config.seed, scan]),
            STATES,
            self.config.lines,
            self.config.pixels,
            self.config.noise,
        )
