"""The names of classes that Hugging Face datasets store in the schema of a parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailproof.files import parse_json
from tailproof.runtime.errors import TailproofError

if TYPE_CHECKING:
    import pyarrow as pa


def column_features(path: Path, schema: "pa.Schema", column: str) -> dict[str, Any]:
    """Return what the schema says of a column; nothing if it says nothing.

    Raises:
        TailproofError: the metadata are no JSON mapping.
    """
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        value = parse_json(raw.decode())
    except ValueError as error:  # among them UnicodeDecodeError
        raise _not_a_mapping(path, str(error)) from None
    for key in ("info", "features", column):
        if not isinstance(value, dict):
            raise _not_a_mapping(path, f"found {_kind(value)} instead of a mapping with {key!a}")
        value = value.get(key, {})
    return value if isinstance(value, dict) else {}


def class_names(path: Path, schema: "pa.Schema", column: str) -> tuple[str, ...] | None:
    """Return the names of the classes of a column; None if the schema has none.

    Args:
        path: the file.
        schema: its schema.
        column: the name of the column.

    Raises:
        TailproofError: the metadata are no JSON, or the names are not distinct texts.
    """
    names = column_features(path, schema, column).get("names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _wrong_names(path, column, f"found {_kind(names)}")
    unique = len(set(names)) == len(names)
    twice = set() if unique else {name for name in names if names.count(name) > 1}
    if twice:
        raise _wrong_names(path, column, f"found {min(twice)!a:.80} twice")
    return tuple(names)


def _not_a_mapping(path: Path, why: str) -> TailproofError:
    return TailproofError(
        f"{path}: the metadata 'huggingface' of its schema is not a JSON mapping ({why:.200}): "
        "save the dataset again"
    )


def _wrong_names(path: Path, column: str, actual: str) -> TailproofError:
    return TailproofError(
        f"{path}: the metadata 'huggingface' of its schema name the classes of '{column}', "
        f"expected a list of distinct texts, {actual}: save the dataset again"
    )


def _kind(value: Any) -> str:
    if isinstance(value, list) and value:
        others = [item for item in value if not isinstance(item, str)]
        return f"a list with {others[0]!a:.80}" if others else "a list"
    return f"{value!a:.80}"
