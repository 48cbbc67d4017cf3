"""How a galaxy, and what it lenses, appear on a detector: closed forms, in units of pixels.

Surface brightness is in the standard deviation of a pixel's sky noise.
"""

from dataclasses import dataclass

import numpy as np

FINE = 2  # cells a pixel side, over which the light is averaged
SKY = 400.0  # electrons a pixel
READ_NOISE = 5.0  # electrons, standard deviation

Array = np.ndarray


@dataclass(frozen=True)
class Sersic:
    """An elliptical profile of constant shape (Sérsic 1963).

    Attributes:
        x: of the centre.
        y: of the centre.
        radius: that holds half the light, along the geometric mean of the axes.
        index: 1 is an exponential disc, 4 de Vaucouleurs' law.
        axis_ratio: minor over major axis.
        angle: of the major axis, in radians.
        brightness: at the half-light radius in each band.
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
    """Return where in the source plane light was emitted that arrives from (x, y).

    The singular isothermal sphere at the origin: β = θ − θ_E·θ/|θ| (Schneider, Ehlers and Falco
    1992, section 8.1.4). Lensing keeps surface brightness.
    """
    distance = np.maximum(np.hypot(x, y), 1e-9)
    factor = 1 - einstein_radius / distance
    return x * factor, y * factor


def grid(size: int) -> tuple[Array, Array]:
    """Return x and y of the cells of an image of `size` pixels, its centre at the origin."""
    line = (np.arange(size * FINE) + 0.5) / FINE - size / 2
    return np.meshgrid(line, line)


def blur(light: Array, width: float) -> Array:
    """Convolve [bands, cells, cells] with a Gaussian PSF and average over pixels.

    Args:
        light: on the fine grid.
        width: full width at half maximum in pixels.
    """
    cells = light.shape[-1]
    at = np.arange(cells) / FINE
    sigma = width / np.sqrt(8 * np.log(2))
    kernel = np.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * sigma**2))
    kernel /= kernel[cells // 2].sum()
    pixels = kernel.reshape(cells // FINE, FINE, cells).mean(axis=1)
    return pixels @ light @ pixels.T


def expose(light: Array, rng: np.random.Generator) -> Array:
    """Return what a detector counts: Poisson noise of sky and light, and its own; less the sky.

    Counts are whole numbers, so that the last bits of a processor's exponential do not show.
    """
    electrons = rng.poisson(np.maximum(light, 0) * np.sqrt(SKY) + SKY)
    counts = electrons + np.rint(rng.normal(0, READ_NOISE, light.shape))
    return ((counts - SKY) / np.sqrt(SKY)).astype(np.float32)
