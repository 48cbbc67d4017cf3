"""What is known of images beforehand: which classes are possible, and how frequent they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tailproof.calibration.metrics import log_probabilities
from tailproof.data.sources.tables.text_table import TextTable
from tailproof.evaluation.prior_shift import ClassConfidence, estimate_shares, shares
from tailproof.output import report
from tailproof.predict.classify import read_batches
from tailproof.predict.expert import Expert
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_text
from tailproof.untrusted_text import printable

CLASS, COUNT = "class", "count"
FORBIDDEN = -1e300
"""Added to the log-probability of a class that is not allowed: finite, and its exponential is 0."""

MOST = 1e15
"""Largest number of images of a class."""

SHOWN = 5


def with_priors(
    expert: Expert,
    files: list[Path],
    classes: str | None,
    prior: str | None,
    *,
    adapt: bool,
) -> Expert:
    """Return the expert with its target's probabilities changed to what is known of the images.

    Args:
        expert: the expert.
        files: the images, from which `adapt` estimates class shares.
        classes: path of a text file with one allowed class per line.
        prior: path of a table with the columns class and count.
        adapt: whether to estimate the class shares of the images.

    Raises:
        TailproofError: a file is missing or damaged or names other classes, or the expert's folder
            does not say which class shares it assumes.
    """
    names = expert.classes[expert.target]
    allowed = np.ones(len(names), bool) if classes is None else read_allowed(classes, names)
    if prior is None and not adapt:
        return replace(expert, shift=np.where(allowed, 0.0, FORBIDDEN))
    if prior is not None and adapt:
        raise TailproofError("--prior and --adapt both set the class shares: give one of them")
    known = expert.deployment.assumptions
    if known is None:
        raise TailproofError(
            "the expert's deployment.json does not say which class shares it assumes, which "
            "--prior and --adapt need: build it again with snakemake"
        )
    assumed = np.array(known.shares)
    if prior is not None:
        actual = shares(read_counts(prior, names))
    else:
        actual = assumed.copy()
        actual[allowed] = _estimated(expert, files, allowed, assumed)
    shift = np.where(allowed, np.log(actual) - np.log(assumed), FORBIDDEN)
    return replace(expert, shift=shift)


def _estimated(
    expert: Expert, files: list[Path], allowed: np.ndarray, assumed: np.ndarray
) -> np.ndarray:
    """Estimate the shares of the allowed classes [A] from all images, and say what came out."""
    known = expert.deployment.assumptions
    parts = [np.empty((0, len(assumed)))]
    for readable, _ in read_batches(expert, files):
        if readable:
            images = np.stack([image for _, image in readable])
            parts.append(expert.log_probabilities(images)[expert.target])
    log_p = np.concatenate(parts)
    within = assumed[allowed] / assumed[allowed].sum()
    if not len(log_p):
        return within
    known_confidence = ClassConfidence(
        *(
            np.array([np.nan if value is None else value for value in values])[allowed]
            for values in (known.confidence_mean, known.confidence_sd)
        ),
        np.array(known.samples)[allowed],
    )
    found = estimate_shares(
        log_probabilities(log_p[:, allowed]), within, known_confidence, np.exp(log_p.max(axis=1))
    )
    if not found.trusted:
        report(f"the class shares stay as they are: {found.reason}")
        return within
    names = np.array(expert.classes[expert.target])[allowed]
    largest = np.argsort(-found.shares)[:SHOWN]
    shown = [f"{printable(names[index])} {100 * found.shares[index]:.0f} %" for index in largest]
    report(f"class shares estimated from {quantity(len(log_p), 'image')}: {listed(shown)}")
    return found.shares


def read_allowed(path: str, names: list[str]) -> np.ndarray:
    """Return which classes a text file allows, boolean [C].

    Raises:
        TailproofError: a line is not a class, or there is none.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    unknown = [line for line in lines if line not in names]
    if unknown:
        raise TailproofError(f"{path}: {unknown_name('class', unknown[0], names)}")
    if not lines:
        raise TailproofError(f"{path} is empty, expected one class per line")
    return np.isin(names, lines)


def read_counts(path: str, names: list[str]) -> np.ndarray:
    """Return the number of samples of each class, from a table with the columns class and count.

    Raises:
        TailproofError: the table is damaged, lists a class twice or lacks one, or a count is not a
            whole number of at least 0.
    """
    counts: dict[str, float] = {}
    for row in TextTable(Path(path), [CLASS, COUNT], None).rows():
        if row.fault:
            raise TailproofError(f"{path}, line {row.line} {row.fault}")
        name, cell = (cell.strip() for cell in row.cells)
        if name not in names:
            raise TailproofError(f"{path}, line {row.line}: {unknown_name('class', name, names)}")
        try:
            count = float(cell)
        except ValueError:
            count = -1.0
        if not 0 <= count <= MOST or not count.is_integer() or name in counts:
            problem = "is listed twice" if name in counts else f"has the count '{printable(cell)}'"
            raise TailproofError(
                f"{path}, line {row.line}: the class '{printable(name)}' {problem}, expected each "
                "class once, with a whole number of images: multiply shares by how many images "
                "they were counted on"
            )
        counts[name] = count
    missing = [name for name in names if name not in counts]
    if missing:
        raise TailproofError(
            f"{path} lacks {quantity(len(missing), 'class', 'classes')}, such as "
            f"{listed([printable(name) for name in missing], 3)}: add a row for each, with 0 if it "
            "never occurs"
        )
    if not any(counts.values()):
        raise TailproofError(f"{path} has only counts of 0, expected at least one above")
    return np.array([counts[name] for name in names])
