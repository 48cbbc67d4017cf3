"""What is known of images beforehand: which classes are possible, and how frequent they are."""

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path

import numpy as np

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.sources.folders.class_names import same_names
from tailproof.data.sources.tables.text_table import TextTable, read_text_of_tables
from tailproof.evaluation.deployment import Assumptions
from tailproof.evaluation.prior_shift import ClassConfidence, estimate_shares, shares
from tailproof.predict.option_rules import Options
from tailproof.predict.posterior import Posterior
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

CLASS, COUNT = "class", "count"
FORBIDDEN = -1e300
"""Added to the log-probability of a class that is not allowed: finite, and its exponential is 0."""

MOST = 1e15
"""Largest number of images of a class."""

SHOWN = 5
WHOLE_NUMBERS = (
    "expected each class once, with a whole number of images: multiply shares by the number of "
    "images that they were counted on"
)
Array = np.ndarray


def known_shift(
    options: Options,
    posterior: Posterior,
    assumptions: Assumptions | None,
    log_p: Callable[[], Array],
    note: Callable[[str], None],
) -> Array:
    """Return what to add to the target's log-probabilities for what is known of the images, [C].

    Args:
        options: which classes are possible, how frequent they are, and whether to estimate that.
        posterior: the probabilities of the expert.
        assumptions: what they assume of images.
        log_p: computes the target's log-probabilities [N, C] of all images.
        note: is called with what the estimate says.

    Raises:
        TailproofError: a class is unknown, or the expert's folder does not say which class shares
            it assumes.
    """
    names = posterior.classes[posterior.target]
    allowed = np.ones(len(names), bool) if options.classes is None else options.classes(names)
    if options.prior is None and not options.adapt:
        return np.where(allowed, 0.0, FORBIDDEN)
    if assumptions is None:
        raise TailproofError(
            "the expert's deployment.json does not say which class shares it assumes, which "
            f"{options.prefix}prior and {options.prefix}adapt need: build it again with snakemake"
        )
    assumed = np.array(assumptions.shares)
    if options.prior is not None:
        actual = shares(options.prior(names))
    else:
        actual = assumed.copy()
        actual[allowed] = _estimated(log_p(), names, allowed, assumptions, note)
    return np.where(allowed, np.log(actual) - np.log(assumed), FORBIDDEN)


def _estimated(
    log_p: Array,
    names: list[str],
    allowed: Array,
    known: Assumptions,
    note: Callable[[str], None],
) -> Array:
    """Estimate the shares of the allowed classes [A] from all images, and say what came out."""
    assumed = np.array(known.shares)
    within = assumed[allowed] / assumed[allowed].sum()
    if not len(log_p):
        return within
    mean, sd = (
        np.array([np.nan if value is None else value for value in values])[allowed]
        for values in (known.confidence_mean, known.confidence_sd)
    )
    known_confidence = ClassConfidence(mean, sd, np.array(known.samples)[allowed])
    found = estimate_shares(
        log_probabilities(log_p[:, allowed]), within, known_confidence, np.exp(log_p.max(axis=1))
    )
    if not found.trusted:
        note(f"the class shares stay as they are: {found.reason}")
        return within
    inside = np.array(names)[allowed]
    largest = np.argsort(-found.shares)[:SHOWN]
    shown = [f"{printable(inside[index])} {100 * found.shares[index]:.0f} %" for index in largest]
    note(f"class shares estimated from {quantity(len(log_p), 'image')}: {listed(shown)}")
    return found.shares


def allowed_classes(chosen: Iterable[str], names: list[str]) -> Array:
    """Return which classes a list allows, boolean [C].

    Raises:
        TailproofError: it is empty or no list, or has something that is not a class.
    """
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise TailproofError(f"classes is {printable(repr(chosen))}, expected a list of names")
    found = [_class_of("classes", name, names) for name in chosen]
    if not found:
        raise TailproofError("classes is empty, expected at least one class")
    return np.isin(names, found)


def class_counts(counts: Mapping[str, float], names: list[str]) -> Array:
    """Return the number of samples of each class, from a mapping or a column of a table.

    Raises:
        TailproofError: a class is missing or unknown, or a count is not a whole number of at
            least 0.
    """
    try:
        pairs = list(counts.items())
    except (AttributeError, TypeError):
        raise TailproofError(
            f"prior is a {type(counts).__name__}, expected {{class: number of images}}"
        ) from None
    given = {_class_of("prior", name, names): count for name, count in pairs}
    if len(given) < len(pairs):
        raise TailproofError("prior lists a class twice, expected each class once")
    for name, count in given.items():
        if not isinstance(count, Real) or not 0 <= count <= MOST or float(count) % 1:
            raise TailproofError(
                f"prior: the class '{printable(name)}' has the count '{printable(count)}', "
                f"{WHOLE_NUMBERS}"
            )
    _check_complete("prior", given, names, "name each of them, with 0 if it never occurs")
    return np.array([float(given[name]) for name in names])


def _class_of(what: str, name: object, names: list[str]) -> str:
    """Return the class with a name, or with another spelling of it.

    Raises:
        TailproofError: there is none.
    """
    if not isinstance(name, str):
        raise TailproofError(
            f"{what} names the class {printable(repr(name))}, a {type(name).__name__}, expected "
            f"text such as {printable(names[0])!r}"
        )
    found = same_names([name], names)[name]
    if found is None:
        raise TailproofError(f"{what}: {unknown_name('class', printable(name), names)}")
    return found


def _check_complete(what: str, counts: Mapping[str, float], names: list[str], remedy: str) -> None:
    missing = [name for name in names if name not in counts]
    if missing:
        raise TailproofError(
            f"{what} lacks {quantity(len(missing), 'class', 'classes')}, such as "
            f"{listed([printable(name) for name in missing], 3)}: {remedy}"
        )
    if not any(counts.values()):
        raise TailproofError(f"{what} has only counts of 0, expected at least one above")


def read_allowed(path: str, names: list[str]) -> Array:
    """Return which classes a text file allows, boolean [C].

    Raises:
        TailproofError: a line is not a class, or there is none.
    """
    lines = [line.strip() for line in read_text_of_tables(path).splitlines()]
    found = [_class_of(path, line, names) for line in lines if line]
    if not found:
        raise TailproofError(f"{path} is empty, expected one class per line")
    return np.isin(names, found)


def read_counts(path: str, names: list[str]) -> Array:
    """Return the number of samples of each class, from a table with the columns class and count.

    Raises:
        TailproofError: the table is damaged, lists a class twice or lacks one, or a count is not a
            whole number of at least 0.
    """
    counts: dict[str, float] = {}
    for row in TextTable(Path(path), [CLASS, COUNT], None, configured=False).rows():
        if row.fault:
            raise TailproofError(f"{path}, line {row.line} {row.fault}")
        name, cell = row.cells[0], row.cells[1].strip()
        name = _class_of(f"{path}, line {row.line}", name if name in names else name.strip(), names)
        try:
            count = float(cell)
        except ValueError:
            count = -1.0
        if not 0 <= count <= MOST or not count.is_integer() or name in counts:
            problem = "is listed twice" if name in counts else f"has the count '{printable(cell)}'"
            raise TailproofError(
                f"{path}, line {row.line}: the class '{printable(name)}' {problem}, {WHOLE_NUMBERS}"
            )
        counts[name] = count
    _check_complete(path, counts, names, "add a row for each, with 0 if it never occurs")
    return np.array([counts[name] for name in names])
