"""A parquet file of other origin: reads its label columns as text, and its images in order."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailproof.data.multiband import START
from tailproof.data.sources.tables.huggingface_names import class_names, column_features
from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.data.sources.tables.parquet_arrays import from_lists, from_npy, is_array
from tailproof.runtime.errors import TailproofError, suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from tailproof.data.sources.parquet import Parquet

IMAGES = ("image", "img", "picture", "photo", "jpg", "png")
BATCH = 64  # images in memory at once
LABEL_BATCH = 65536
LONGEST_LABEL = 10_000  # characters
EXACT = 2**53
"""A float of this size or more may stand for several whole numbers."""


@dataclass(frozen=True)
class Kind:
    """The kind of values in a column of labels.

    Attributes:
        name: ``text``, ``whole numbers``, ``class labels`` or ``nulls``.
        names: the class names from Hugging Face metadata; None for the other kinds.
    """

    name: str
    names: tuple[str, ...] | None = None

    def text(self, value: Any) -> str | None:
        """Return a cell as a label; None if the cell has no label.

        Raises:
            LookupError: there is no class with this number, or the number is not whole.
        """
        if value is None:
            return None
        if self.name == "text":
            return text_or_none(value)
        if isinstance(value, float):  # as pandas writes whole numbers next to an empty cell
            if isnan(value):
                return None
            if not value.is_integer() or abs(value) >= EXACT:
                raise LookupError
            value = int(value)
        if self.names is None:
            return str(value)
        if value < -1:
            raise LookupError
        return None if value == -1 else self.names[value]  # -1: Hugging Face, no label


TEXT, NULLS = Kind("text"), Kind("nulls")


def is_struct_of_bytes(column: "pa.DataType") -> bool:
    """Return whether a column contains images as Hugging Face datasets store them."""
    import pyarrow as pa

    return pa.types.is_struct(column) and column.get_field_index("bytes") >= 0


class ParquetTable:
    """Reads columns of labels from a parquet file.

    Raises:
        TailproofError: the file is missing, truncated or not a parquet file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        from tailproof.data.tables import refuse_bomb

        self.path = path
        with self._readable():
            # With a buffer and no pre-buffer, a row group is streamed instead of held in memory.
            self.file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        refuse_bomb(path, self.file.metadata)
        self.schema: pa.Schema = self.file.schema_arrow

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def kind(self, column: str) -> Kind:
        """Return the kind of values in a column of labels.

        Raises:
            TailproofError: the column is missing or has another type than labels have.
        """
        import pyarrow as pa

        cells = self._field(column).type
        values = cells.value_type if pa.types.is_dictionary(cells) else cells
        if pa.types.is_string(values) or pa.types.is_large_string(values):
            return TEXT
        if pa.types.is_null(values):
            return NULLS
        if not (pa.types.is_integer(values) or pa.types.is_floating(values)):
            raise TailproofError(
                f"{self.path}: its column '{column}' has the type {cells}, expected text or whole "
                "numbers: convert it, or name another column"
            )
        names = class_names(self.path, self.schema, column)
        return Kind("whole numbers") if names is None else Kind("class labels", names)

    def image_columns(self) -> list[str]:
        """Return the columns that contain encoded images, the likeliest first."""
        import pyarrow as pa

        def rank(name: str) -> tuple[bool, bool]:
            features = column_features(self.path, self.schema, name)
            return features.get("_type") != "Image", name not in IMAGES

        names = [
            field.name
            for field in self.schema
            if is_struct_of_bytes(field.type)
            or (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
        ]
        return sorted(names, key=rank)

    def first_columns(self, rows: int) -> dict[str, list[str | None]]:
        """Return the first cells of each column of text or whole numbers."""
        columns: dict[str, list[str | None]] = {}
        for name in self.schema.names:
            with suppress(TailproofError):  # no labels, such as fractions
                cells = islice(self.texts({name: self.kind(name)}), rows)
                columns[name] = [row[name] for row in cells]
        return columns

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

    def _texts(self, column: str, kind: Kind, values: list[Any], row: int) -> list[str | None]:
        texts: dict[Any, str | None] = {}
        for offset, value in enumerate(values):
            if value not in texts:
                if isinstance(value, str) and len(value) > LONGEST_LABEL:
                    raise TailproofError(
                        f"{self.path}, row {row + offset}: its column '{column}' contains a text "
                        f"of {len(value)} characters, expected at most {LONGEST_LABEL}: name a "
                        "column of labels, or correct the file"
                    )
                try:
                    texts[value] = kind.text(value)
                except LookupError:
                    expected = (
                        f"text or whole numbers below {EXACT}"
                        if kind.names is None
                        else f"0 to {len(kind.names) - 1}, the numbers of its classes, or -1 for "
                        "no label"
                    )
                    raise TailproofError(
                        f"{self.path}, row {row + offset}: its column '{column}' contains "
                        f"{value}, expected {expected}: correct the file"
                    ) from None
        return [texts[value] for value in values]

    def _field(self, name: str) -> "pa.Field":
        if name not in self.schema.names:
            raise TailproofError(
                f"{self.path} has no column '{name}'{suggestion(name, self.schema.names)}; its "
                f"columns are: {', '.join(self.schema.names)} (correct the names of columns in "
                "data.source, such as ranks and group, or in data.context)"
            )
        if (count := self.schema.names.count(name)) > 1:
            raise TailproofError(
                f"{self.path} has {count} columns with the name '{name}': rename all but one"
            )
        return self.schema.field(name)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        from tailproof.data.tables import unreadable

        try:
            yield
        except FileNotFoundError:
            raise TailproofError(
                f"{self.path} does not exist: restore the file, or run snakemake again with "
                "--forcerun prepare"
            ) from None
        except UnicodeDecodeError:
            raise TailproofError(
                f"{self.path}: a text in it is not UTF-8: save the file again as UTF-8"
            ) from None
        except (pa.ArrowException, OSError, StopIteration, ValueError) as error:
            raise unreadable(self.path, error, "fetch it again") from None


class ParquetFile(ParquetTable):
    """Reads the configured columns of a parquet file, and its images.

    Raises:
        TailproofError: the file is missing, truncated or not a parquet file.
    """

    def __init__(self, path: Path, config: "Parquet") -> None:
        super().__init__(path)
        self.image = config.image
        self._shape, self._bands = config.shape, config.bands
        self._rows: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.Array | None = None
        self._first = 0  # first row of the batch
        self._end = 0  # row after the last one of the row group

    def check_image(self) -> None:
        """Raise a TailproofError if the column of images is missing or has another type."""
        import pyarrow as pa

        column = self._field(self.image).type
        data = column.field("bytes").type if is_struct_of_bytes(column) else column
        if not (pa.types.is_binary(data) or pa.types.is_large_binary(data) or is_array(column)):
            raise TailproofError(
                f"{self.path}: its column '{self.image}' has the type {column}, expected encoded "
                "images (binary, or a struct with the field bytes) or lists of numbers: set "
                "data.source.image to such a column"
            )

    def read(self, row: int) -> bytes:
        """Return the encoded image of a row. Rows in ascending order are read only once.

        Raises:
            TailproofError: the image is null or only a path, or the file is shorter or damaged.
        """
        if not 0 <= row < len(self):
            raise TailproofError(
                f"{self.path}, row {row} is no longer in the source: run snakemake again with "
                "--forcerun prepare"
            )
        batch = self._batch
        if batch is None or not self._first <= row < self._first + len(batch):
            with self._readable():
                batch = self._seek(row)
        value = batch[row - self._first]
        if value.is_valid and is_array(value.type):
            with self._named(row):
                return from_lists(value, self._shape, self._bands)
        cell = value.as_py()
        data = cell["bytes"] if isinstance(cell, dict) else cell
        if data is None:
            path = cell.get("path") if isinstance(cell, dict) else None
            content = f"only the path '{path}' of an image" if path else "no image"
            raise TailproofError(
                f"{self.path}, row {row}: its column '{self.image}' contains {content}: save the "
                "dataset with embedded images, or remove the row"
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

    def _seek(self, row: int) -> "pa.Array":
        """Make the batch that holds `row` the current one, and return it."""
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
        return self._batch
