"""What experts keep of the features of train: unknown.safetensors, or a part of a bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from tailproof.digests import sha256_bytes
from tailproof.files import atomic
from tailproof.guarantees.unknown_scores import KnownFeatures
from tailproof.predict.bundle_file import KNOWN
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes

FILE = "unknown.safetensors"
LARGEST = 2**30  # bytes
AGAIN = "copy the whole folder again"


def write_known_features(known: KnownFeatures, path: str | Path) -> None:
    """Write the file, whole or not at all."""
    content = save({field.name: getattr(known, field.name) for field in fields(known)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read_known_features(path: str | Path, digest: str) -> KnownFeatures:
    """Read the file, which may be a stranger's.

    Args:
        path: the file.
        digest: its SHA-256, as guarantees.json says.

    Raises:
        TailproofError: it is missing, damaged, or another file.
    """
    content = read_bytes(path, limit=LARGEST)
    if sha256_bytes(content) != digest:
        raise TailproofError(f"{path} does not belong to guarantees.json next to it: {AGAIN}")
    try:
        tensors = load(content)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise _other_format(path, error) from None
    return _checked(path, tensors)


def read_bundled_features(path: Path, experts: Sequence[str]) -> dict[str, KnownFeatures]:
    """Read what some experts of a bundle keep of the features of train, by their names.

    Args:
        path: its model.safetensors, which may be a stranger's.
        experts: the names of the experts.

    Raises:
        TailproofError: the file is damaged, or lacks a tensor.
    """
    known = {}
    try:
        with safe_open(path, "np") as file:
            stored = set(file.keys())
            for name in experts:
                places = {
                    field.name: f"{KNOWN}/{name}/{field.name}" for field in fields(KnownFeatures)
                }
                if missing := sorted(set(places.values()) - stored):
                    raise TailproofError(
                        f"{path} has no {missing[0]}, which the score of unknown images needs: "
                        "copy the whole folder again"
                    )
                tensors = {field: file.get_tensor(place) for field, place in places.items()}
                known[name] = _checked(path, tensors)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise _other_format(path, error) from None
    return known


def _other_format(path: str | Path, error: Exception) -> TailproofError:
    reason = " ".join(str(error).split())
    return TailproofError(
        f"{path} is not in the format that Tailproof writes ({reason:.200}): {AGAIN}"
    )


def _checked(path: str | Path, tensors: Mapping[str, np.ndarray]) -> KnownFeatures:
    """Return the tensors of a file as what is kept of features."""
    try:
        known = KnownFeatures(**tensors)
    except TypeError as error:
        raise _other_format(path, error) from None
    width = known.centre.size
    rows = {"whitening": width, "means": len(known.means), "bank": len(known.bank)}
    shapes = {"centre": (width,)} | {name: (count, width) for name, count in rows.items()}
    for name, shape in shapes.items():
        tensor = getattr(known, name)
        if tensor.shape != shape or not len(tensor) or not np.isfinite(tensor).all():
            raise TailproofError(
                f"{path}: {name} has the shape {list(tensor.shape)}, expected rows of {width} "
                f"finite numbers: {AGAIN}"
            )
    return known
