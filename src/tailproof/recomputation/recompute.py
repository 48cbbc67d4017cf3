"""Finds results that are not what their jobs give, by computing them again."""

from collections.abc import Container, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa

from tailproof.recomputation.comparison import first_difference
from tailproof.recomputation.logits import other_logits
from tailproof.recomputation.stages import REMADE, Remake
from tailproof.runtime.environment import describe_machine
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.records import Record

SECONDS = 120.0
"""A job that took longer is not computed again."""

_WRONG_CONTENT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What stages raise that are given files of another content than any job writes."""


class Recomputed(NamedTuple):
    """What was found.

    Attributes:
        broken: sentences about files that are not what their jobs give.
        notes: sentences about what was not computed again, or differs on another processor.
    """

    broken: list[str]
    notes: list[str]


def recompute(ledger: Ledger, proven: Container[str]) -> Recomputed:
    """Compute what an experiment's jobs wrote again, where that is cheap, and compare.

    Args:
        ledger: the ledger of the experiment, whose files are all as recorded.
        proven: the files of the experiment; the ledger may have those of jobs that it once had.
    """
    result = Recomputed([], [])
    here = describe_machine(1).device
    for record in ledger:
        if not any(file.path in proven for file in record.outputs):
            continue
        if record.rule == "infer":  # compared with a tolerance that other processors keep to
            result.broken.extend(_guarded(record, other_logits(record)))
            continue
        if record.rule not in REMADE:
            continue
        seconds = (record.ended - record.started).total_seconds()
        if seconds > SECONDS:
            result.notes.append(
                f"{record.rule} {record.name} took {seconds:,.0f} s and was not computed again: "
                f"`tailproof reproduce {ledger.experiment} --all` does that"
            )
            continue
        sentences = _other_outputs(record, REMADE[record.rule])
        if record.machine.device == here:
            result.broken.extend(sentences)
        else:
            made_on = f"computed on {record.machine.device}, and again on {here}"
            result.notes.extend(f"{sentence} ({made_on})" for sentence in sentences)
    return result


def _other_outputs(record: Record, remake: Remake) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        yield from _guarded(record, _compared(record, remake, Path(folder)))


def _compared(record: Record, remake: Remake, folder: Path) -> Iterator[str]:
    remake(record, folder)
    for file in record.outputs:
        again = folder / Path(file.path).name
        if again.exists() and (difference := first_difference(Path(file.path), again)):
            yield f"{file.path} is not what {record.rule} computes again: {difference}"


def _guarded(record: Record, sentences: Iterator[str]) -> Iterator[str]:
    """Yield the sentences; the reason if files cannot be read or do not fit each other."""
    try:
        yield from sentences
    except (TailproofError, pa.ArrowException, OSError) as error:
        yield f"{record.rule} {record.name} cannot be computed again: {error}"
    except _WRONG_CONTENT as error:
        yield (
            f"{record.rule} {record.name} cannot be computed again "
            f"({type(error).__name__}: {error})"
        )
