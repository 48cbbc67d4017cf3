"""What every network of timm has, which share no base class of their own, and what timm knows."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn


class TimmNetwork(nn.Module):
    """The attributes and methods that all networks of timm have; only for type checkers."""

    pretrained_cfg: dict[str, Any]
    num_features: int
    forward_features: Callable[[Tensor], Tensor]
    forward_head: Callable[..., Tensor]
    get_classifier: Callable[[], nn.Module]
    reset_classifier: Callable[[int], None]
    group_matcher: Callable[..., Any]
    set_grad_checkpointing: Callable[[bool], None]


Net = TypeVar("Net", bound=nn.Module)


def as_timm(network: nn.Module) -> TimmNetwork:
    """Return the network itself, typed as one of timm."""
    return cast(TimmNetwork, network)


def published_cfg(name: str) -> PretrainedCfg:
    """Return what timm knows of a network's weights and inputs: its defaults if it knows nothing.

    Raises:
        RuntimeError: the name has a tag that timm does not know.
    """
    return timm.get_pretrained_cfg(name) or PretrainedCfg()


def place(network: Net, device: torch.device, layout: torch.memory_format) -> Net:
    """Move a network to a device, with its weights in a memory format."""
    # torch documents memory_format, but its overloads of Module.to do not name it.
    return network.to(device, memory_format=layout)  # type: ignore[call-overload]
