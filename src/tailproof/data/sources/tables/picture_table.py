"""Tables that name pictures: their columns, and where the pictures are."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tailproof.data.sources.tables.column_roles import Column, Roles


@dataclass
class Placement:
    """Where the files of a column are.

    Attributes:
        images: the folder, relative to the root.
        share: the share of the file names that exist.
        subfolders: whether they are in folders below it.
    """

    images: str
    share: float
    subfolders: bool = False


@dataclass
class Table:
    """A table of pictures.

    Attributes:
        path: relative to the root.
        encoding: None for UTF-8.
        columns: its columns by name.
        filename: the column of file names.
        placement: where the files are.
        roles: what the other columns are.
        rows: the number of rows.
        box: the columns of left and upper side, width and height of the box in each row, if a
            picture has several rows.
    """

    path: str
    encoding: str | None
    columns: dict[str, Column]
    filename: str
    placement: Placement
    roles: Roles
    rows: int
    box: list[str] | None = None

    @property
    def stem(self) -> str:
        """The name of the file without its suffix."""
        return PurePosixPath(self.path).stem

    def has(self, names: list[str | None]) -> bool:
        """Return whether it has all these columns."""
        return all(name in self.columns for name in names if name is not None)


@dataclass
class Tables:
    """All tables of pictures in a folder, by what can be done with them.

    Attributes:
        labelled: their labels can be used.
        faulty: their labels cannot be used as they are.
        unlabelled: no column is surely the label.
        others: the columns of tables that name no picture, by path.
        notes: sentences about what was not looked at.
    """

    labelled: list[Table] = field(default_factory=list)
    faulty: list[Table] = field(default_factory=list)
    unlabelled: list[Table] = field(default_factory=list)
    others: dict[str, dict[str, Column]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
