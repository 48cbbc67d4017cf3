"""All pictures below a folder, of no class that anybody has to learn: for `data.unknown`."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from tailproof.config.data import PictureSourceConfig
from tailproof.data.sources.base import Sample, Skipped, register_source
from tailproof.data.sources.folders.class_folders import is_picture, reason_not_a_picture
from tailproof.data.sources.folders.filesystem import Folder, no_folder
from tailproof.data.sources.picture_source import PictureSource
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError

RANK = "folder"


class Pictures(PictureSourceConfig):
    """All pictures below a folder."""

    name: Literal["pictures"]
    root: str = Field(min_length=1, description="Folder that contains the pictures.")


@register_source(Pictures)
class PicturesSource(PictureSource[Pictures]):
    """Picture files at any depth below root. The label is the top folder, if there is one.

    Links are followed. The id and the path of a sample are its path below root.
    """

    ranks = (RANK,)

    def __init__(self, config: Pictures) -> None:
        super().__init__(config)
        self._tree = Folder(self.root)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted names of the top folders."""
        return {RANK: sorted({path.split("/")[0] for path in self._paths if "/" in path})}

    def files(self) -> list[Path]:
        """Return every picture file. The folder is walked once."""
        return [self.root / path for path in self._paths]

    def __len__(self) -> int:
        return len(self._paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the pictures in the order of their paths."""
        for path in self._paths:
            top, _, below = path.partition("/")
            yield Sample(path, {RANK: top if below else None}, path)

    def skipped(self) -> list[Skipped]:
        """Return what is in the folder and is no picture."""
        return self._tree.left_out.skipped() if self._paths else []

    @cached_property
    def _paths(self) -> list[str]:
        if not self.root.is_dir():
            raise no_folder(self.root, "the root of the source pictures", "a folder of pictures")
        try:
            paths = list(self._tree.files())
        except OSError as error:
            raise unreadable(error.filename, error) from None
        pictures = sorted(path for path in paths if is_picture(path))
        others = Counter(reason_not_a_picture(path) for path in paths if not is_picture(path))
        if not pictures:
            found = ", ".join(f"{reason} ({count})" for reason, count in others.items())
            raise TailproofError(
                f"{self.root} contains no picture, expected at least one at any depth (found: "
                f"{found or 'no file'}): correct the root of this source, or convert the files"
            )
        for path in paths:
            if not is_picture(path):
                self._tree.left_out.add(reason_not_a_picture(path), path)
        return pictures
