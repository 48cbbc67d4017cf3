"""Reads the official splits of a camera-trap collection by place, as LILA publishes them."""

from pathlib import Path

from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_json

POOLS = {"train": TRAIN, "val": VAL, "test": HELD_OUT}


def read_place_splits(file: Path) -> tuple[dict[str, str], list[str]]:
    """Return the pool of each place, and sentences about the splits.

    The file is ``{"splits": {"train": [places], "val": [places]}}``. If it has no test set, its val
    is the held-out pool.

    Raises:
        TailproofError: the file is not such a file, or a place is in two splits.
    """
    content = read_json(file)
    splits = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(each, list) for each in splits.values()):
        raise TailproofError(
            f'{file} has no splits, expected {{"splits": {{"train": [places], "val": [places]}}}}: '
            "correct data.source.splits"
        )
    kinds = {name: kind for name in splits if (kind := split_kind(name)) is not None}
    if (
        len(kinds) < len(splits)
        or "train" not in kinds.values()
        or len(set(kinds.values())) < max(len(kinds), 2)
    ):
        raise TailproofError(
            f"{file} has the splits {listed(list(map(repr, splits)), 8) or 'none'}, expected train "
            "and val, and possibly test, once each: correct the file, or leave out "
            "data.source.splits"
        )
    warnings = []
    if "test" not in kinds.values():
        kinds = {name: "test" if kind == "val" else kind for name, kind in kinds.items()}
        warnings.append(f"{file} has no split test: its split val is held out for testing")
    pools: dict[str, str] = {}
    twice = []
    for name, places in splits.items():
        for place in map(str, places):
            pool = POOLS[kinds[name]]
            if pools.setdefault(place, pool) != pool:
                twice.append(f"'{place}'")
    if twice:
        raise TailproofError(
            f"{file} has {quantity(len(twice), 'place')} in two splits: {listed(twice)}; remove "
            "each from one of them"
        )
    return pools, warnings
