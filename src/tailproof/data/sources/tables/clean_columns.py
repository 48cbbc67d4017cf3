"""Cleans columns of labels and groups as all tables need it."""

from collections.abc import Mapping

from tailproof.data.sources.tables.label_column import LabelColumn, Where
from tailproof.data.sources.tables.label_spelling import join_spellings, report_lookalikes
from tailproof.data.sources.tables.missing_values import Missing, drop_missing
from tailproof.data.sources.tables.unfit_labels import report_unfit


def clean_columns(
    ranks: Mapping[str, LabelColumn],
    group: tuple[str, LabelColumn] | None,
    missing: Missing,
    table: str,
    where: Where,
) -> list[str]:
    """Drop the signs for a missing value, join spellings of one value, and return warnings.

    Args:
        ranks: the columns of labels by name.
        group: name and column of groups, if there are groups.
        missing: the signs for a missing value, as configured.
        table: what contains the columns, for messages.
        where: returns the place of a row, for messages.

    Raises:
        TailproofError: a column without a decision has a value that looks like a sign.
    """
    warnings = drop_missing(ranks, group, missing, table, where)
    for name, column in [*ranks.items(), *([group] if group else [])]:
        warnings += join_spellings(name, column, table)
        warnings += report_lookalikes(name, column, table)
    for name, column in ranks.items():
        warnings += report_unfit(name, column, table)
    return warnings
