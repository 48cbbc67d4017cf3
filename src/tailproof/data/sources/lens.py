"""Simulated galaxies, some with the arcs of a lensed source around them, made when they are read.

Galaxies, their neighbours and the seeing are drawn alike for both classes: neither is told by
anything but what arcs add.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from tailproof.core.config.data import Lens
from tailproof.core.errors import TailproofError
from tailproof.data.bands import encode_bands
from tailproof.data.sources.base import Sample, Source
from tailproof.data.sources.lens_physics import Sersic, blur, expose, grid, ray_trace

CONTROL, LENS = "control", "lens"
RED = np.array([0.3, 0.75, 1.0, 1.1])  # brightness in g, r, i and z
BLUE = np.array([1.0, 0.85, 0.7, 0.6])
SCENE, ARCS, NOISE = range(3)  # what a galaxy, a lens and an image draw from


class LensSource(Source):
    """Lenses, then controls; each image follows from (seed, number) alone."""

    classes = {"class": [CONTROL, LENS]}  # noqa: RUF012

    def __init__(self, config: Lens) -> None:
        self.config = config

    def files(self) -> list[Path]:
        """Return no file: the images are computed."""
        return []

    def __len__(self) -> int:
        return self.config.lenses * (1 + self.config.controls_per_lens)

    def samples(self) -> Iterator[Sample]:
        """Yield ``lens-000000``, … and ``control-000000``, …; a pair is one group."""
        for row in range(len(self)):
            name = self._class_of(row)
            number = row if name == LENS else row - self.config.lenses
            group = f"galaxy-{self._galaxy_of(row):06d}"
            yield Sample(f"{name}-{number:06d}", {"class": name}, "simulated", row, group=group)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the image as a .npy file, float32 [size, size, 4]."""
        if row is None or not 0 <= row < len(self):
            raise TailproofError(
                f"{path}, row {row}: no longer in the source; run the stage prepare again"
            )
        return encode_bands(np.moveaxis(self.image(row), 0, 2))

    def image(self, row: int) -> np.ndarray:
        """Return an image in units of the sky's noise, float32 [4, size, size]."""
        galaxy = self._galaxy_of(row)
        light = self._scene(galaxy)
        if self._class_of(row) == LENS:
            light = light + self._arcs(galaxy)
        seeing = self._rng(SCENE, galaxy).uniform(2.0, 3.5)
        return expose(blur(light, seeing), self._rng(NOISE, row))

    def _class_of(self, row: int) -> str:
        return LENS if row < self.config.lenses else CONTROL

    def _galaxy_of(self, row: int) -> int:
        """Return the galaxy's number: a paired control has that of its lens."""
        return row % self.config.lenses if self.config.controls == "paired" else row

    def _rng(self, what: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, what, number])

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        return grid(self.config.size)

    def _scene(self, galaxy: int) -> np.ndarray:
        """Draw a red elliptical galaxy, and neighbours that may be as blue and bright as arcs."""
        rng = self._rng(SCENE, galaxy)
        rng.uniform()  # the seeing
        half = self.config.size / 2
        light = Sersic(
            *rng.uniform(-0.5, 0.5, 2),
            radius=rng.uniform(0.1, 0.3) * half,
            index=4.0,
            axis_ratio=rng.uniform(0.6, 1),
            angle=rng.uniform(0, np.pi),
            brightness=RED * rng.lognormal(0, 0.15, 4) * rng.lognormal(np.log(3), 0.4),
        ).at(*self._grid)
        for _ in range(rng.poisson(1.5)):
            colour = BLUE if rng.random() < 0.7 else RED
            radius = rng.uniform(0.6, 2.0)
            light += Sersic(
                *rng.uniform(-half, half, 2),
                radius=radius,
                index=1.0,
                axis_ratio=rng.uniform(0.3, 1),
                angle=rng.uniform(0, np.pi),
                brightness=colour * self._peak(rng.lognormal(0, 0.5), index=1.0),
            ).at(*self._grid)
        return light

    def _arcs(self, galaxy: int) -> np.ndarray:
        """Draw a blue source that is lensed into arcs, a ring or two images."""
        rng = self._rng(ARCS, galaxy)
        radius = rng.uniform(0.25, 0.6) * self.config.size / 2
        away, direction = radius * 0.6 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        source = Sersic(
            away * np.cos(direction),
            away * np.sin(direction),
            radius=rng.uniform(0.6, 1.5),
            index=1.0,
            axis_ratio=rng.uniform(0.4, 1),
            angle=rng.uniform(0, np.pi),
            brightness=BLUE * rng.lognormal(0, 0.1, 4) * self._peak(1.0, index=1.0),
        )
        return source.at(*ray_trace(*self._grid, radius))

    def _peak(self, factor: float, index: float) -> float:
        """Return the brightness at the half-light radius of what peaks at `arc_brightness`."""
        b = 2 * index - 1 / 3 + 4 / (405 * index)
        return factor * self.config.arc_brightness * float(np.exp(-b))
