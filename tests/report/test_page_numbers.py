"""Each number of the page next to the value under its key in metrics.json."""

import json
import re
from collections import defaultdict
from html.parser import HTMLParser
from typing import NamedTuple

import pytest

from tailproof.evaluation.registry import METRICS, metric_of
from tailproof.number_format import format_number
from tailproof.provenance.dotted_path import look_up
from tailproof.report.metric_format import form_of

LIKE = {"agreement": "top1", "exactly_one_right": "top1", "kappa": "nll"}


class Number(NamedTuple):
    """A number that carries a key; ``value`` is the attribute of a <data> element."""

    key: str
    text: str
    value: str | None


class PageNumbers(HTMLParser):
    """Collects the numbers of a page with their keys, by table, and other digits in tables."""

    def __init__(self, html):
        super().__init__()
        self.numbers, self.cells, self.without_key = [], defaultdict(list), defaultdict(list)
        self.table = self.cell = 0
        self.inside, self.open = set(), None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.inside.add(tag)
        self.table += tag == "table"
        self.cell += tag == "td"
        if "data-key" in attributes:
            self.open = (tag, attributes["data-key"], attributes.get("value"))

    def handle_data(self, data):
        if self.open:
            _, key, value = self.open
            number = Number(key, data, value)
            self.numbers.append(number)
            if "table" in self.inside:
                self.cells[self.table, self.cell].append(number)
        elif {"table", "td"} <= self.inside and re.search(r"\d", data):
            self.without_key[self.table].append(data)

    def handle_endtag(self, tag):
        self.inside.discard(tag)
        if self.open and self.open[0] == tag:
            self.open = None


def form(name, *, sign):
    like = LIKE.get(name, "top1" if "_at_" in name and name not in METRICS else name)
    return form_of(metric_of(like), sign=sign)


def spellings(metrics, number):
    """How the value under a number's key may be written, and what it may be stored as."""
    value, path = look_up(metrics, number.key, "metrics.json")
    *_, name, _ = path
    texts = {format_number(value, form(name, sign=sign)) for sign in (False, True)}
    values = {str(value)}
    if path[0] == "paired" and value is not None:
        texts |= {format_number(-value, form(name, sign=sign)) for sign in (False, True)}
        values.add(str(-value))
    return texts, values


@pytest.fixture(scope="module", params=["page", "single_page", "rare_page"])
def written_page(request):
    """(numbers of a page, the metrics.json that it is made from)."""
    path = request.getfixturevalue(request.param)
    metrics = json.loads((path.parents[1] / "evaluation" / "metrics.json").read_text())
    return PageNumbers(path.read_text(encoding="utf-8")), metrics


def test_each_number_is_the_value_under_its_key(written_page):
    page, metrics = written_page
    assert len(page.numbers) > 50
    for number in page.numbers:
        texts, values = spellings(metrics, number)
        assert number.text in texts, number
        assert number.value is None or number.value in values, number


def test_a_difference_has_the_ends_of_its_own_interval(written_page):
    page, metrics = written_page
    swapped = 0
    for numbers in page.cells.values():
        main, *ends = numbers
        if main.key.startswith("paired") and len(ends) == 2:
            low, high = (look_up(metrics, end.key, "metrics.json")[0] for end in ends)
            stored = look_up(metrics, main.key, "metrics.json")[0]
            turned = str(stored) != main.value
            assert (-low <= -stored <= -high) if turned else (low <= stored <= high)
            swapped += turned
    assert swapped or len(metrics["experts"]) == 1


def test_a_table_of_results_holds_no_number_without_a_key(written_page):
    page, _ = written_page
    of_results = {table for table, _ in page.cells}
    assert of_results
    assert [page.without_key[table] for table in of_results if page.without_key[table]] == []


def test_every_method_is_in_every_table_that_compares_methods(written_page):
    page, metrics = written_page
    keys = {number.key for number in page.numbers}
    for kind in ("experts", "ensembles"):
        for method, content in metrics[kind].items():
            for split in ("dev", "test"):
                for name in ("balanced_accuracy", "nll", "ece"):
                    stored = content["over_seeds"][split][name]
                    for field in ("mean", "low", "high"):
                        if stored[field] is not None:
                            assert f"{kind}.{method}.over_seeds.{split}.{name}.{field}" in keys
