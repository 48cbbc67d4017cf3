"""Puts the weights of several experts into one file; what heads share is stored once."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save
from torch import Tensor

from tailproof.digests import digest_of, sha256_bytes
from tailproof.files import atomic
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.bundle_file import KNOWN, OWN, SHARED, BackboneAndHead, parts_of


class Packed(NamedTuple):
    """What was written.

    Attributes:
        sha256: SHA-256 of the file.
        backbones: the number of the backbone that each expert shares; None for its own.
    """

    sha256: str
    backbones: dict[str, int | None]


def pack_weights(
    weights: Mapping[str, str | Path],
    configs: Mapping[str, ExpertConfig],
    output: Path,
    known: Mapping[str, str | Path] | None = None,
) -> Packed:
    """Write the tensors of all experts to one file.

    Heads on features share a backbone if the tensors of their backbones and what decides the
    features are equal.

    Args:
        weights: model.safetensors of each expert.
        configs: config.json of each expert.
        output: the file to write.
        known: unknown.safetensors of the experts whose features call images unknown.
    """
    digests: dict[str, str] = {}
    for name, config in configs.items():
        if parts := _head_on_features(config):
            digests[name] = _digest(parts, load_file(weights[name]))
    shared = [digest for digest in digests.values() if list(digests.values()).count(digest) > 1]
    numbers = {digest: place for place, digest in enumerate(dict.fromkeys(shared), start=1)}
    backbones = {name: numbers.get(digests.get(name, "")) for name in configs}
    tensors: dict[str, Tensor] = {}
    for name, number in backbones.items():
        own = load_file(weights[name])
        if number is not None:
            parts = parts_of(configs[name])
            backbone, own = _split(parts, own)
            tensors |= {f"{SHARED}/{number}/{key}": value for key, value in backbone.items()}
        tensors |= {f"{OWN}/{name}/{key}": value for key, value in own.items()}
    for name, path in (known or {}).items():
        kept = load_file(path)
        tensors |= {f"{KNOWN}/{name}/{key}": value for key, value in kept.items()}
    content = save({key: tensors[key] for key in sorted(tensors)})
    with atomic(output) as temporary:
        temporary.write_bytes(content)
    return Packed(sha256_bytes(content), backbones)


def _head_on_features(config: ExpertConfig) -> BackboneAndHead | None:
    """Return the parts of a network that consists of a backbone and a head; None for others."""
    recipe = config.tailproof.recipe or {}
    return parts_of(config) if recipe.get("features") else None


def _split(
    parts: BackboneAndHead, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of the backbone without their prefix, and those of the head."""
    head = {key: value for key, value in tensors.items() if key.startswith(parts.head_prefix)}
    backbone = {
        key.removeprefix(parts.backbone_prefix): value
        for key, value in tensors.items()
        if key not in head
    }
    return backbone, head


def _digest(parts: BackboneAndHead, tensors: Mapping[str, Tensor]) -> str:
    backbone, _ = _split(parts, tensors)
    content = save({key: backbone[key] for key in sorted(backbone)})
    return digest_of({"backbone": parts.backbone, "tensors": sha256_bytes(content)})
