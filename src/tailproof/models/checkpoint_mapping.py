"""Maps the tensors of a checkpoint to those of a network of timm: by name, or by their order."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from tailproof.models.timm_network import published_cfg
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

SHOWN = 3  # names in a message
COUNTER = "num_batches_tracked"  # of batch norm; many checkpoints do not have it


class Mapped(NamedTuple):
    """The tensors of a network.

    Attributes:
        tensors: by the names that timm gives them.
        by: how they were found: ``name``, ``timm`` (timm's conversion for this network) or
            ``order``.
        dropped: names in the checkpoint that the network has no tensor for.
    """

    tensors: dict[str, Tensor]
    by: str
    dropped: list[str]


def map_to_network(name: str, checkpoint: dict[str, Tensor], *, ordered: bool) -> Mapped:
    """Return the tensors of a checkpoint under the names of a network, its head included.

    Names may have a prefix, such as ``module.``. If no name fits, timm's own conversion is tried,
    and then the order: the tensors must have the shapes of the network's, one by one.

    Args:
        name: the name of a model of timm.
        checkpoint: tensors by name.
        ordered: whether the tensors are in the order in which the network was built. A
            .safetensors file sorts them.

    Raises:
        TailproofError: the tensors do not fit the network.
    """
    floats = {key: tensor for key, tensor in checkpoint.items() if tensor.numel()}
    network = _network(name, floats)
    tensors = _without_prefix(floats, network.state_dict().keys())
    network = _network(name, tensors)
    return (
        _by_name(network, tensors)
        or _by_timm(name, network, tensors)
        or (_by_order(name, floats) if ordered else None)
        or _refuse(name, network, tensors)
    )


def outputs_of(name: str, tensors: dict[str, Tensor]) -> int:
    """Return the number of outputs of the head in the tensors; 0 without a head."""
    heads = published_cfg(name).classifier
    rows = [
        tensors[key].shape[0]
        for head in ([heads] if isinstance(heads, str) else heads or [])
        if (key := f"{head}.weight") in tensors
    ]
    return rows[0] if rows else 0


def channels_of(name: str, tensors: dict[str, Tensor]) -> int:
    """Return the number of channels of the images that the first layer accepts."""
    first = published_cfg(name).first_conv
    weight = tensors.get(f"{first}.weight") if isinstance(first, str) else None
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 3


def _network(name: str, tensors: dict[str, Tensor], outputs: int | None = None) -> nn.Module:
    """Return the network on the meta device, with the outputs and channels of the tensors."""
    outputs = outputs_of(name, tensors) if outputs is None else outputs
    with torch.device("meta"):
        return timm.create_model(name, num_classes=outputs, in_chans=channels_of(name, tensors))


def _without_prefix(tensors: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors below the prefix under which most names of a network are."""
    names = set(names)
    prefixes = {
        ".".join(parts[:depth]) + "." * bool(depth)
        for key in tensors
        for parts in [key.split(".")]
        for depth in range(min(len(parts), 4))
    }
    best = max(sorted(prefixes), key=lambda prefix: sum(prefix + name in tensors for name in names))
    if not any(best + name in tensors for name in names):
        return tensors
    return {key.removeprefix(best): value for key, value in tensors.items() if key.startswith(best)}


def _by_name(network: nn.Module, tensors: dict[str, Tensor]) -> Mapped | None:
    expected = network.state_dict()
    for name, value in expected.items():
        if name not in tensors and name.endswith(COUNTER):
            tensors = tensors | {name: torch.zeros((), dtype=torch.int64)}
        if name not in tensors or tensors[name].shape != value.shape:
            return None
    kept = {name: tensors[name] for name in expected}
    return Mapped(kept, "name", sorted(tensors.keys() - kept.keys()))


def _by_timm(name: str, network: nn.Module, tensors: dict[str, Tensor]) -> Mapped | None:
    outputs, channels = outputs_of(name, tensors), channels_of(name, tensors)
    source: dict[str, Any] = {
        "state_dict": dict(tensors),
        "num_classes": outputs,
        "input_size": (channels, *published_cfg(name).input_size[1:]),
    }
    try:
        converted = timm.create_model(
            name,
            pretrained=True,
            pretrained_cfg_overlay=source,
            num_classes=outputs,
            in_chans=channels,
            pretrained_strict=True,
        )
    except Exception:  # timm's conversions raise errors of any kind on what they do not expect
        return None
    state = converted.state_dict()
    return Mapped({key: state[key] for key in network.state_dict()}, "timm", [])


def _by_order(name: str, tensors: dict[str, Tensor]) -> Mapped | None:
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith(COUNTER)}
    heads = [tensor.shape[0] for tensor in given.values() if tensor.ndim == 2]
    expected = _network(name, {}, outputs=heads[-1] if heads else 0).state_dict()
    names = [key for key in expected if not key.endswith(COUNTER)]
    shapes = [expected[key].shape for key in names]
    if shapes != [tensor.shape for tensor in given.values()]:
        return None
    renamed = dict(zip(names, given.values(), strict=True))
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected if key not in renamed}
    return Mapped({key: (renamed | counters)[key] for key in expected}, "order", [])


def _refuse(name: str, network: nn.Module, tensors: dict[str, Tensor]) -> Mapped:
    expected = network.state_dict()
    missing = [key for key in expected if key not in tensors and not key.endswith(COUNTER)]
    other = [
        f"{key} has {list(tensors[key].shape)}, expected {list(expected[key].shape)}"
        for key in expected
        if key in tensors and tensors[key].shape != expected[key].shape
    ]
    extra = [printable(key) for key in tensors if key not in expected]
    facts = [
        _listed(missing, "tensor of the network is missing", "tensors of the network are missing"),
        _listed(other, "tensor has another shape", "tensors have another shape"),
        _listed(extra, "tensor is not in the network", "tensors are not in the network"),
    ]
    raise TailproofError(
        f"the weights do not fit the network '{name}': {'; '.join(filter(None, facts))}: set "
        "recipe.model.name to the network that they were trained with"
    )


def _listed(names: list[str], one: str, several: str) -> str:
    return f"{quantity(len(names), one, several)} ({listed(names, SHOWN)})" if names else ""
