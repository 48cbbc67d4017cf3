"""What a scanning tip sees of a surface of dimer rows; heights in the amplitude of the rows."""

import numpy as np
from scipy.ndimage import gaussian_filter1d, shift

SHARES = {"atoms": 0.0879, "rows": 0.4394, "tip_change": 0.1691, "double_tip": 0.3036}
"""States of the tip and how often they are met, as unbalanced as in published scans."""

LASTS = 24  # lines, on average


def draw(
    rng: np.random.Generator, names: tuple[str, ...], lines: int, pixels: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the heights of a scan, float32 [lines, pixels], and the index of its states, [lines].

    Args:
        rng: what is drawn from.
        names: of the states, each one of `SHARES`.
        lines: of the scan.
        pixels: of a line.
        noise: standard deviation at each pixel.
    """
    states = _states(rng, names, lines)
    surface, period = _surface(rng, lines, pixels)
    seen = np.stack([_through(rng, name, surface, period) for name in names])
    heights = seen[states, np.arange(lines)] + rng.normal(0, noise, (lines, pixels))
    # The feedback loop drifts: each line has a height and a slope of its own.
    drift = np.cumsum(rng.normal(0, 0.3, lines)) + rng.normal(0, 0.3, lines)
    slope = rng.normal(0, 0.5) + rng.normal(0, 0.1, lines)
    across = np.linspace(-1, 1, pixels)
    return (heights + drift[:, None] + slope[:, None] * across).astype(np.float32), states


def _states(rng: np.random.Generator, names: tuple[str, ...], lines: int) -> np.ndarray:
    """Draw states that each last a geometric number of lines, [lines]."""
    found: list[int] = []
    shares = np.array([SHARES[name] for name in names])
    while len(found) < lines:
        state = int(rng.choice(len(names), p=shares / shares.sum()))
        found += [state] * int(rng.geometric(1 / LASTS))
    return np.array(found[:lines])


def _surface(rng: np.random.Generator, lines: int, pixels: int) -> tuple[np.ndarray, float]:
    """Draw dimer rows with atoms on them and vacancies in them; return heights and the period."""
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
    blunt = gaussian_filter1d(surface, period / 6, axis=1, mode="nearest")
    if state == "rows":
        return blunt
    if state == "double_tip":
        away = (rng.uniform(-3, 3), rng.choice([-1, 1]) * rng.uniform(0.3, 0.7) * period)
        return 0.55 * blunt + 0.45 * shift(blunt, away, order=1, mode="nearest")
    jumps = rng.normal(0, 1.2, len(blunt)) * (rng.random(len(blunt)) < 0.5)
    start = rng.integers(0, blunt.shape[1], len(blunt))
    return blunt + jumps[:, None] * (np.arange(blunt.shape[1]) >= start[:, None])
