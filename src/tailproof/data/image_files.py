"""Finds image files in places that a user names."""

import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.multiband import MODE
from tailproof.data.sources.base import Skipped
from tailproof.data.sources.folders.class_folders import reason_not_a_picture
from tailproof.data.sources.folders.filesystem import Folder
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed
from tailproof.untrusted_text import printable


@dataclass
class FoundImages:
    """The image files at some places, and what lies next to them.

    Attributes:
        files: the given files and the sorted images of the given folders, without duplicates.
        unreadable: folders that cannot be searched.
        skipped: other files in the folders, by reason.
    """

    files: dict[Path, None] = field(default_factory=dict)
    unreadable: list[TailproofError] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def passed_over(self) -> str:
        """What lies next to the images, as a sentence."""
        counts = [f"{printable(item.reason)} ({item.count:,})" for item in self.skipped]
        return f"skipped in folders: {listed(counts)}"


def find_images(places: Iterable[str | Path], mode: str) -> FoundImages:
    """Return the image files at the given places.

    Args:
        places: files and folders.
        mode: mode of the expert's images, which decides the file suffixes in folders.

    Raises:
        TailproofError: a path does not exist, or a folder has no images.
    """
    suffixes = {".npy"} if mode == MODE else SUFFIXES
    found = FoundImages()
    for given in places:
        if not str(given):
            raise TailproofError(
                "an image has an empty path, as an empty variable of the shell gives: give image "
                "files or folders, and '.' for the current folder"
            )
        place = Path(given)
        try:
            status = place.stat()
        except (FileNotFoundError, ValueError):  # no file has a zero byte in its name
            raise TailproofError(f"{place} does not exist: give image files or folders") from None
        except OSError as error:
            raise unreadable(place, error) from None
        if stat.S_ISDIR(status.st_mode):
            _search(place, suffixes, found)
        else:
            found.files[place] = None
    first: dict[str, Path] = {}
    for file in found.files:
        first.setdefault(os.path.normpath(Path.cwd() / file), file)  # links stay as they are
    found.files = dict.fromkeys(first.values())
    return found


def _search(folder: Path, suffixes: Collection[str], found: FoundImages) -> None:
    """Add the images below a folder, listed as the source image_folder lists them."""

    def fail(error: OSError) -> None:
        found.unreadable.append(unreadable(error.filename, error))

    listing, images, before = Folder(folder, readable=False), [], len(found.unreadable)
    for path in listing.files(on_error=fail):
        if Path(path).suffix.lower() in suffixes:
            images.append(folder / path)
        else:
            listing.left_out.add(reason_not_a_picture(path), path)
    if not images and len(found.unreadable) == before:
        raise TailproofError(
            f"{folder} has no images for this expert, expected files ending in "
            f"{', '.join(sorted(suffixes))}: name another folder, or convert the files"
        )
    found.files |= dict.fromkeys(images)
    found.skipped += listing.left_out.skipped()
