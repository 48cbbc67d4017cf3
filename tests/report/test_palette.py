"""The colours of the style, against WCAG 2.2: 4.5 to 1 for text (AA), 3 to 1 for what is drawn."""

import re
from importlib.resources import files

import pytest

STYLE = files("tailproof.report").joinpath("templates/style.css").read_text()
INKS = ("ink", "soft", "blue", "orange", "green", "red")
LEAST_OF_TEXT = 4.5


def palettes():
    """{where: {name: (r, g, b)}}; dark and print change what light has."""
    found, whole = {}, {}
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    for where, block in zip(("light", "dark", "print"), blocks, strict=True):
        colours = re.findall(r"--(\w+): #([0-9a-f]{3}|[0-9a-f]{6});", block)
        wide = {
            name: each if len(each) == 6 else "".join(c * 2 for c in each) for name, each in colours
        }
        whole = (found.get("light") or {}) | {
            name: tuple(int(each[i : i + 2], 16) for i in (0, 2, 4)) for name, each in wide.items()
        }
        found[where] = whole
    return found


PALETTES = palettes()


def luminance(colour):
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (c / 255 for c in colour)
    ]
    return sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_guideline_s_examples():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("where", PALETTES)
@pytest.mark.parametrize("name", INKS)
def test_every_ink_can_be_read_on_paper_and_on_tinted_paper(where, name):
    for ground in ("paper", "tint"):
        assert contrast(PALETTES[where][name], PALETTES[where][ground]) >= LEAST_OF_TEXT


@pytest.mark.parametrize("where", PALETTES)
def test_pressed_buttons_and_full_cells_can_be_read(where):
    palette = PALETTES[where]
    for share in (0.12, 0.52):  # of blue, as the style mixes them
        ground = [
            share * blue + (1 - share) * paper
            for blue, paper in zip(palette["blue"], palette["paper"], strict=True)
        ]
        assert f"var(--blue) {100 * share:.0f}%" in STYLE or f"* {100 * share:.0f}%" in STYLE
        assert contrast(palette["ink"], ground) >= LEAST_OF_TEXT
