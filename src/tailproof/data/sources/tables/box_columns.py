"""Recognizes the columns of a table that are the sides of boxes in the pictures."""

import json
from collections.abc import Iterable
from typing import NamedTuple

from tailproof.data.sources.tables.column_roles import NUMBER, Column

SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
         ("xmin", "ymin", "width", "height"), ("xmin", "ymin", "w", "h"))  # fmt: skip
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"),
           ("left", "top", "right", "bottom"), ("minx", "miny", "maxx", "maxy"))  # fmt: skip
NOISE = {"bbox", "bb", "box", "roi"}
"""Words that say that a column is of a box."""


class BoxColumns(NamedTuple):
    """The columns of boxes.

    Attributes:
        names: of the left, upper, right and lower sides, or of the left and upper side, the width
            and the height.
        corners: whether they are the sides.
    """

    names: list[str]
    corners: bool

    @property
    def conversion(self) -> str:
        """The code of pandas that adds the columns x, y, w and h to a table t."""
        left, top, right, bottom = (f"t[{json.dumps(name)}]" for name in self.names)
        return (
            f't["x"] = {left}; t["y"] = {top}; t["w"] = {right} - {left}; '
            f't["h"] = {bottom} - {top}; t = t.drop(columns={json.dumps(self.names)})'
        )


def find_boxes(columns: Iterable[Column]) -> BoxColumns | None:
    """Return the columns of boxes; None if there are none.

    Width and height next to all four sides are those of the picture, and do not count.
    """
    keys = {
        "".join(word for word in column.words if word not in NOISE): column.name
        for column in columns
        if column.counts and column.all_match(NUMBER)
    }
    for corners, kinds in ((True, CORNERS), (False, SIZES)):
        for kind in kinds:
            if all(name in keys for name in kind):
                return BoxColumns([keys[name] for name in kind], corners)
    return None
