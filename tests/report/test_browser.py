import shutil

import pytest
from selenium.webdriver.common.by import By

from tailproof.report.index_page import write_index
from tailproof.report.log_page import write_log
from tailproof.report.preflight_page import write_preflight_page
from tests.report.chromium import show


@pytest.mark.parametrize("width", [320, 400, 768, 1400])
def test_the_page_fits_its_window(browser, page, width):
    show(browser, page, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter(each =>"
        " !each.closest('.scroll, pre, svg') && each.getBoundingClientRect().right > innerWidth)"
        ".map(each => each.outerHTML.slice(0, 80))"
    )
    assert beyond == []


def test_the_console_stays_empty_and_nothing_is_requested(browser, page):
    show(browser, page, 1400)
    assert browser.get_log("browser") == []
    requested = browser.execute_script(
        "return performance.getEntriesByType('resource').map(each => each.name)"
    )
    assert [name for name in requested if not name.startswith("data:")] == []


def test_no_script_runs_but_the_page_s_own(browser, page):
    show(browser, page, 1400)
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert browser.find_elements(By.CSS_SELECTOR, "[onerror], [onload]") == []
    ran = browser.execute_script(
        "const other = document.createElement('script');"
        "other.textContent = 'window.ran = true';"
        "document.head.append(other);"
        "return window.ran ?? false"
    )
    assert not ran
    (refused,) = browser.get_log("browser")
    assert "Content Security Policy" in refused["message"]


def test_all_images_are_loaded(browser, page):
    show(browser, page, 1400)
    widths = browser.execute_script("return [...document.images].map(each => each.naturalWidth)")
    assert len(widths) > 6
    assert all(widths)


@pytest.mark.parametrize("width", [400, 1400])
def test_the_results_can_be_read(browser, page, width):
    show(browser, page, width)
    region = browser.find_element(By.ID, "results-test")
    rows = region.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.find_element(By.CSS_SELECTOR, "th span").text for row in rows] == [
        "plain", "adjusted", "mean_logits", "mean_probabilities", "stacked",
    ]  # fmt: skip
    for row in rows:
        assert len(row.find_elements(By.TAG_NAME, "td")) == 9
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('td, th, td small')]"
        ".map(each => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert min(sizes) >= 10
    moved = browser.execute_script(
        "const region = arguments[0], head = region.querySelector('tbody th');"
        "region.scrollLeft = 1e6;"
        "return [region.scrollLeft, head.getBoundingClientRect().left - "
        "region.getBoundingClientRect().left]",
        region,
    )
    assert (moved[0] > 0) == (width == 400)
    assert moved[1] == pytest.approx(0, abs=1)


@pytest.mark.parametrize("width", [400, 768, 1400])
def test_chart_text_is_large_enough(browser, page, width):
    show(browser, page, width)
    heights = browser.execute_script(
        "return [...document.querySelectorAll('svg text')].map(each => {"
        "const {a, b} = each.getScreenCTM();"  # b, since some text is turned
        "return parseFloat(getComputedStyle(each).fontSize) * Math.hypot(a, b);})"
    )
    assert min(heights) >= 9.5
    assert max(heights) <= 16


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, page, scheme):
    show(browser, page, 1400, scheme)
    selectors = ("body", "small", "td.heat", "svg text", "figcaption", "a")
    worst = {name: browser.execute_script(CONTRAST, name) for name in selectors}
    assert min(worst.values()) >= 4.5, worst


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function rgb(colour, behind) {
  canvas.fillStyle = behind; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function luminance(each) {
  const [r, g, b] = each.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const paper = getComputedStyle(document.body).backgroundColor;
return Math.min(...[...document.querySelectorAll(arguments[0])].map(each => {
  const style = getComputedStyle(each);
  const ink = each.closest('svg') ? style.fill : style.color;
  const behind = rgb(style.backgroundColor, paper);
  const front = rgb(ink, paper);
  const [low, high] = [luminance(front), luminance(behind)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}));
"""


@pytest.mark.parametrize("name", ["page", "long_page", "rare_page"])
def test_print_cuts_nothing_off(browser, request, name):
    # A4 less margins, at 96 pixels an inch
    show(browser, request.getfixturevalue(name), 718, media="print")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 718
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.scroll, pre')].filter(each =>"
        " each.scrollWidth > each.clientWidth).map(each => each.textContent.slice(0, 40))"
    )
    assert cut == []


@pytest.mark.parametrize("width", [320, 1400])
def test_the_experiment_log_fits_its_window(browser, drawn, tmp_path, width):
    shutil.copytree(drawn[0] / "provenance", tmp_path / "results/drawn/provenance")
    (path, _), _ = write_log(tmp_path)
    show(browser, path, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 4


@pytest.mark.parametrize("width", [320, 400, 1400])
def test_words_stay_within_their_boxes(browser, page, width):
    show(browser, page, width)
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('.way li')].filter(each =>"
        " each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight)"
        ".map(each => each.textContent)"
    )
    assert beyond == []


def test_a_page_of_one_expert_fits_too(browser, single_page):
    show(browser, single_page, 400)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 400
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [320, 400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_preflights_page_can_be_read(browser, drawn, tmp_path, width, scheme):
    folder, experiment = drawn
    path = tmp_path / "preflight.html"
    write_preflight_page("drawn", experiment, folder, path)
    show(browser, path, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 4
    assert browser.execute_script(CONTRAST, "body, small, a, td") >= 4.5


@pytest.mark.parametrize("width", [320, 400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_index_can_be_read(browser, indexed, width, scheme):
    path, _ = write_index(indexed)
    show(browser, path, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "article")) == 2
    assert browser.execute_script(CONTRAST, "body, dt, dd, a") >= 4.5
    show(browser, path, 718, media="print")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 718


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_checklist_is_told_by_words_and_signs(browser, page, scheme):
    show(browser, page, 400, scheme)
    items = browser.find_elements(By.CSS_SELECTOR, ".checklist li")
    assert [item.text.split("\n")[0] for item in items] == ["✓"] * 6
    signs = browser.find_elements(By.CSS_SELECTOR, ".checklist li span[role=img]")
    assert [sign.get_attribute("aria-label") for sign in signs] == ["holds"] * 6
    assert browser.execute_script(CONTRAST, ".checklist span, .checklist p, .wrong") >= 4.5
