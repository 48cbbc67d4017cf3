"""Lists the pictures of class folders, and what looks like a mistake among them."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.archives.packed_files import is_archive
from tailproof.data.sources.folders.filesystem import DEAD_LINKS, Folder
from tailproof.data.sources.folders.folder_layout import MASKS, quoted
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

UNREAD_PICTURES = re.compile(r"\.(gif|jp2|jxl|svg|psd|tga|dng|cr2|cr3|nef|arw|npy)")

# Files that are no pictures: a folder that contains these alone is no class.
NO_PICTURES = re.compile(
    r"\.(txt|csv|tsv|json|xml|md|rst|ya?ml|pdf|html?|log|py|ipynb|docx?|xlsx?|db|ini|sh|pkl|pth)"
)

MASK = re.compile(
    r"(.+?)([ _-]*)((mask|seg|segmentation|gt|ground_?truth|label|annotation)s?)[ _]?(\d*)",
    re.IGNORECASE,
)
"""The name of a mask: that of its picture, a separator, a word, and perhaps a number."""


def list_classes(tree: Folder, below: str) -> dict[str, list[str]]:
    """Return the sorted paths of the pictures of each class.

    Args:
        tree: the root; it counts what is passed over.
        below: the folder of the class folders, relative to the root.

    Raises:
        OSError: a folder cannot be read.
        TailproofError: there is no class folder, or class folders contain only pictures that are
            not read.
    """
    folders, files = tree.entries(below)
    prefix = f"{below}/" if below else ""
    for name in files:
        if is_picture(name) or UNREAD_PICTURES.fullmatch(_suffix(name)):
            tree.left_out.add("pictures next to the class folders", prefix + name)
        elif is_archive(name):
            tree.left_out.add("archives next to the class folders", prefix + name)
    if not folders:
        raise TailproofError(_describe_no_folder(tree, below, files))
    _refuse_linked_twins(tree, prefix, folders)
    classes, unread = {}, {}
    for name in track(folders, f"list {tree.root / below}"):
        dead = tree.left_out.count(DEAD_LINKS)
        paths, others = _list_pictures(tree, prefix + name)
        others[DEAD_LINKS] = tree.left_out.count(DEAD_LINKS) - dead
        if paths:
            classes[name] = sorted(paths)
        elif all(map(NO_PICTURES.fullmatch, +others)):
            tree.left_out.add("class folders without a picture", prefix + name)
        else:
            unread[name] = others
    if unread or not classes:
        unread = unread or {name: Counter() for name in folders}
        raise TailproofError(_describe_unread(tree.root / below, unread))
    return classes


def warn_of_files(
    classes: Mapping[str, list[str]], depth: int, *, grouped: bool = False
) -> Iterator[str]:
    """Yield sentences about pictures that are probably no samples, or not independent ones.

    Args:
        classes: the paths of the pictures by top folder, relative to the root.
        depth: the number of folders from the root to a class folder.
        grouped: whether the folders inside the class folders are groups.
    """
    masks: list[str] = []
    copies: list[str] = []
    folders: dict[str, int] = {}
    for paths in classes.values():
        deep = [path for path in paths if path.count("/") > depth]
        parents = Counter(path.rpartition("/")[0] for path in deep)
        folders |= parents if len(parents) > 1 else {}
        inside = (path for path in paths if any(map(MASKS.fullmatch, path.split("/")[1:-1])))
        masks += dict.fromkeys([*masks_among(paths), *inside])
        stems = {_stem(path) for path in paths} if deep else set()
        copies += [path for path in deep if _outer(path) in stems]
    if masks:
        yield (
            "the class folders seem to contain masks or other annotations: "
            f"{quantity(len(masks), 'picture')} ({quoted(masks, 2)}); move them out if they are "
            "not samples"
        )
    if copies:
        yield (
            "folders inside the class folders contain pictures with the name of a picture in the "
            f"folder above: {quantity(len(copies), 'picture')} ({quoted(copies, 2)}); move them "
            "out if they are copies, such as thumbnails: several splits would have copies of one "
            "picture"
        )
    nested = sum(folders.values())
    if 2 * nested > sum(map(len, classes.values())) and not (copies or masks or grouped):
        yield (
            f"{quantity(nested, 'picture')} are in folders inside the class folders "
            f"({quoted(folders, 2)}), which count neither as classes nor as groups: if they are "
            "the classes, name each level of folders in data.source.ranks; if each has the "
            "pictures of one patient or place, set data.source.group to folder"
        )


def _refuse_linked_twins(tree: Folder, prefix: str, folders: Mapping[str, bool]) -> None:
    """Refuse two class folders of which one is a link to the other."""
    if not any(folders.values()):
        return
    names: dict[str, str] = {}
    for name in folders:
        first = names.setdefault(os.path.realpath(tree.root / f"{prefix}{name}"), name)
        if first != name:
            raise TailproofError(
                f"{tree.root / prefix}: the class folders '{first}' and '{name}' are the same "
                "folder, because one is a link: remove one"
            )


def _list_pictures(tree: Folder, folder: str) -> tuple[list[str], Counter[str]]:
    """Return the pictures of a class folder, and the number of other files by suffix."""
    paths, others = list[str](), Counter[str]()
    for path in track(tree.files(folder), f"list {tree.root / folder}"):
        if is_picture(path):
            paths.append(path)
        else:
            others[_suffix(path)] += 1
            tree.left_out.add(reason_not_a_picture(path), path)
    return paths, others


def is_picture(path: str) -> bool:
    """Return whether a file has the suffix of a picture that can be read."""
    return _suffix(path) in SUFFIXES


def _suffix(path: str) -> str:
    return path[len(_stem(path)) :].lower()


def _stem(path: str) -> str:
    """Return a path without its suffix."""
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and "/" not in suffix and not stem.endswith("/") else path


def reason_not_a_picture(path: str) -> str:
    """Return why a file is no sample: its suffix, as a noun phrase in the plural."""
    return _reason(_suffix(path))


def _reason(suffix: str) -> str:
    if suffix in ("", DEAD_LINKS):
        return suffix or "files without a suffix"
    usual = re.fullmatch(r"\.[a-z0-9]{1,10}", suffix) and not suffix[1:].isdigit()
    return f"files that end in {suffix}" if usual else "files with other suffixes"


def masks_among(paths: Collection[str]) -> list[str]:
    """Return the pictures that are named as another one and "mask": a_mask.png next to a.png."""
    stems = {_stem(path) for path in paths}
    matches = ((path, MASK.fullmatch(_stem(path))) for path in paths)
    return [path for path, match in matches if match and match[1] in stems]


def _outer(path: str) -> str:
    """Return the stem that a picture would have in the folder above."""
    folder, _, name = path.rpartition("/")
    return f"{folder.rpartition('/')[0]}/{_stem(name)}"


def _describe_no_folder(tree: Folder, below: str, files: list[str]) -> str:
    folder = tree.root / below
    pictures = sum(map(is_picture, files))
    archives = list(filter(is_archive, files))
    text = f"{folder} contains no folder: expected one sub-folder per class"
    if pictures:
        return (
            f"{text}, found {quantity(pictures, 'picture')} directly in it; if this is the folder "
            "of one class, name the folder above it; if a table lists the labels, use the source "
            "metadata_csv"
        )
    return f"{text}; unpack {quoted(archives)} first" if archives else text


def _describe_unread(folder: Path, unread: Mapping[str, Counter[str]]) -> str:
    texts = []
    for name, others in list(unread.items())[:5]:
        counts = ", ".join(f"{_reason(suffix)}: {n}" for suffix, n in (+others).items())
        texts.append(f"'{name}' ({counts or 'no files'})")
    more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
    return (
        f"{folder} contains {quantity(len(unread), 'class folder')} without an image that can be "
        f"read ({', '.join(sorted(SUFFIXES))}): {', '.join(texts)}{more}; convert the files, add "
        "images, or remove the folders"
    )
