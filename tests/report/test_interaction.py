"""What the page's script adds, and that nothing is lost without it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.report.chromium import show

CONTROLS = ".controls, .sort, .tip, .origin, svg[tabindex]"


def found(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def headings(browser, region):
    return found(browser, f"{region} thead th")


def column(browser, region, index):
    """The texts of a column, in the order in which its rows stand."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].map(row => {"
        "const cell = row.cells[arguments[1]];"
        "return (cell.querySelector('data, span') ?? cell).textContent})",
        region,
        index,
    )


def shown(browser, selector):
    return [each for each in found(browser, selector) if each.is_displayed()]


def drawn(browser, selector):
    """How many elements take part in the layout, as a line of no length does, too."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".filter(each => getComputedStyle(each).display !== 'none').length",
        selector,
    )


def heading(browser, region, words):
    names = [each.text.replace("\n", " ") for each in headings(browser, region)]
    (index,) = [index for index, name in enumerate(names) if name == words]
    return index, headings(browser, region)[index]


def numbers(texts):
    return [float(text.replace(",", "").replace("−", "-")) for text in texts if text != "–"]


def test_a_click_on_a_heading_sorts_rising_then_falling_then_as_it_was(browser, page):
    show(browser, page, 1400)
    table = "#results-test"
    before = column(browser, table, 0)
    index, head = heading(browser, table, "NLL")
    assert head.get_attribute("aria-sort") is None
    for order in ("ascending", "descending"):
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == order
        values = numbers(column(browser, table, index))
        assert len(values) == 5
        assert values == sorted(values, reverse=order == "descending")
        assert sorted(column(browser, table, 0)) == sorted(before)
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") is None
    assert column(browser, table, 0) == before


def test_missing_values_stand_last_whichever_way(browser, page):
    show(browser, page, 1400)
    index, head = heading(browser, "#results-test", "ECE before, %")
    browser.execute_script(
        "[...document.querySelectorAll('#results-test tbody tr')].slice(0, 3)"
        ".forEach(row => { row.cells[arguments[0]].textContent = '–' })",
        index,
    )
    for falling in (False, True):
        head.find_element(By.TAG_NAME, "button").click()
        texts = column(browser, "#results-test", index)
        assert texts[2:] == ["–"] * 3
        assert numbers(texts[:2]) == sorted(numbers(texts[:2]), reverse=falling)


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
def test_the_keyboard_sorts_too(browser, page, key):
    show(browser, page, 1400)
    _, other = heading(browser, "#results-test", "NLL")
    other.find_element(By.TAG_NAME, "button").click()
    index, head = heading(browser, "#results-test", "Brier")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    focused = browser.switch_to.active_element
    assert focused == head.find_element(By.TAG_NAME, "button")
    assert focused.value_of_css_property("outline-style") == "solid"
    ActionChains(browser).send_keys(key).perform()
    assert head.get_attribute("aria-sort") == "ascending"
    assert other.get_attribute("aria-sort") is None
    values = numbers(column(browser, "#results-test", index))
    assert values == sorted(values)


def test_names_are_sorted_with_their_numbers(browser, long_page):
    show(browser, long_page, 1400)
    table = "[aria-label='Recall of each class on test']"
    headings(browser, table)[0].find_element(By.TAG_NAME, "button").click()
    assert column(browser, table, 0) == [f"class {index}" for index in range(20)]
    index, head = heading(browser, table, "in train")
    head.find_element(By.TAG_NAME, "button").click()
    counts = numbers(column(browser, table, index))
    assert counts == sorted(counts)


def test_long_tables_are_filtered_by_name_and_kind(browser, long_page, page):
    show(browser, long_page, 1400)
    table = "[aria-label='Recall of each class on test']"
    assert len(shown(browser, f"{table} tbody tr")) == 20
    field = browser.find_element(By.CSS_SELECTOR, "input[type=search][aria-label*='Recall']")
    field.send_keys("CLASS 1")
    names = [row.text.split("\n")[0] for row in shown(browser, f"{table} tbody tr")]
    assert names == ["class 1", *(f"class {index}" for index in range(10, 20))]
    controls = field.find_element(By.XPATH, "..")
    assert controls.find_element(By.TAG_NAME, "output").text == "11 of 20"
    choice = controls.find_element(By.TAG_NAME, "select")
    assert choice.text.split("\n") == ["all", "many", "medium", "few"]
    choice.send_keys("few")
    kinds = [
        row.find_element(By.TAG_NAME, "small").text for row in shown(browser, f"{table} tbody tr")
    ]
    assert set(kinds) == {"few"} and 0 < len(kinds) < 11
    field.send_keys("no such class")
    assert shown(browser, f"{table} tbody tr") == []
    show(browser, page, 1400)
    labels = [field.get_attribute("aria-label") for field in found(browser, "#results input")]
    # Its tables of classes are short; the two of class mixes have eleven rows.
    assert len(labels) == 2 and all("class mix" in label for label in labels)


def test_a_method_is_hidden_everywhere_and_shown_again(browser, page):
    show(browser, page, 1400)
    whole = [each.text for each in found(browser, "main > section")]
    button = browser.find_element(By.CSS_SELECTOR, "#training button.method[value=adjusted]")
    assert button.get_attribute("aria-pressed") == "true"
    own = "[data-method='adjusted']"
    every = len(found(browser, own))
    assert {each.tag_name for each in found(browser, own)} == {"g", "tr", "figure", "div"}
    assert drawn(browser, own) == every
    button.click()
    assert drawn(browser, own) == 0
    assert drawn(browser, "[data-method='plain']") > 0
    for each in found(browser, "button.method[value=adjusted]"):
        assert each.get_attribute("aria-pressed") == "false"
    browser.find_element(By.CSS_SELECTOR, "#training button.everything").click()
    assert drawn(browser, own) == every
    assert [each.text for each in found(browser, "main > section")] == whole


def test_the_values_nearest_to_the_pointer_are_told(browser, page):
    show(browser, page, 1400)
    chart = browser.find_element(By.CSS_SELECTOR, "#training svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    (tip,) = found(browser, ".tip")
    assert not tip.is_displayed()
    ActionChains(browser).move_to_element(chart).perform()
    lines = tip.text.split("\n")
    assert lines[0] == "epoch 3"
    assert {line.split(":")[0] for line in lines[1:]} == {
        f"{part}, seed {seed}" for part in ("train", "val") for seed in (0, 1)
    }
    box = tip.rect
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1400
    ActionChains(browser).move_to_element(found(browser, "#training h2")[0]).perform()
    assert not tip.is_displayed()


def test_charts_are_read_by_the_keyboard(browser, page):
    show(browser, page, 400)
    chart = browser.find_element(By.CSS_SELECTOR, "[aria-label^='Few-shot accuracy']")
    browser.execute_script("arguments[0].focus()", chart)
    (tip,) = found(browser, ".tip")
    read = []
    for _ in range(5):
        ActionChains(browser).send_keys(Keys.ARROW_DOWN).perform()
        assert tip.is_displayed()
        read.append(tip.text.split("\n")[0])
        assert tip.rect["x"] + tip.rect["width"] <= 400
    assert read == ["adjusted", "mean_logits", "mean_probabilities", "stacked", "stacked"]
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()


def test_hidden_lines_are_not_told(browser, page):
    show(browser, page, 1400)
    browser.find_element(By.CSS_SELECTOR, "#results button.method[value=mean_logits]").click()
    chart = browser.find_element(By.CSS_SELECTOR, "[aria-label^='Few-shot accuracy']")
    browser.execute_script("arguments[0].focus()", chart)
    (tip,) = found(browser, ".tip")
    read = []
    for _ in range(3):
        ActionChains(browser).send_keys(Keys.ARROW_DOWN).perform()
        read.append(tip.text.split("\n")[0])
    assert read == ["adjusted", "mean_probabilities", "stacked"]


@pytest.fixture
def scriptless(browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield browser
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_without_scripts_all_is_there_and_no_control_is_dead(browser, page, scriptless):
    show(scriptless, page, 1400)
    assert found(scriptless, CONTROLS) == []
    assert found(scriptless, "main button, main input, main select") == []
    tables = [each.text for each in found(scriptless, "table")]
    assert all(row.is_displayed() for row in found(scriptless, "tr, figure, svg g[data-method]"))
    titles = found(scriptless, "svg g[data-points] > title")
    assert len(titles) == len(found(scriptless, "svg g[data-points]")) > 20
    assert all(each.get_attribute("textContent") for each in titles)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    show(browser, page, 1400)
    assert found(browser, CONTROLS) != []
    assert [each.text for each in found(browser, "table")] == tables


def test_every_control_has_a_name(browser, long_page):
    show(browser, long_page, 1400)
    controls = found(browser, "button, input, select, [tabindex='0']")
    assert len(controls) > 20
    assert [each.get_attribute("outerHTML")[:90] for each in controls if not named(each)] == []


def named(element):
    return (element.get_attribute("aria-label") or element.get_attribute("textContent")).strip()


def test_paper_shows_no_controls_and_what_was_folded(browser, page):
    show(browser, page, 718, media="print")
    assert shown(browser, ".controls, .tip") == []
    browser.execute_script("document.querySelectorAll('details').forEach(e => e.open = false)")
    seen = "return document.querySelector('#results-dev tr').checkVisibility()"
    assert browser.execute_script(seen), "by the style alone"
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all(each.is_displayed() for each in found(browser, "#results-dev tr"))
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert all(each.get_attribute("open") is None for each in found(browser, "details"))


@pytest.mark.parametrize("width", [320, 400, 1400])
@pytest.mark.parametrize("name", ["long_page", "rare_page"])
def test_controls_and_rare_events_fit_the_window(browser, request, width, name):
    show(browser, request.getfixturevalue(name), width)
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []


def test_a_number_that_is_clicked_tells_its_place_and_its_record(browser, page):
    show(browser, page, 1400)
    number = found(browser, "#results-test [data-key]")[0]
    assert not shown(browser, ".origin")
    number.click()
    (origin,) = shown(browser, ".origin")
    place = f"results/drawn/evaluation/metrics.json#{number.get_attribute('data-key')}"
    assert f'tailproof lineage "{place}"' in origin.text
    link = origin.find_element(By.TAG_NAME, "a").get_attribute("href")
    assert Path(unquote(urlsplit(link).path)).is_file()
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    assert not shown(browser, ".origin")
