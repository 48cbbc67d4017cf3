"""The rows of all metadata files of a dataset, stored by column."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from posixpath import normpath

from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.listed_files import fault_of
from tailproof.data.sources.tables.metadata_file import MetadataFile
from tailproof.data.sources.tables.rank_labels import Labels


class MetadataRows:
    """The images of all rows with their labels and groups.

    Attributes:
        files: the metadata files, by their paths below root.
        paths: the path of the image of each row, below root.
        labels: the labels of each row.
        group: the group of each row; empty if there are no groups.
        context: each column of context.
        pools: the pool of each row.

    Args:
        ranks: the columns of labels.
        has_group: whether a column of groups follows them.
        context: number of columns of context that follow.
    """

    def __init__(self, ranks: Iterable[str], *, has_group: bool, context: int = 0) -> None:
        self.files: dict[str, MetadataFile] = {}
        self.paths: list[str] = []
        self.labels = Labels(ranks)
        self.group = LabelColumn()
        self.pools: list[str | None] = []
        self.context = [LabelColumn() for _ in range(context)]
        self._columns = [*self.labels.columns.values(), *([self.group] if has_group else [])]
        self._columns += self.context
        self._problems = Problems("row")
        self._starts: list[int] = []
        self._numbers = array("q")
        self._rows: dict[str, int] = {}

    def read(self, path: str, file: MetadataFile) -> None:
        """Append the rows of a metadata file.

        Args:
            path: the path of the file below root.
            file: the file.

        Raises:
            TailproofError: it cannot be read or lacks a column.
        """
        self.files[path] = file
        self._starts.append(len(self.paths))
        folder = path.rpartition("/")[0]
        for number, cells, unreadable in file.rows():
            name = "" if unreadable else cells[0] or ""
            fault = unreadable or fault_of(name)
            image = "" if fault else normpath(f"{folder}/{name}" if folder else name)
            if image in self._rows:
                fault = self._twice(image, self._rows[image])
            if fault:
                self._problems.add(file.place(number), fault)
                continue
            self._rows[image] = len(self.paths)
            self.paths.append(image)
            self._numbers.append(number)
            for column, cell in zip(self._columns, cells[1:], strict=True):
                column.add(cell)

    def check(self) -> None:
        """Raise a TailproofError that lists the rows that cannot be used."""
        self._problems.check()

    def replace_paths(self, paths: Sequence[str]) -> None:
        """Replace the paths by those of the files, of which there must be one per row.

        Raises:
            TailproofError: two rows list one file.
        """
        rows: dict[str, int] = {}
        for row, path in enumerate(paths):
            first = rows.setdefault(path, row)
            if first != row:
                self._problems.add(self.place(row), self._twice(path, first))
        self.check()
        self.paths = list(paths)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self._starts = [bisect_right(rows, start - 1) for start in self._starts]
        self.paths = [self.paths[row] for row in rows]
        self._numbers = array("q", [self._numbers[row] for row in rows])
        for column in self._columns:
            column.keep(rows)

    def file_of(self, row: int) -> str:
        """Return the metadata file of a row."""
        return list(self.files)[bisect_right(self._starts, row) - 1]

    def place(self, row: int) -> str:
        """Return the metadata file and the line of a row."""
        return self.files[self.file_of(row)].place(self._numbers[row])

    def _twice(self, path: str, first: int) -> str:
        return (
            f"lists the image '{path}', which is already in {self.place(first)}: remove one of "
            "the rows"
        )
