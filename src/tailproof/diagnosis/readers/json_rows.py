"""Reads JSON and JSON lines: rows, columns, and the orients of pandas."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailproof.diagnosis.column_aliases import PARTS, read_name, with_plain_sets
from tailproof.diagnosis.readers.table import PassedOver, Rows, Table
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_json

_LISTS = ("history", "log_history", "epochs", "rows")
_COUNTERS = ("epoch", "step")
_DEEPEST = 5
_EXAMPLE = '{"epoch": 1, "val_loss": 0.5}'
_ROW_NAME = re.compile(r"(?:epoch[\W_]*|ep[\W_]*|e)?(\d{1,9})", re.IGNORECASE)
_DTYPE = re.compile(r",\s*(?:dtype|device|grad_fn)=[^,()\[\]]+")
_WRAPPED = re.compile(r"\b(?:\w+\.)?(?:tensor|array|float\d\d|int\d\d)\(([^()]*)\)")
_NOT_FINITE = re.compile(r"(?<![\w'\"])-?(?:nan|inf)(?![\w'\"])")
"""How numpy and torch print numbers inside of a dictionary."""
Named = dict[str, Any]


def read_json_tables(path: Path, text: str) -> list[Table]:
    """Return the tables of a JSON or JSON lines file, one for each run in it.

    Raises:
        TailproofError: the text is neither, or holds no rows.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # ValueError: also a number of 5,000 digits
        value = read_python_value(text)
        if value is None:
            return [_json_lines(path, text)]
    if isinstance(value, dict) and {"cells", "nbformat"} <= value.keys():
        raise TailproofError(
            f"{path} is a notebook: save the history in it as CSV with a header such as "
            "epoch,train_loss,val_loss, or the text that the training printed as a .txt file"
        )
    tables = list(_tables(path, value, 0))
    if not tables and isinstance(value, dict) and _is_first_row(value):
        tables = [Table([_flat(value)], "JSON")]
    if not tables:
        raise TailproofError(
            f"{path} is JSON without a list of epochs: expected a list of epochs, alone or under "
            f"{' or '.join(map(repr, _LISTS[:2]))}, or a list of numbers for each name"
        )
    return tables


def read_json_of_epoch(path: Path) -> Named | None:
    """Return the row of a JSON file with the number and the metrics of one epoch; None if not."""
    try:
        value = read_json(path, nan=True)
    except TailproofError:
        return None
    row = _flat(value) if isinstance(value, dict) and _scalars(list(_flat(value).values())) else {}
    roles = [read_name(name).role for name in row]
    is_epoch = isinstance(row.get("epoch"), int) and "metric" in roles
    return row if is_epoch else None


def read_python_value(text: str) -> Any:
    """Return the value of a Python dictionary that was written by `str`; None if it is none."""
    if not re.match(r"\{\s*'", text.lstrip()):
        return None
    plain = _WRAPPED.sub(r"\1", _DTYPE.sub("", text.strip()))
    try:
        return json.loads(json.dumps(ast.literal_eval(_NOT_FINITE.sub(r"'\g<0>'", plain))))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _json_lines(path: Path, text: str) -> Table:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows: Rows = []
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == lines[-1][0] and rows:  # an unfinished run is writing it
                cut = PassedOver("unfinished last lines", 1, (f"line {number}",))
                return Table(rows, "JSON lines", passed_over=(cut,))
            raise TailproofError(
                f"{path}, line {number} is not JSON ({_reason(error)}): correct or remove the line"
            ) from None
        if not isinstance(row, dict):
            raise TailproofError(f"{path}, line {number}: expected a mapping such as {_EXAMPLE}")
        rows.append(_flat(row))
    return Table(rows, "JSON lines")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "too deeply nested" if isinstance(error, RecursionError) else "a number is too long"


def _tables(path: Path, value: Any, depth: int) -> Iterator[Table]:
    """Yield the tables in a value; several in one mapping are runs by the name of their key."""
    if isinstance(value, list):
        yield from _of_list(path, value, depth)
    elif isinstance(value, dict) and depth <= _DEEPEST:
        for key in _LISTS:
            if isinstance(value.get(key), list | dict) and value[key]:
                tables = list(_tables(path, value[key], depth + 1))
                if tables:
                    yield from tables
                    return
        if table := _of_mapping(path, value):
            yield table
            return
        inner = {key: list(_tables(path, item, depth + 1)) for key, item in value.items()}
        inner = {key: tables for key, tables in inner.items() if tables}
        for key, tables in inner.items():
            for table in tables:
                run = "/".join(name for name in (str(key), table.run) if name)
                yield Table(**{**vars(table), "run": run if len(inner) > 1 else table.run})


def _of_list(path: Path, value: list, depth: int) -> Iterator[Table]:
    if not value:
        if depth == 0:
            raise TailproofError(f"{path} has no rows: wait until the first epoch has ended")
        return
    if all(isinstance(row, list) and len(row) == 3 and _scalars(row) for row in value):
        yield Table(
            [{"wall time": t, "step": step, "value": number} for t, step, number in value],
            "TensorBoard JSON",
        )
    elif all(isinstance(row, dict) for row in value):
        yield Table([_flat(row) for row in value], "JSON")
    elif depth == 0 and _scalars(value) and all(_is_real(cell) for cell in value):
        yield Table([{"value": cell} for cell in value], "JSON", numbered=True)
    elif all(isinstance(row, list) for row in value):
        if depth == 0:
            raise TailproofError(
                f"{path} has rows without column names: write each row with names, as pandas does "
                "with orient='records'"
            )
    elif depth == 0:
        number, row = next((n, r) for n, r in enumerate(value, 1) if not isinstance(r, dict))
        raise TailproofError(
            f"{path}, entry {number}: expected a mapping such as {_EXAMPLE}, found "
            f"{type(row).__name__}"
        )


