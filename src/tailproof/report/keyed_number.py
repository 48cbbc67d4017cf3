"""Numbers of the page with their keys in metrics.json, which make them traceable."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from markupsafe import Markup

from tailproof.evaluation.registry import metric_of
from tailproof.number_format import format_number
from tailproof.report.metric_format import SPACE, form_of
from tailproof.report.results import Scores, Value

NO_KEYS: Mapping[str, str] = MappingProxyType({})


class KeyedNumber(NamedTuple):
    """A number of the page.

    Attributes:
        text: the number as shown.
        value: the number as stored; None if undefined.
        key: its dotted key in metrics.json; empty for numbers of other files.
    """

    text: str
    value: float | None = None
    key: str = ""

    def __html__(self) -> Markup:
        """Return an HTML element with the text and the key."""
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
        metric: name of the metric.
        like: the metric whose number format to use, if it is another one.
    """
    value, keys = (read(split, method, metric) for read in (scores.value, scores.keys))
    return keyed(like or metric, value, keys)


def compared(
    scores: Scores, split: str, method: str, other: str, metric: str
) -> dict[str, KeyedNumber | None]:
    """Return ``main``, ``low`` and ``high`` of the difference of two methods, with signs.

    Raises:
        TailproofError: metrics.json does not compare the two.
    """
    pair = (split, method, other, metric)
    value, keys = scores.difference(*pair), scores.keys_of_difference(*pair)
    return keyed(metric, value, keys, sign=True)


def calibration_effect(scores: Scores, method: str, metric: str) -> dict[str, KeyedNumber | None]:
    """Return ``main``, ``low`` and ``high`` of what calibration changed on test, with signs."""
    value, keys = (
        read("test", method, metric)
        for read in (scores.effect_of_calibration, scores.keys_of_effect)
    )
    return keyed(metric, value, keys, sign=True)


def keyed_interval(shown: dict[str, KeyedNumber | None]) -> Markup:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    low, high = shown["low"], shown["high"]
    if not (low and high) or low.value == high.value:
        return Markup()
    return Markup("[{},{}{}]").format(low, SPACE, high)


def keyed(
    like: str, value: Value, keys: Mapping[str, str] = NO_KEYS, *, sign: bool = False
) -> dict[str, KeyedNumber | None]:
    """Return the parts of a value as shown; None for an undefined end or sd.

    Args:
        like: the metric whose number format to use.
        value: mean or difference, low, high, perhaps sd.
        keys: the dotted key of each field in metrics.json; empty for numbers of other files.
        sign: whether positive numbers get a sign.
    """

    def shown(field: str, sign: bool) -> KeyedNumber:
        text = format_number(value[field], form_of(metric_of(like), sign=sign))
        return KeyedNumber(text, value[field], keys.get(field, ""))

    parts = {"main": shown("mean" if "mean" in value else "difference", sign)}
    for field in ("low", "high", "sd"):
        defined = value.get(field) is not None
        parts[field] = shown(field, sign and field != "sd") if defined else None
    return parts
