"""Numbers as the page shows them, with the key into metrics.json that they can be traced by."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from markupsafe import Markup

from tailproof.number_format import written
from tailproof.report.metric_format import SPACE, form_of, metric_of
from tailproof.report.results import Scores, Value

NO_KEYS: Mapping[str, str] = MappingProxyType({})


class KeyedNumber(NamedTuple):
    """A number of the page.

    Attributes:
        text: as it is read.
        value: as it is stored; None where it is undefined.
        key: dotted, into metrics.json; empty for numbers of other files.
    """

    text: str
    value: float | None = None
    key: str = ""

    def __html__(self) -> Markup:
        """Return the element that holds the text and the key."""
        if not self.key:
            return Markup("{}").format(self.text)
        return Markup('<span data-key="{}">{}</span>').format(self.key, self.text)


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
    value, keys = (read(split, method, metric) for read in (scores.value, scores.keys))
    return keyed(like or metric, value, keys)


def compared(
    scores: Scores, split: str, method: str, other: str, metric: str
) -> dict[str, KeyedNumber | None]:
    """Return ``main``, ``low`` and ``high`` of a method's metric less another's, with signs.

    Raises:
        TailproofError: metrics.json does not compare the two.
    """
    pair = (split, method, other, metric)
    value, keys = scores.difference(*pair), scores.keys_of_difference(*pair)
    return keyed(metric, value, keys, sign=True)


def limits(shown: dict[str, KeyedNumber | None]) -> Markup:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    low, high = shown["low"], shown["high"]
    if not (low and high) or low.value == high.value:
        return Markup()
    return Markup("[{},{}{}]").format(low, SPACE, high)


def keyed(
    like: str, value: Value, keys: Mapping[str, str] = NO_KEYS, *, sign: bool = False
) -> dict[str, KeyedNumber | None]:
    """Return the parts of a value as they are shown; None for an end or sd that it has not.

    Args:
        like: the metric that they are written like.
        value: mean or difference, low, high, perhaps sd.
        keys: the dotted key of each field in metrics.json; left out for numbers of other files.
        sign: whether positive numbers get theirs.
    """

    def shown(field: str, sign: bool) -> KeyedNumber:
        text = written(value[field], form_of(metric_of(like), sign=sign))
        return KeyedNumber(text, value[field], keys.get(field, ""))

    parts = {"main": shown("mean" if "mean" in value else "difference", sign)}
    for field in ("low", "high", "sd"):
        known = value.get(field) is not None
        parts[field] = shown(field, sign and field != "sd") if known else None
    return parts
