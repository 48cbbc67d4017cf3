"""Whether a report's page shows what metrics.json holds, number by number.

The page names for each number its key in metrics.json (``data-key``) and the form in which it is
written (``data-format``). A table with such numbers holds no others.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from tailproof.files import read_json
from tailproof.number_format import written
from tailproof.provenance.dotted_path import look_up
from tailproof.runtime.errors import TailproofError

REMEDY = "one of the two was changed: delete both and run again"


class ShownNumber(NamedTuple):
    """A number of a page.

    Attributes:
        key: dotted, into metrics.json.
        form: how it is written (`core.numbers.written`).
        text: as the page shows it.
        value: the attribute ``value`` of its element, where there is one.
        table: which of the page's tables it stands in, None outside of all.
    """

    key: str
    form: str
    text: str
    value: str | None
    table: int | None


def shown_numbers(html: str) -> list[tuple[str, str]]:
    """Return key and text of every number on a page that stands in metrics.json."""
    return [(number.key, number.text) for number in _Reader(html).numbers]


def check_page(page: str | Path, metrics: str | Path) -> list[str]:
    """Return one sentence for each number that the page does not show as metrics.json holds it.

    Told are numbers that differ, keys that metrics.json does not hold, numbers without a key in a
    table of results, and methods that a table of results leaves out.

    Args:
        page: report/index.html.
        metrics: evaluation/metrics.json.

    Raises:
        TailproofError: a file is missing or unreadable.
    """
    held = read_json(metrics)
    try:
        reader = _Reader(Path(page).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TailproofError(f"{page} does not exist: build it with `snakemake {page}`") from None
    except UnicodeDecodeError as error:
        raise TailproofError(f"{page} is not UTF-8 ({error}): delete it, run again") from None
    if not reader.numbers:
        return [f"{page} shows no number of {metrics}: delete it and run again"]
    found = [_difference(number, held, page, metrics) for number in reader.numbers]
    keyed = {number.table for number in reader.numbers}
    found += [
        f"{page} shows '{text}' in a table of results without its key in {metrics}: delete the "
        "page and run again"
        for table, text in reader.loose
        if table in keyed
    ]
    found += [
        f"{page} does not show {key}, which {metrics} holds: delete the page and run again"
        for key in _left_out(reader.numbers, held)
    ]
    return [sentence for sentence in found if sentence]


def _difference(number: ShownNumber, held: Any, page: str | Path, metrics: str | Path) -> str:
    try:
        value, _ = look_up(held, number.key, metrics)
        expected = written(value, number.form)
    except TailproofError as error:
        return f"{page} shows {number.text} as {number.key}, but {error}"
    except (TypeError, ValueError):
        return f"{page} shows {number.text} as {number.key}, which {metrics} holds as no number"
    if number.text != expected:
        return (
            f"{page} shows {number.text} as {number.key}, where {metrics} holds {value}, written "
            f"{expected}: {REMEDY}"
        )
    stored = value if value is None or not number.form.startswith("-") else -value
    if number.value is not None and number.value != str(stored):
        return (
            f"{page} stores {number.value} beside {number.text} as {number.key}, where {metrics} "
            f"holds {value}: {REMEDY}"
        )
    return ""


def _left_out(numbers: list[ShownNumber], held: dict[str, Any]) -> Iterator[str]:
    """Yield the keys by which a table that compares methods leaves one of them out."""
    methods = {
        f"{kind}.{name}.": kind for kind in ("experts", "ensembles") for name in held.get(kind, {})
    }
    tables: dict[int, dict[str, set[str]]] = {}
    for number in numbers:
        for method in methods:
            if number.table is not None and number.key.startswith(method):
                rest = number.key.removeprefix(method)
                tables.setdefault(number.table, {}).setdefault(method, set()).add(rest)
    for shown in tables.values():
        wanted = set().union(*shown.values()) if len(shown) > 1 else set()
        for method in methods:
            for rest in sorted(wanted - shown.get(method, set())):
                if _holds(held, method + rest):
                    yield method + rest


def _holds(held: dict[str, Any], key: str) -> bool:
    """Tell whether a key is there; a mean even where it is null, other fields with a value."""
    try:
        value, _ = look_up(held, key, "")
    except TailproofError:
        return False
    return value is not None or key.endswith(".mean")


class _Reader(HTMLParser):
    """Reads a page's numbers, and the text with digits beside them in cells of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: list[ShownNumber] = []
        self.loose: list[tuple[int, str]] = []
        self._tables = 0
        self._in_table = self._in_cell = False
        self._number: tuple[str, dict[str, str | None], str] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "table":
            self._in_table = True
            self._tables += 1
        elif tag == "td":
            self._in_cell = True
        if "data-key" in attributes:
            self._number = (tag, attributes, "")

    def handle_data(self, data: str) -> None:
        if self._number:
            tag, attributes, text = self._number
            self._number = (tag, attributes, text + data)
        elif self._in_cell and re.search(r"\d", data):
            self.loose.append((self._tables, data.strip()))

    def handle_endtag(self, tag: str) -> None:
        if self._number and self._number[0] == tag:
            _, attributes, text = self._number
            key, form = (attributes[name] or "" for name in ("data-key", "data-format"))
            table = self._tables if self._in_table else None
            value = attributes.get("value")
            self.numbers.append(ShownNumber(key, form, text, value, table))
            self._number = None
        if tag == "table":
            self._in_table = False
        elif tag == "td":
            self._in_cell = False