def _of_mapping(path: Path, value: Named) -> Table | None:
    """Return the table of a mapping of columns, of rows, or of what pandas writes."""
    names, data = value.get("columns"), value.get("data")
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return Table([_flat(row) for row in data], "JSON")
    if isinstance(names, list) and isinstance(data, list):
        if any(not isinstance(row, list) or len(row) != len(names) for row in data):
            raise TailproofError(
                f"{path}: every row of 'data' needs one value for each column: save it again"
            )
        rows = [dict(zip(map(str, names), row, strict=True)) for row in data]
        return Table(rows, "JSON", numbered=True)
    if _by_row(value):
        return _with_row_names([(key, _flat(row)) for key, row in value.items()])
    if all(isinstance(item, dict) for item in value.values()) and value:
        keys = dict.fromkeys(key for item in value.values() for key in item)
        columns = all(_scalars(list(item.values())) for item in value.values())
        if columns and keys and all(_ROW_NAME.fullmatch(key) for key in keys):
            return _with_row_names(
                [(key, {str(name): item.get(key) for name, item in value.items()}) for key in keys]
            )
    return _of_lists(path, value)


def _by_row(value: Named) -> bool:
    """Return whether a mapping has row numbers or epochs as keys, and rows as values."""
    return bool(value) and all(
        isinstance(row, dict) and row and _ROW_NAME.fullmatch(str(key)) and not _is_series(row)
        for key, row in value.items()
    )


def _is_series(row: Named) -> bool:
    return all(_ROW_NAME.fullmatch(str(key)) for key in row)


def _with_row_names(rows: list[tuple[str, Named]]) -> Table:
    """Take the keys of rows for epochs, unless rows have one or are simply counted from 0."""
    matches = (_ROW_NAME.fullmatch(key) for key, _ in rows)
    numbers = [int(match[1]) for match in matches if match]
    named = any(read_name(name).role in _COUNTERS for _, row in rows for name in row)
    if not named and numbers != list(range(len(numbers))):
        return Table(
            [{"epoch": n, **row} for n, (_, row) in zip(numbers, rows, strict=True)], "JSON"
        )
    return Table([row for _, row in rows], "JSON", numbered=True)


def _of_lists(path: Path, value: Named) -> Table | None:
    """Turn names of lists, possibly one level below the names of splits, into rows."""
    sets = with_plain_sets(map(str, value))
    lists = dict(_lists_in({sets[str(key)]: item for key, item in value.items()}, 0))
    roles = {name: read_name(name) for name in lists}
    series = {
        name: column
        for name, column in lists.items()
        if (roles[name].role != "other" or _words_of_split(name)) and roles[name].part != "test"
    }
    lengths = {name: len(column) for name, column in series.items()}
    if not lengths or max(lengths.values()) == 0:
        return None
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in list(lengths.items())[:5])
        raise TailproofError(
            f"{path}: its lists have different lengths ({shown}), expected one value per epoch: "
            "leave out the lists that have other values"
        )
    length = next(iter(lengths.values()))
    kept = {name: column for name, column in lists.items() if len(column) == length}
    others = [name for name in lists if name not in kept]
    passed_over = [PassedOver("lists of other lengths", len(others), tuple(others[:3]))]
    return Table(
        [dict(zip(kept, row, strict=True)) for row in zip(*kept.values(), strict=True)],
        "JSON",
        numbered=True,
        passed_over=tuple(passed_over if others else ()),
    )


def _lists_in(value: Named, depth: int) -> Iterator[tuple[str, list]]:
    for key, item in value.items():
        of_sacred = isinstance(item, dict) and isinstance(item.get("values"), list)
        column = item["values"] if of_sacred else item
        if isinstance(column, list) and column and _scalars(column):
            yield str(key), column
        elif isinstance(item, dict) and depth < 2 and _words_of_split(str(key)):
            for name, values in _lists_in(item, depth + 1):
                yield f"{key}/{name}", values
        elif isinstance(item, dict) and depth < 2 and read_name(str(key)).known:
            for name, values in _lists_in(item, depth + 1):
                if _words_of_split(name):
                    yield f"{key}/{name}", values


def _words_of_split(name: str) -> bool:
    return name.strip().lower() in PARTS


def _is_first_row(value: Named) -> bool:
    """Return whether a mapping is the first epoch of a run, not the last values of one."""
    counts = [item for name, item in _flat(value).items() if read_name(name).role in _COUNTERS]
    return bool(counts) and all(_is_real(count) and (count or 0) <= 1 for count in counts)


def _flat(row: Named, prefix: str = "", depth: int = 0) -> Named:
    """Return a row whose nested values have names such as ``train/loss``."""
    flat: Named = {}
    for key, item in row.items():
        if isinstance(item, dict) and depth < _DEEPEST:
            flat |= _flat(item, f"{prefix}{key}/", depth + 1)
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _scalars(values: list) -> bool:
    return all(not isinstance(item, list | dict) for item in values)


def _is_real(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
