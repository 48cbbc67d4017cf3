"""Simulated galaxies, some with the arcs of a lensed source; computed when they are read.

Galaxies, neighbours and seeing have the same distribution in both classes, which therefore differ
only by the arcs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tailproof.config.base import Count, Positive
from tailproof.config.data import SourceConfig
from tailproof.data.multiband import encode_bands
from tailproof.data.sources.base import Sample, Source, register_source
from tailproof.runtime.errors import TailproofError

FINE = 2  # cells per pixel side; light is averaged over the cells of a pixel
SKY = 400.0  # electrons per pixel
READ_NOISE = 5.0  # electrons, standard deviation

Array = np.ndarray


@dataclass(frozen=True)
class Sersic:
    """An elliptical profile of constant shape (Sérsic 1963).

    Attributes:
        x: x of the centre.
        y: y of the centre.
        radius: half-light radius along the geometric mean of the axes.
        index: Sérsic index; 1 is an exponential disc, 4 is de Vaucouleurs' law.
        axis_ratio: minor axis divided by major axis.
        angle: angle of the major axis in radians.
        brightness: surface brightness at the half-light radius in each band.
    """

    x: float
    y: float
    radius: float
    index: float
    axis_ratio: float
    angle: float
    brightness: Array

    def at(self, x: Array, y: Array) -> Array:
        """Return the surface brightness at the points, [bands, …].

        b ≈ 2n − 1/3 + 4/(405 n) (Ciotti and Bertin 1999, equation 18). A core of a fifth of a
        pixel keeps the centre finite.
        """
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = x - self.x, y - self.y
        major = (x * cos + y * sin) * np.sqrt(self.axis_ratio)
        minor = (y * cos - x * sin) / np.sqrt(self.axis_ratio)
        b = 2 * self.index - 1 / 3 + 4 / (405 * self.index)
        distance = np.sqrt(major**2 + minor**2 + 0.04) / self.radius
        shape = np.exp(-b * (distance ** (1 / self.index) - 1))
        return np.multiply.outer(self.brightness, shape)


def ray_trace(x: Array, y: Array, einstein_radius: float) -> tuple[Array, Array]:
    """Return the position in the source plane of the light that is seen at (x, y).

    The lens is a singular isothermal sphere at the origin: β = θ − θ_E·θ/|θ|
    (Schneider, Ehlers and Falco 1992, section 8.1.4). Lensing preserves surface brightness.
    """
    distance = np.maximum(np.hypot(x, y), 1e-9)
    factor = 1 - einstein_radius / distance
    return x * factor, y * factor


def grid(size: int) -> tuple[Array, Array]:
    """Return x and y of the cells of an image of `size` pixels, centred at the origin."""
    line = (np.arange(size * FINE) + 0.5) / FINE - size / 2
    return np.meshgrid(line, line)


def blur(light: Array, width: float) -> Array:
    """Convolve [bands, cells, cells] with a Gaussian PSF and average over pixels.

    Args:
        light: surface brightness on the fine grid.
        width: full width at half maximum of the PSF in pixels.
    """
    cells = light.shape[-1]
    at = np.arange(cells) / FINE
    sigma = width / np.sqrt(8 * np.log(2))
    kernel = np.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * sigma**2))
    kernel /= kernel[cells // 2].sum()
    pixels = kernel.reshape(cells // FINE, FINE, cells).mean(axis=1)
    return pixels @ light @ pixels.T


def expose(light: Array, rng: np.random.Generator) -> Array:
    """Add Poisson noise and read noise, and subtract the sky.

    Counts are rounded to whole numbers, so that the result does not depend on the last bits of a
    processor's exponential.
    """
    electrons = rng.poisson(np.maximum(light, 0) * np.sqrt(SKY) + SKY)
    counts = electrons + np.rint(rng.normal(0, READ_NOISE, light.shape))
    return ((counts - SKY) / np.sqrt(SKY)).astype(np.float32)


CONTROL, LENS = "control", "lens"
RED = np.array([0.3, 0.75, 1.0, 1.1])  # brightness in g, r, i and z
BLUE = np.array([1.0, 0.85, 0.7, 0.6])
SCENE, ARCS, NOISE = range(3)  # random streams of a galaxy, a lens and an image


class Lens(SourceConfig):
    """Simulated gravitational lenses and other galaxies in the bands g, r, i and z."""

    name: Literal["lens"]
    lenses: Count = Field(1000, description="Number of galaxies with arcs around them.")
    controls: Literal["paired", "unpaired"] = Field(
        "unpaired",
        description="paired: the galaxy of each lens without its arcs, in the same split. "
        "unpaired: other galaxies.",
    )
    controls_per_lens: Count = Field(1, description="Number of controls per lens.")
    arc_brightness: Positive = Field(
        20.0,
        description="Peak surface brightness of the lensed source before seeing, in units of the "
        "sky noise per pixel.",
    )
    size: int = Field(32, ge=24, description="Side of the images in pixels.")
    seed: int = Field(0, ge=0, description="Seed of the simulation.")

    @model_validator(mode="after")
    def _one_of_a_pair(self) -> "Lens":
        if self.controls == "paired" and self.controls_per_lens > 1:
            raise ValueError("a lens has exactly one paired control: remove controls_per_lens")
        return self


@register_source(Lens)
class LensSource(Source):
    """Lenses, then controls. Each image depends on (seed, number) only."""

    classes = {"class": [CONTROL, LENS]}  # noqa: RUF012

    def __init__(self, config: Lens) -> None:
        self.config = config

    def files(self) -> list[Path]:
        """Return no files: the images are computed."""
        return []

    def __len__(self) -> int:
        return self.config.lenses * (1 + self.config.controls_per_lens)

    def samples(self) -> Iterator[Sample]:
        """Yield ``lens-000000``, … and ``control-000000``, …. A pair is one group."""
        for row in range(len(self)):
            name = self._class_of(row)
            number = row if name == LENS else row - self.config.lenses
            group = f"galaxy-{self._galaxy_of(row):06d}"
            yield Sample(f"{name}-{number:06d}", {"class": name}, "simulated", row, group=group)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the image as a .npy file, float32 [size, size, 4]."""
        if row is None or not 0 <= row < len(self):
            raise TailproofError(
                f"{path}, row {row} is no longer in the source: run snakemake again with "
                "--forcerun prepare"
            )
        return encode_bands(np.moveaxis(self.image(row), 0, 2))

    def image(self, row: int) -> np.ndarray:
        """Return an image in units of the sky noise, float32 [4, size, size]."""
        galaxy = self._galaxy_of(row)
        light = self._scene(galaxy)
        if self._class_of(row) == LENS:
            light = light + self._arcs(galaxy)
        seeing = self._rng(SCENE, galaxy).uniform(2.0, 3.5)
        return expose(blur(light, seeing), self._rng(NOISE, row))

    def _class_of(self, row: int) -> str:
        return LENS if row < self.config.lenses else CONTROL

    def _galaxy_of(self, row: int) -> int:
        """Return the number of the galaxy; a paired control has that of its lens."""
        return row % self.config.lenses if self.config.controls == "paired" else row

    def _rng(self, what: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, what, number])

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        return grid(self.config.size)

    def _scene(self, galaxy: int) -> np.ndarray:
        """Draw a red elliptical galaxy and neighbours, which can be as blue and bright as arcs."""
        rng = self._rng(SCENE, galaxy)
        rng.uniform()  # the seeing
        half = self.config.size / 2
        x, y = rng.uniform(-0.5, 0.5, 2)
        light = Sersic(
            x,
            y,
            radius=rng.uniform(0.1, 0.3) * half,
            index=4.0,
            axis_ratio=rng.uniform(0.6, 1),
            angle=rng.uniform(0, np.pi),
            brightness=RED * rng.lognormal(0, 0.15, 4) * rng.lognormal(np.log(3), 0.4),
        ).at(*self._grid)
        for _ in range(rng.poisson(1.5)):
            colour = BLUE if rng.random() < 0.7 else RED
            radius = rng.uniform(0.6, 2.0)
            x, y = rng.uniform(-half, half, 2)
            light += Sersic(
                x,
                y,
                radius=radius,
                index=1.0,
                axis_ratio=rng.uniform(0.3, 1),
                angle=rng.uniform(0, np.pi),
                brightness=colour * self._peak(rng.lognormal(0, 0.5), index=1.0),
            ).at(*self._grid)
        return light

    def _arcs(self, galaxy: int) -> np.ndarray:
        """Draw a blue source that the lens turns into arcs, a ring or two images."""
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
        """Return the half-light brightness of a profile with the peak `arc_brightness` · factor."""
        b = 2 * index - 1 / 3 + 4 / (405 * index)
        return factor * self.config.arc_brightness * float(np.exp(-b))
