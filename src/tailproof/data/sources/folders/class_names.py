"""Finds names of classes that look the same, or nearly so: one class in two spellings."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


def visible_name(name: str) -> str:
    """Return a name without what nobody sees: Unicode form, blanks at its ends, invisible signs."""
    text = unicodedata.normalize("NFC", name)
    visible = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return " ".join(visible.split())


def plain_name(name: str) -> str:
    """Return a name as `visible_name` does, and without case; a single letter keeps its case."""
    visible = visible_name(name)
    return visible if len(visible) == 1 else visible.lower()


def twin_of(name: str, names: Iterable[str]) -> str | None:
    """Return the name that looks like another one, if there is one."""
    return next((other for other in names if plain_name(other) == plain_name(name)), None)


def same_names(written: Iterable[str], names: Collection[str]) -> dict[str, str | None]:
    """Return the name that each text is, or is the only other spelling of; None if there is none.

    Folders of macOS have accents in another Unicode form than text that is typed. pandas writes the
    whole numbers of a column as 7.0 if a cell is empty, and else as 7.
    """
    found: dict[str, str | None] = {text: text if text in names else None for text in written}
    if None in found.values():
        spelled: dict[str, list[str]] = {}
        for name in names:
            spelled.setdefault(_spelling(name), []).append(name)
        for text, exact in found.items():
            same = spelled.get(_spelling(text), [])
            found[text] = same[0] if exact is None and len(same) == 1 else exact
    return found


def _spelling(name: str) -> str:
    visible = visible_name(name)
    whole = visible.removesuffix(".0")
    return whole if whole.isdecimal() else visible


def check_names(folder: str, pictures: Mapping[str, int]) -> None:
    """Check that no two names differ only in case, blanks, Unicode form or invisible signs.

    Args:
        folder: the folder of the class folders.
        pictures: the number of pictures of each class.

    Raises:
        TailproofError: two names look alike. Single letters may differ in case.
    """
    groups = _groups(pictures, plain_name)
    if groups:
        raise TailproofError(
            f"{folder} contains class folders whose names differ only in case, spaces, Unicode "
            f"form or invisible characters: {_list(groups, pictures)}; merge them, or rename them "
            "if they are separate classes"
        )


def warn_of_similar_names(pictures: Mapping[str, int]) -> list[str]:
    """Return a sentence about names that differ only in separators or case, or in "copy"."""
    originals = {_without_separators(name) for name in pictures}
    groups = [group for group in _groups(pictures, _stem) if _stem(group[0]) in originals]
    if not groups:
        return []
    return [
        "class names differ only in spaces, hyphens, underscores, case, or a word such as copy: "
        f"{_list(groups, pictures)}; merge the folders if they are one class"
    ]


_COPY = re.compile(r"(copy of )?(.+?)([ _-]+(copy|kopie|copie|backup|old|new))?( \(\d+\))?")


def _stem(name: str) -> str:
    """Return a name without case, separators, and what file managers add to a copy."""
    visible = visible_name(name).lower() or " "
    copy = _COPY.fullmatch(visible)
    return _without_separators(copy[2] if copy else visible)


def _without_separators(name: str) -> str:
    return re.sub(r"[ _-]", "", visible_name(name).lower())


def _groups(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    by_key = defaultdict(list)
    for name in names:
        by_key[key(name)].append(name)
    return [group for group in by_key.values() if len(group) > 1]


def _list(groups: list[list[str]], pictures: Mapping[str, int]) -> str:
    texts = []
    for group in groups[:5]:
        # Names that look the same are written with escapes.
        shown = ascii if len({visible_name(name) for name in group}) < len(group) else repr
        texts.append(
            " and ".join(f"{shown(name)} ({quantity(pictures[name], 'picture')})" for name in group)
        )
    more = f"; and {len(groups) - 5} more" if len(groups) > 5 else ""
    return "; ".join(texts) + more
