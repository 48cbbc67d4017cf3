"""Simulated scanning-tunnelling scans of dimer rows, with a tip that changes during the scan.

A scan shows a surface line by line through a tip, whose state lasts for some lines and then jumps.
A sample is a window of consecutive lines. Its class is the state of the tip at the last line.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tailproof.config.base import Count
from tailproof.config.data import SourceConfig
from tailproof.data.multiband import encode_bands
from tailproof.data.sources.base import Sample, Source, register_source
from tailproof.runtime.errors import TailproofError

SHARES = {"atoms": 0.0879, "rows": 0.4394, "tip_change": 0.1691, "double_tip": 0.3036}
"""States of the tip and their frequencies, as imbalanced as in published scans."""

MEAN_DURATION = 24  # lines that a state lasts on average


def draw(
    rng: np.random.Generator, names: tuple[str, ...], lines: int, pixels: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the heights of a scan, float32 [lines, pixels], and its state indices, [lines].

    Args:
        rng: the random generator.
        names: names of the states; each is in `SHARES`.
        lines: number of lines of the scan.
        pixels: number of pixels per line.
        noise: standard deviation of the noise at each pixel.
    """
    states = _states(rng, names, lines)
    surface, period = _surface(rng, lines, pixels)
    seen = np.stack([_through(rng, name, surface, period) for name in names])
    heights = seen[states, np.arange(lines)] + rng.normal(0, noise, (lines, pixels))
    # The feedback loop drifts: every line has its own height and slope.
    drift = np.cumsum(rng.normal(0, 0.3, lines)) + rng.normal(0, 0.3, lines)
    slope = rng.normal(0, 0.5) + rng.normal(0, 0.1, lines)
    across = np.linspace(-1, 1, pixels)
    return (heights + drift[:, None] + slope[:, None] * across).astype(np.float32), states


def _states(rng: np.random.Generator, names: tuple[str, ...], lines: int) -> np.ndarray:
    """Draw the state of every line; a state lasts for a geometric number of lines."""
    states: list[int] = []
    shares = np.array([SHARES[name] for name in names])
    while len(states) < lines:
        state = int(rng.choice(len(names), p=shares / shares.sum()))
        states += [state] * int(rng.geometric(1 / MEAN_DURATION))
    return np.array(states[:lines])


def _surface(rng: np.random.Generator, lines: int, pixels: int) -> tuple[np.ndarray, float]:
    """Draw dimer rows with adatoms and vacancies; return the heights and the period."""
    y, x = np.mgrid[:lines, :pixels].astype(float)
    period, tilt = rng.uniform(7, 11), rng.uniform(-0.35, 0.35)
    across, along = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    rows = np.cos(2 * np.pi * across / period)
    atoms = np.cos(4 * np.pi * across / period) * np.cos(2 * np.pi * along / (period / 2))
    heights = rows + 0.6 * atoms
    for _ in range(rng.poisson(lines * pixels / 700)):
        depth, size = rng.choice([-2.0, 2.5]), rng.uniform(1.0, 2.0)
        distance = (x - rng.uniform(0, pixels)) ** 2 + (y - rng.uniform(0, lines)) ** 2
        heights += depth * np.exp(-distance / (2 * size**2))
    return heights, period


def _through(
    rng: np.random.Generator, state: str, surface: np.ndarray, period: float
) -> np.ndarray:
    """Return the surface as a tip in one state shows it, [lines, pixels]."""
    if state == "atoms":
        return surface.copy()
    blunt = _blur(surface, period / 6)
    if state == "rows":
        return blunt
    if state == "double_tip":
        away = (rng.uniform(-3, 3), rng.choice([-1, 1]) * rng.uniform(0.3, 0.7) * period)
        return 0.55 * blunt + 0.45 * _moved(blunt, *away)
    jumps = rng.normal(0, 1.2, len(blunt)) * (rng.random(len(blunt)) < 0.5)
    start = rng.integers(0, blunt.shape[1], len(blunt))
    return blunt + jumps[:, None] * (np.arange(blunt.shape[1]) >= start[:, None])


