"""The file unknown.safetensors in an expert's folder: what it keeps of the features of train."""

from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tailproof.digests import sha256_bytes
from tailproof.files import atomic
from tailproof.guarantees.unknown_scores import KnownFeatures
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes

FILE = "unknown.safetensors"
LARGEST = 2**30  # bytes
AGAIN = "copy the whole folder of the expert again"


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
        known = KnownFeatures(**load(content))
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TailproofError(
            f"{path} is not in the format that Tailproof writes ({reason:.200}): {AGAIN}"
        ) from None
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
