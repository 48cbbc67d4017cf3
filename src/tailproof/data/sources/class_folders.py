"""Lists the pictures of class folders, and what looks like a mistake among them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tailproof.data.sources.filesystem import DEAD_LINKS, Folder
from tailproof.data.sources.folder_layout import list_names
from tailproof.runtime.errors import TailproofError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

UNREAD_PICTURES = re.compile(
    r"\.(gif|jfif|jpe|heic|heif|avif|jp2|jxl|svg|psd|tga|dng|cr2|cr3|nef|arw|npy)"
)

# Files that are no pictures: a folder that contains these alone is no class.
NO_PICTURES = re.compile(
    r"\.(txt|csv|tsv|json|xml|md|rst|ya?ml|pdf|html?|log|py|ipynb|docx?|xlsx?|db|ini|sh|pkl|pth)"
)

MASK = re.compile(
    r"(.+?)[ _-]*(mask|seg|segmentation|gt|ground_?truth|label|annotation)s?[ _]?\d*", re.IGNORECASE
)


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
    if not folders:
        raise TailproofError(_describe_no_folder(tree, below, files))
    classes, unread = {}, {}
    for name in folders:
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


def warn_of_files(classes: Mapping[str, list[str]], below: str) -> Iterator[str]:
    """Yield sentences about pictures that are probably no samples, or not independent ones.

    Args:
        classes: the paths of the pictures by class, relative to the root.
        below: the folder of the class folders, relative to the root.
    """
    masks: list[str] = []
    copies: list[str] = []
    nested, folders = 0, 0
    depth = below.count("/") + 2 if below else 1
    for paths in classes.values():
        stems = {_stem(path) for path in paths}
        masks += [path for path in paths if _is_mask(_stem(path), stems)]
        deep = [path for path in paths if path.count("/") > depth]
        copies += [path for path in deep if _outer(path) in stems]
        parents = {path.rpartition("/")[0] for path in deep}
        nested, folders = nested + len(deep), folders + (len(parents) if len(parents) > 1 else 0)
    if masks:
        yield (
            f"{len(masks)} pictures are named like another one with a word such as mask "
            f"({list_names(masks, 2)}): move them out of the class folders if they are no samples"
        )
    if copies:
        yield (
            f"{len(copies)} pictures have the name of a picture in the folder above "
            f"({list_names(copies, 2)}): move them out of the class folders if they are copies of "
            "it, such as thumbnails, because copies must not be in several splits"
        )
    if folders and 2 * nested > sum(map(len, classes.values())) and not copies:
        yield (
            f"{nested} pictures are in {folders} folders inside the class folders, which are "
            "neither classes nor groups: if pictures of one folder belong together (one patient, "
            "one place), list them in a table and use metadata_csv with 'group'"
        )


def _list_pictures(tree: Folder, folder: str) -> tuple[list[str], Counter[str]]:
    """Return the pictures of a class folder, and the number of other files by suffix."""
    paths, others = [], Counter()
    for path in tree.files(folder):
        if is_picture(path):
            paths.append(path)
        else:
            others[_suffix(path)] += 1
            tree.left_out.add(_reason(_suffix(path)), path)
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


def _reason(suffix: str) -> str:
    if suffix in ("", DEAD_LINKS):
        return suffix or "files without a suffix"
    usual = re.fullmatch(r"\.[a-z0-9]{1,10}", suffix) and not suffix[1:].isdigit()
    return f"files that end in {suffix}" if usual else "files with other suffixes"


def _is_mask(stem: str, stems: Iterable[str]) -> bool:
    match = MASK.fullmatch(stem)
    return bool(match) and match[1] in stems


def _outer(path: str) -> str:
    """Return the stem that a picture would have in the folder above."""
    folder, _, name = path.rpartition("/")
    return f"{folder.rpartition('/')[0]}/{_stem(name)}"


def _describe_no_folder(tree: Folder, below: str, files: list[str]) -> str:
    folder = tree.root / below
    pictures = sum(map(is_picture, files))
    archives = [name for name in files if _suffix(name) in (".zip", ".tar", ".gz", ".tgz", ".7z")]
    text = f"{folder} contains no folder: expected one sub-folder per class"
    if pictures:
        return (
            f"{text}, found {pictures} pictures directly in it; if this is the folder of one "
            "class, name the folder above it; if a table has the labels, use metadata_csv"
        )
    return f"{text}; unpack {list_names(archives)} first" if archives else text


def _describe_unread(folder: Path, unread: Mapping[str, Counter[str]]) -> str:
    texts = []
    for name, others in list(unread.items())[:5]:
        counts = ", ".join(f"{n} {_reason(suffix)}" for suffix, n in (+others).items())
        texts.append(f"'{name}' ({counts or 'no files'})")
    more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
    return (
        f"{folder}: {len(unread)} class folder(s) contain no image ("
        f"{', '.join(sorted(SUFFIXES))}): {', '.join(texts)}{more}; convert the files, add images, "
        "or remove the folders"
    )
