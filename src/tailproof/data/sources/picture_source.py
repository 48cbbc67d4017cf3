"""What sources share whose samples are picture files below a folder."""

from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tailproof.data.sources.archives.packed_files import require_unpacked
from tailproof.data.sources.base import Source
from tailproof.data.sources.folders.filesystem import read_file


class RootedConfig(Protocol):
    """A configuration that names the folder of the pictures."""

    @property
    def root(self) -> str:
        """The folder."""


Config = TypeVar("Config", bound=RootedConfig)


class PictureSource(Source, Generic[Config]):
    """A source of picture files; the path of a sample is its path below `root`.

    Args:
        config: the configuration.

    Raises:
        TailproofError: the folder is not unpacked.
    """

    root: Path

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.root)
        require_unpacked(self.root)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the file."""
        return read_file(self.root / path)
