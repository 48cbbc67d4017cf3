"""One parquet file of foreign origin: its columns as text, its images read forward."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailproof.config.data import Parquet
from tailproof.data.multiband import START
from tailproof.data.sources.array_images import from_lists, from_npy, is_array
from tailproof.data.sources.label_tree import clean
from tailproof.runtime.errors import TailproofError, suggestion

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 64  # images that are in memory at once
LABEL_BATCH = 65536


@dataclass(frozen=True)
class Kind:
    """What a column of labels holds.

    Attributes:
        name: ``text``, ``whole numbers``, ``class labels`` or ``nulls``.
        names: the class names that Hugging Face's metadata give; None for the other kinds.
    """

    name: str
    names: tuple[str, ...] | None = None

    def text(self, value: Any) -> str | None:
        """Return a cell as a label, None where it is none.

        Raises:
            LookupError: no class has this number.
        """
        if value is None:
            return None
        if self.name == "text":
            return clean(value)
        if self.names is None:
            return str(value)
        if value < -1:
            raise LookupError
        return None if value == -1 else self.names[value]  # -1: Hugging Face's for no label


TEXT, NULLS = Kind("text"), Kind("nulls")


class ParquetFile:
    """A parquet file of the configured columns.

    Raises:
        TailproofError: it is missing, truncated or no parquet.
    """

    def __init__(self, path: Path, config: Parquet) -> None:
        import pyarrow.parquet as pq

        self.path, self.image = path, config.image
        self._shape, self._bands = config.shape, config.bands
        with self._readable():
            # Buffered and not pre-buffered: a row group is streamed, not held.
            self.file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        self.schema: pa.Schema = self.file.schema_arrow
        self._rows: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.Array | None = None
        self._first = 0  # row of the file that the batch begins with
        self._end = 0  # row of the file that the row group ends before

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def check_image(self) -> None:
        """Raise a TailproofError where the column of images is missing or holds something else."""
        import pyarrow as pa

        found = self._field(self.image).type
        data = found.field("bytes").type if self._is_struct(found) else found
        if not (pa.types.is_binary(data) or pa.types.is_large_binary(data) or is_array(found)):
            raise TailproofError(
                f"{self.path}: its column '{self.image}' has type {found}, expected encoded "
                "images: binary, or a struct with the field bytes; or numbers in lists"
            )

    def kind(self, column: str) -> Kind:
        """Return what a column of labels holds.

        Raises:
            TailproofError: the column is missing or of a type that labels cannot have.
        """
        import pyarrow as pa

        found = self._field(column).type
        values = found.value_type if pa.types.is_dictionary(found) else found
        if pa.types.is_string(values) or pa.types.is_large_string(values):
            return TEXT
        if pa.types.is_null(values):
            return NULLS
        if not pa.types.is_integer(values):
            raise TailproofError(
                f"{self.path}: its column '{column}' has type {found}, expected text or whole "
                "numbers"
            )
        names = self._features.get(column, {}).get("names")
        return Kind("whole numbers") if names is None else Kind("class labels", tuple(names))

    def texts(self, columns: dict[str, Kind]) -> Iterator[dict[str, str | None]]:
        """Yield the cells of each row as text, by column."""
        if not columns:
            yield from ({} for _ in range(len(self)))
            return
        row = 0
        with self._readable():
            for batch in self.file.iter_batches(LABEL_BATCH, columns=list(columns)):
                cells = [
                    self._texts(name, kind, batch.column(name).to_pylist(), row)
                    for name, kind in columns.items()
                ]
                row += len(batch)
                for values in zip(*cells, strict=True):
                    yield dict(zip(columns, values, strict=True))

    def read(self, row: int) -> bytes:
        """Return the encoded image of a row; rows in ascending order are read once.

        Raises:
            TailproofError: it is null or only a path, or the file is shorter or damaged.
        """
        if not 0 <= row < len(self):
            raise TailproofError(
                f"{self.path}, row {row}: no longer in the source; run the stage prepare again"
            )
        if self._batch is None or not self._first <= row < self._first + len(self._batch):
            with self._readable():
                self._seek(row)
        value = self._batch[row - self._first]
        if value.is_valid and is_array(value.type):
            with self._named(row):
                return from_lists(value, self._shape, self._bands)
        cell = value.as_py()
        data = cell["bytes"] if isinstance(cell, dict) else cell
        if data is None:
            path = cell.get("path") if isinstance(cell, dict) else None
            found = f"only the path '{path}' of an image" if path else "no image"
            raise TailproofError(
                f"{self.path}, row {row}: its column '{self.image}' holds {found}; save the "
                "dataset with the images embedded, or remove the row"
            )
        if data.startswith(START):
            with self._named(row):
                return from_npy(data, self._bands)
        return data

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        try:
            yield
        except TailproofError as error:
            raise TailproofError(
                f"{self.path}, row {row}: its column '{self.image}': {error}"
            ) from error

    def _seek(self, row: int) -> None:
        """Make the batch that holds `row` the current one."""
        if self._batch is None or not self._first <= row < self._end:
            self._end = 0
            for group in range(self.file.num_row_groups):
                self._first = self._end
                self._end += self.file.metadata.row_group(group).num_rows
                if row < self._end:
                    break
            self._rows = self.file.iter_batches(BATCH, row_groups=[group], columns=[self.image])
            self._batch = next(self._rows).column(0)
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._rows).column(0)

    def _texts(self, column: str, kind: Kind, values: list[Any], row: int) -> list[str | None]:
        known: dict[Any, str | None] = {}
        for offset, value in enumerate(values):
            if value not in known:
                try:
                    known[value] = kind.text(value)
                except LookupError:
                    raise TailproofError(
                        f"{self.path}, row {row + offset}: its column '{column}' holds {value}, "
                        f"expected 0 to {len(kind.names) - 1}, the classes that its schema names, "
                        "or -1 for none"
                    ) from None
        return [known[value] for value in values]

    def _field(self, name: str) -> "pa.Field":
        if name not in self.schema.names:
            raise TailproofError(
                f"{self.path} has no column '{name}'{suggestion(name, self.schema.names)}; it "
                f"has: {', '.join(self.schema.names)}"
            )
        return self.schema.field(name)

    @staticmethod
    def _is_struct(found: "pa.DataType") -> bool:
        import pyarrow as pa

        return pa.types.is_struct(found) and found.get_field_index("bytes") >= 0

    @cached_property
    def _features(self) -> dict[str, Any]:
        """What Hugging Face's metadata say of each column."""
        raw = (self.schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            return json.loads(raw).get("info", {}).get("features", {})
        except (ValueError, AttributeError):
            raise TailproofError(
                f"{self.path}: the metadata 'huggingface' of its schema is no JSON mapping; save "
                "the dataset again"
            ) from None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except FileNotFoundError:
            raise TailproofError(
                f"{self.path} does not exist; run the stage prepare again"
            ) from None
        except (pa.ArrowException, OSError, StopIteration) as error:
            raise TailproofError(
                f"{self.path} cannot be read as parquet ({error}); fetch it again"
            ) from None
