"""Numbers of the page with their keys in metrics.json, which make them traceable."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypedDict

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


class KeyedNumbers(TypedDict):
    """A mean or difference, and the ends of its interval and its sd; None where undefined."""

    main: KeyedNumber
    low: KeyedNumber | None
    high: KeyedNumber | None
    sd: KeyedNumber | None


def measured(scores: Scores, split: str, method: str, metric: str, like: str = "") -> KeyedNumbers:
    """Return ``main``, ``low``, ``high`` and ``sd`` of a method's metric over seeds.

    Args:
        scores: metrics.json.
        split: dev or test.
        method: expert or ensemble.
        metric: name of the metric.
        like: the metric whose number format to use, if it is another one.
    """
    cell = (split, method, metric)
    return keyed(like or metric, scores.value(*cell), scores.keys(*cell))


def compared(scores: Scores, split: str, method: str, other: str, metric: str) -> KeyedNumbers:
    """Return ``main``, ``low`` and ``high`` of the difference of two methods, with signs.

    Raises:
        TailproofError: metrics.json does not compare the two.
    """
    pair = (split, method, other, metric)
    value, keys = scores.difference(*pair), scores.keys_of_difference(*pair)
    return keyed(metric, value, keys, sign=True)


def calibration_effect(scores: Scores, method: str, metric: str) -> KeyedNumbers:
    """Return ``main``, ``low`` and ``high`` of what calibration changed on test, with signs."""
    cell = ("test", method, metric)
    value, keys = scores.effect_of_calibration(*cell), scores.keys_of_effect(*cell)
    return keyed(metric, value, keys, sign=True)


def excludes_zero(value: Value) -> bool:
    """Return whether a value has an interval, and zero lies outside of it."""
    low, high = value["low"], value["high"]
    return low is not None and high is not None and (low > 0 or high < 0)


def keyed_interval(shown: KeyedNumbers) -> Markup:
    """Write low and high as ``[52.3, 56.1]``; nothing where undefined or all resamples agree."""
    low, high = shown["low"], shown["high"]
    if not (low and high) or low.value == high.value:
        return Markup()
    return Markup("[{},{}{}]").format(low, SPACE, high)


def keyed(
    like: str, value: Value, keys: Mapping[str, str] = NO_KEYS, *, sign: bool = False
) -> KeyedNumbers:
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

    def if_defined(field: str, sign: bool) -> KeyedNumber | None:
        return None if value.get(field) is None else shown(field, sign)

    return KeyedNumbers(
        main=shown("mean" if "mean" in value else "difference", sign),
        low=if_defined("low", sign),
        high=if_defined("high", sign),
        sd=if_defined("sd", False),
    )