def _blur(heights: np.ndarray, width: float) -> np.ndarray:
    """Smooth each line by a Gaussian with a standard deviation of `width` pixels."""
    reach = int(4 * width + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(heights, ((0, 0), (reach, reach)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=1) @ kernel


def _moved(heights: np.ndarray, down: float, right: float) -> np.ndarray:
    """Move the surface by fractions of pixels, with linear interpolation."""
    moved = heights
    for axis, by in enumerate((down, right)):
        at = np.clip(np.arange(moved.shape[axis]) - by, 0, moved.shape[axis] - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, moved.shape[axis] - 1)
        part = np.expand_dims(at - low, 1 - axis)
        moved = moved.take(low, axis) * (1 - part) + moved.take(high, axis) * part
    return moved


STATES = ("atoms", "rows", "tip_change", "double_tip")
CACHED_SCANS = 512


class ScanLines(SourceConfig):
    """Simulated scanning-tunnelling scans of dimer rows, cut into windows of lines."""

    name: Literal["scan_lines"]
    scans: Count = Field(200, description="Number of scans.")
    lines: Count = Field(128, description="Lines per scan.")
    pixels: int = Field(64, ge=16, description="Pixels per line.")
    window: Count = Field(16, description="Lines per sample; the class is that of the last line.")
    stride: Count = Field(8, description="Lines between the starts of two windows.")
    noise: float = Field(
        0.5, ge=0, description="Standard deviation of the noise, in amplitudes of the dimer rows."
    )
    seed: int = Field(0, ge=0, description="Seed of the simulation.")

    @model_validator(mode="after")
    def _fits(self) -> "ScanLines":
        if self.window > self.lines:
            raise ValueError(
                f"window is {self.window}, expected at most {self.lines} (the lines per scan): "
                "lower it"
            )
        return self


@register_source(ScanLines)
class ScanLinesSource(Source):
    """Windows of simulated scans. Each scan depends on (seed, number) only."""

    classes = {"class": list(STATES)}  # noqa: RUF012

    def __init__(self, config: ScanLines) -> None:
        self.config = config
        self._scan = lru_cache(CACHED_SCANS)(self._draw)

    def files(self) -> list[Path]:
        """Return no files: the scans are computed."""
        return []

    @property
    def _windows(self) -> int:
        """The number of windows per scan."""
        return (self.config.lines - self.config.window) // self.config.stride + 1

    def __len__(self) -> int:
        return self.config.scans * self._windows

    def samples(self) -> Iterator[Sample]:
        """Yield ``scan-0000-line-016``, …, named by the last line. A scan is one group."""
        for row in range(len(self)):
            scan, end = self._place(row)
            state = STATES[self._scan(scan)[1][end - 1]]
            name = f"scan-{scan:04d}"
            yield Sample(f"{name}-line-{end:03d}", {"class": state}, "simulated", row, group=name)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the window as a .npy file, float32 [lines, pixels, 1]."""
        if row is None or not 0 <= row < len(self):
            raise TailproofError(
                f"{path}, row {row} is no longer in the source: run snakemake again with "
                "--forcerun prepare"
            )
        scan, end = self._place(row)
        window = self._scan(scan)[0][end - self.config.window : end]
        return encode_bands(window[:, :, None])

    def _place(self, row: int) -> tuple[int, int]:
        """Return the scan of a window, and the number of the line after its last one."""
        scan, number = divmod(row, self._windows)
        return scan, self.config.window + number * self.config.stride

    def _draw(self, scan: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the heights of a scan, float32 [lines, pixels], and its state at each line."""
        return draw(
            np.random.default_rng([self.config.seed, scan]),
            STATES,
            self.config.lines,
            self.config.pixels,
            self.config.noise,
        )
