"""Loads the networks of an ensemble from one file; a backbone that heads share is loaded once."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from safetensors import safe_open
from torch import Tensor, nn

from tailproof.guarantees.unknown_scores import KnownFeatures
from tailproof.models.expert_weights import check_finite, load_tensors
from tailproof.models.weights_header import TensorType, read_header
from tailproof.predict.bundle_file import (
    FILE,
    KNOWN,
    OWN,
    SHARED,
    BundledExpert,
    BundleFile,
    parts_of,
)
from tailproof.predict.network import Network
from tailproof.predict.shared_backbone import SharedBackbone, head_of
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

Experts = dict[str, BundledExpert]


def load_networks(weights: Path, bundle: BundleFile, full_scale: float) -> tuple[Network, ...]:
    """Return the networks of all experts, in evaluation mode.

    Args:
        weights: model.safetensors, which may be a stranger's.
        bundle: bundle.json of the same folder.
        full_scale: the value of a white pixel.

    Raises:
        TailproofError: the file is damaged, or holds other tensors than the networks have, or
            numbers that are not finite.
    """
    tensors = _Tensors(weights, bundle)
    networks = []
    for experts in _sharing(bundle):
        first = next(iter(experts.values()))
        if first.backbone is None:
            ((name, _),) = experts.items()
            model = tensors.network(first, {f"{OWN}/{name}/": ""})
        else:
            model = _with_heads(tensors, experts)
        sizes = {name: expert.config.num_classes for name, expert in experts.items()}
        networks.append(Network.of(sizes, model, first.config, full_scale))
    tensors.check_all_used()
    return tuple(networks)


def _sharing(bundle: BundleFile) -> Iterator[Experts]:
    """Yield the experts that are computed together."""
    shared: dict[int, Experts] = {}
    for name, expert in bundle.experts.items():
        if expert.backbone is None:
            yield {name: expert}
        else:
            shared.setdefault(expert.backbone, {})[name] = expert
    yield from shared.values()


def _with_heads(tensors: "_Tensors", experts: Experts) -> nn.Module:
    """Return a backbone with the heads of all experts that share it."""
    (name, first), *_ = experts.items()
    parts = parts_of(first.config)
    shared = {f"{SHARED}/{first.backbone}/": parts.backbone_prefix, f"{OWN}/{name}/": ""}
    network = tensors.network(first, shared)
    heads = []
    for name, expert in experts.items():
        own = tensors.renamed({f"{OWN}/{name}/": ""})
        try:
            heads.append(head_of(parts_of(expert.config), expert.config.num_classes, own))
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise TailproofError(
                f"{tensors.path} does not fit the head of {name} in {FILE} "
                f"({printable(error):.200}): copy the folder again"
            ) from None
    return SharedBackbone(network, heads).eval()


class _Tensors:
    """The tensors of a file, of which each belongs to a network.

    What the experts keep of the features of train is left out.
    """

    def __init__(self, path: Path, bundle: BundleFile) -> None:
        self.path = path
        kept = {
            f"{KNOWN}/{name}/{field.name}"
            for name in bundle.experts
            for field in fields(KnownFeatures)
        }
        header = read_header(path)
        self._header = {name: header[name] for name in header if name not in kept}
        self._tensors: dict[str, Tensor] = {}
        self._used: set[str] = set()

    def network(self, expert: BundledExpert, prefixes: dict[str, str]) -> nn.Module:
        """Return the network of an expert, of the tensors with some prefixes."""
        header: dict[str, TensorType] = {
            name: self._header[stored] for stored, name in self._names(prefixes)
        }
        return load_tensors(self.path, FILE, expert.config, header, lambda: self.renamed(prefixes))

    def renamed(self, prefixes: dict[str, str]) -> dict[str, Tensor]:
        """Return the tensors with some prefixes, each prefix replaced."""
        if not self._tensors:
            with safe_open(self.path, "pt") as file:
                self._tensors = {name: file.get_tensor(name) for name in self._header}
            check_finite(self.path, self._tensors)
        return {name: self._tensors[stored] for stored, name in self._names(prefixes)}

    def check_all_used(self) -> None:
        """Check that no tensor is left.

        Raises:
            TailproofError: a tensor belongs to no network.
        """
        if others := self._header.keys() - self._used:
            raise TailproofError(
                f"{self.path} has the tensor {min(others)!a:.80}, which no expert of {FILE} has: "
                "copy the folder again"
            )

    def _names(self, prefixes: dict[str, str]) -> list[tuple[str, str]]:
        pairs = [
            (stored, new + stored.removeprefix(old))
            for old, new in prefixes.items()
            for stored in self._header
            if stored.startswith(old)
        ]
        self._used.update(stored for stored, _ in pairs)
        return pairs
