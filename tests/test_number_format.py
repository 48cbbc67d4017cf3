import pytest

from tailproof.number_format import format_number


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.93456, "%.1", "93.5"),
        (0.05, "+%.1", "+5.0"),
        (-0.05, "+%.1", "−5.0"),
        (-0.0001, "%.1", "0.0"),
        (0.0001, "+%.1", "0.0"),
        (0.1234, ".3", "0.123"),
        (None, "+%.1", "–"),
        (7, ".0", "7"),
    ],
)
def test_a_number_is_written_in_its_form(value, form, text):
    assert format_number(value, form) == text


@pytest.mark.parametrize("form", ["", "%", ".", "-.1", "%.1f", ".12"])
def test_an_unknown_form_is_refused(form):
    with pytest.raises(ValueError, match="not a number format"):
        format_number(1.0, form)
