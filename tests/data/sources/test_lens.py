import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.data.images import decode
from tailproof.data.sources import open_source
from tailproof.data.sources.simulated.lens import Lens, Sersic, blur, expose, grid, ray_trace
from tailproof.runtime.errors import TailproofError


def opened(**changes):
    return open_source(Lens(**{"name": "lens", "lenses": 20, **changes}))


def test_samples_are_lenses_then_controls():
    source = opened(controls_per_lens=3)
    samples = list(source.samples())
    assert len(samples) == len(source) == 80
    assert [each.labels["class"] for each in samples] == ["lens"] * 20 + ["control"] * 60
    assert len({each.sample_id for each in samples}) == len({each.group for each in samples}) == 80


def test_a_pair_is_one_group_and_one_galaxy():
    source = opened(controls="paired")
    samples = list(source.samples())
    assert [each.group for each in samples[:20]] == [each.group for each in samples[20:]]
    assert len(samples) == 40
    paired = np.array([source._scene(source._galaxy_of(row)) for row in (3, 23, 24)])
    assert np.array_equal(paired[0], paired[1]) and not np.array_equal(paired[1], paired[2])


def test_images_follow_from_seed_and_number_alone():
    first, second = opened(), opened(lenses=20)
    image = decode(first.read("simulated", 7))
    list(map(second.image, range(3)))
    assert np.array_equal(image, decode(second.read("simulated", 7)))
    assert image.shape == (32, 32, 4) and image.dtype == np.float32
    assert not np.array_equal(image, decode(first.read("simulated", 8)))
    assert not np.array_equal(image, decode(opened(seed=1).read("simulated", 7)))


def test_arcs_are_what_tells_lenses_apart():
    """They add light, blue light, more of it the brighter they are, and little at the centre."""
    found = []
    for brightness in (0.01, 20.0, 40.0):
        source = opened(lenses=150, controls="paired", arc_brightness=brightness)
        lenses, controls = (
            np.stack([source.image(row) for row in rows]) for rows in (range(150), range(150, 300))
        )
        found.append((lenses - controls).mean((0, 2, 3)))
    assert found[0] == pytest.approx(0, abs=0.02)
    assert (found[1] > 0.1).all() and found[1][0] > 1.2 * found[1][3]
    assert found[2] == pytest.approx(2 * found[1], rel=0.25)


@pytest.mark.parametrize("row", [None, -1, 40])
def test_an_image_that_is_not_there_is_told(row):
    with pytest.raises(TailproofError, match="no longer"):
        opened().read("simulated", row)


def test_a_pair_has_one_control():
    with pytest.raises(ValidationError, match="controls_per_lens"):
        opened(controls="paired", controls_per_lens=2)


@given(st.floats(0.5, 10), st.floats(0.05, 0.95), st.floats(0, 6.28))
def test_a_source_inside_the_einstein_radius_has_two_images(radius, share, angle):
    """At β ± θ_E on the line through the lens (Schneider et al. 1992, equation 8.37)."""
    beta = share * radius
    for distance, side in ((beta + radius, 1), (radius - beta, -1)):
        x, y = (side * distance * f(angle) for f in (np.cos, np.sin))
        back = ray_trace(np.array(x), np.array(y), radius)
        assert back == pytest.approx((beta * np.cos(angle), beta * np.sin(angle)), abs=1e-9)


def test_the_ring_of_a_source_behind_the_lens_has_the_einstein_radius():
    x, y = grid(64)
    source = Sersic(0, 0, 1.0, 1.0, 1.0, 0.0, np.ones(1))
    light = source.at(*ray_trace(x, y, 12.0))[0]
    distance = np.hypot(x, y)
    assert np.average(distance, weights=light) == pytest.approx(12.0, abs=0.1)


def test_lensing_magnifies_as_its_formula_says():
    """Total magnification of a point source is 2 θ_E/β inside the Einstein radius."""
    x, y = grid(128)
    source = Sersic(6.0, 0, 0.8, 1.0, 1.0, 0.0, np.ones(1))
    magnification = source.at(*ray_trace(x, y, 15.0)).sum() / source.at(x, y).sum()
    assert magnification == pytest.approx(2 * 15 / 6, rel=0.02)


def test_half_the_light_is_inside_the_half_light_radius():
    x, y = grid(256)
    for index in (1.0, 4.0):
        light = Sersic(0, 0, 10.0, index, 0.7, 0.4, np.ones(1)).at(x, y)[0]
        cos, sin = np.cos(0.4), np.sin(0.4)
        major, minor = (x * cos + y * sin) * 0.7**0.5, (y * cos - x * sin) / 0.7**0.5
        inside = light[np.hypot(major, minor) < 10].sum() / light.sum()
        assert inside == pytest.approx(0.5, abs=0.01 if index == 1 else 0.06)


def test_seeing_spreads_a_point_to_its_width_and_keeps_its_light():
    light = np.zeros((1, 64, 64))
    light[0, 32, 32] = 4.0
    seen = blur(light, 4.0)[0]
    assert seen.shape == (32, 32)
    assert seen.sum() == pytest.approx(1.0, rel=1e-3)  # of a fine cell, a quarter of a pixel
    at = np.arange(32) + 0.5 - 16.25
    variance = (seen.sum(0) * at**2).sum() / seen.sum()
    assert 2.355 * np.sqrt(variance) == pytest.approx(4.0, rel=0.03)


def test_the_sky_has_the_noise_that_brightness_is_counted_in():
    empty = expose(np.zeros((4, 100, 100)), np.random.default_rng(0))
    assert empty.mean() == pytest.approx(0, abs=0.02)
    assert empty.std() == pytest.approx(np.hypot(1, 5 / 20), rel=0.02)
    bright = expose(np.full((4, 100, 100), 20.0), np.random.default_rng(0))
    assert bright.mean() == pytest.approx(20, rel=0.01)
    assert bright.std() == pytest.approx(np.hypot(2**0.5, 5 / 20), rel=0.02)
