import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailproof.output import report
from tailproof.untrusted_text import (
    csv_line,
    plain_cell,
    printable,
    printable_lines,
    spreadsheet_cell,
)

HOSTILE = st.text(st.sampled_from("=+-@\t\r\n;' \u00a0,\"1a\uff1d"), max_size=8)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+x",
        "-x",
        "@SUM(A1)",
        "\t=x",
        "\rx",
        " =x",
        "'=x",
        "\uff1dx",
        "a;=x",
        "a\n=x",
        "-1=2",
    ],
)
def test_no_cell_begins_as_a_formula(text):
    for part in csv.reader(io.StringIO(csv_line([text]), newline="")):
        pieces = part[0].replace("\t", ";").replace("\n", ";").replace("\r", ";").split(";")
        assert not any(piece.strip(" \u00a0")[:1] in tuple("=+-@\uff1d") for piece in pieces)


@pytest.mark.parametrize("text", ["-1", "+1", "-2.5e-3", "lynx", "'quoted'", "a-b", "a, =b", ""])
def test_plain_text_and_numbers_stay(text):
    assert spreadsheet_cell(text) == text


@given(st.lists(HOSTILE | st.text(), min_size=1, max_size=4))
def test_every_text_is_read_back(cells):
    line = csv_line(cells)
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert [plain_cell(cell) for cell in row] == cells


def test_numbers_are_written_as_csv_writes_them():
    assert csv_line(["a", -0.5, -3, None, 1e-7]) == "a,-0.5,-3,,1e-07\n"


@given(st.text(st.characters()))
def test_printable_text_acts_on_no_terminal(text):
    shown = printable(text)
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert not set(shown) & set(
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069\ufeff"
    )
    shown.encode()


def test_names_of_all_scripts_stay():
    for name in ("Žluťoučký kůň", "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627", "👩\u200d🔬", "猫"):
        assert printable(name) == name


def test_no_line_of_a_name_begins_like_a_message():
    assert printable_lines("x\ntailproof: all is well\n  more\x1b[2J") == (
        "x\n  tailproof: all is well\n  more\\x1b[2J"
    )


def test_a_message_with_an_endless_name_is_shortened(capsys):
    """Its beginning and its end, which says what to do, are printed."""
    report(f"unknown class '{'x' * 10**6}': correct it\nnext: {'y' * 100}")
    first, second = capsys.readouterr().err.splitlines()
    assert len(first) < 5000 and first.endswith(": correct it") and "characters left out" in first
    assert second.count("y") == 100
