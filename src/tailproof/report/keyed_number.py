"""Numbers as the page shows them: with the key into metrics.json by which an audit finds them."""

from typing import NamedTuple

from markupsafe import Markup

from tailproof.number_format import written
from tailproof.report.metric_format import SPACE, form_of, metric_of
from tailproof.report.results import NOWHERE, Place, Scores, Value


class KeyedNumber(NamedTuple):
    """A number of the page.

    Attributes:
        text: as it is read.
        value: as it is stored; None where it is undefined.
        key: dotted, into metrics.json; empty for numbers of other files.
        form: how the text comes from what stands under the key (`core.numbers.written`).
    """

    text: str
    value: float | None = None
    key: str = ""
    form: str = ""

    def __html__(self) -> Markup:
        """Return the element that holds the text and the key."""
        if not self.key:
            return Markup("{}").format(self.text)
        return Markup('<span data-key="{}" data-format="{}">{}</span>').format(
            self.key, self.form, self.text
        )


def measured(
    scores: Scores, split: str, method: str, metric: str, like: str = ""
) -> dict[str, KeyedNumber | None]:
    """Return ``main``, ``low``, ``high`` and ``sd`` of a method's metric over seeds.

    Args:
        scores: metrics.json.
        split: dev or test.
        method: expert or ensemble.
        metric: its name.
        like: the metric that it is written like, if not itself.
    """
    value, place = (read(split, method, metric) for read in (scores.value, scores.place))
    return placed(like or metric, value, place)


def compared(
    scores: Scores, split: str, method: str, other: str, metric: str
) -> dict[str, KeyedNumber | None]:
    """Return ``main``, ``low`` and ``high`` of a method's metric less another's, with signs.

    Raises:
        TailproofError: metrics.json does not compare the two.
    """
    pair = (split, method, other, metric)
    value, place = scores.difference(*pair), scores.place_of_difference(*pair)
    return placed(metric, value, place, sign=True)


def limits(shown: dict[str, KeyedNumber | None]) -> Markup:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    low, high = shown["low"], shown["high"]
    if not (low and high) or low.value == high.value:
        return Markup()
    return Markup("[{},{}{}]").format(low, SPACE, high)


def placed(
    like: str, value: Value, place: Place = NOWHERE, *, sign: bool = False
) -> dict[str, KeyedNumber | None]:
    """Return the parts of a value as they are shown; None for an end or sd that it has not.

    Args:
        like: the metric that they are written like.
        value: mean or difference, low, high, perhaps sd.
        place: where it stands in metrics.json; left out for numbers of other files.
        sign: whether positive numbers get theirs.
    """

    def shown(field: str, sign: bool) -> KeyedNumber:
        form, key = form_of(metric_of(like), sign=sign), place.of(field)
        turned = "-" if key and place.turned else ""
        return KeyedNumber(written(value[field], form), value[field], key, key and turned + form)

    found = {"main": shown("mean" if "mean" in value else "difference", sign)}
    for field in ("low", "high", "sd"):
        known = value.get(field) is not None
        found[field] = shown(field, sign and field != "sd") if known else None
    return found
