"""Adapters: a few new or chosen weights that change what a frozen network computes.

LoRA and SSF replace a weight by a function of it and of the new weights. The result can be stored
instead, so they merge into the network exactly. The output of an AdaptFormer is added to that of
its block, so it stays a part of the network.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention
from torch.nn.utils import parametrize

from tailproof.config.model import Tune
from tailproof.models.network_parts import (
    attention_blocks,
    backbone_parameters,
    is_within,
    last_blocks,
)
from tailproof.runtime.errors import TailproofError

PROJECTION = re.compile(r"(qkv|q|k|v|qk|kv)(_proj)?(\.linear)?")
"""Names that timm gives to the layers that compute queries, keys and values."""

SPREAD = 0.02  # of the first scales and shifts of SSF


class AdaptFormer(nn.Module):
    """A bottleneck next to the perceptron of a transformer block.

    With x the input of the perceptron's half of the block, the block returns in addition
    scale · up(relu(down(norm(x)))): Chen et al. 2022, with the norm and the learnt scale of Shi et
    al. 2024 (LIFT). `up` is zero at first, so that training starts from the network as it is.

    Args:
        width: number of channels of a token.
        dim: number of channels of the bottleneck.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down, self.up = nn.Linear(width, dim), nn.Linear(dim, width)
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)
        self._tokens: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to the tokens, [..., width]."""
        return self.up(F.relu(self.down(self.norm(tokens)))) * self.scale

    def attach(self, block: nn.Module) -> None:
        """Make the adapter a part of a block, by hooks: the names of its weights stay."""
        block.adaptformer = self
        block.register_forward_pre_hook(self._begin)
        # The first of them to run sees x, whether the norm is before or after the perceptron.
        for name in ("norm2", "mlp"):
            if isinstance(getattr(block, name, None), nn.Module):
                getattr(block, name).register_forward_pre_hook(self._see)
        block.register_forward_hook(self._add)

    def _begin(self, _block: nn.Module, _arguments: Any) -> None:
        self._tokens = None

    def _see(self, _module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if self._tokens is None:
            self._tokens = arguments[0]

    def _add(self, _block: nn.Module, _arguments: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # the tokens, and their height and width
            return (self._add(_block, _arguments, output[0]), *output[1:])
        tokens, self._tokens = self._tokens, None
        if tokens is None or tokens.numel() != output.numel():
            raise TailproofError(
                "recipe.tune.adapter is adaptformer, but the perceptron of a block returns "
                "tokens or channels that differ from its input: choose lora"
            )
        return output + self(tokens).reshape(output.shape)


class LowRank(nn.Module):
    """W + B A / dim, for the weight W of a dense layer (LoRA, Hu et al. 2022; the scale of LIFT).

    Args:
        weight: the weight [outputs, inputs], or [outputs, inputs, height, width] of a convolution.
        dim: the rank of B A.
    """

    def __init__(self, weight: Tensor, dim: int) -> None:
        super().__init__()
        self.scale = 1.0 / dim
        self.a = nn.Parameter(torch.empty(dim, weight[0].numel()))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], dim))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        with torch.autocast(weight.device.type, enabled=False):  # as exact as when merged
            return weight + self.scale * (self.b @ self.a).view(weight.shape)


class Scale(nn.Module):
    """γ W, for a weight with one row per output (SSF, Lian et al. 2022)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + SPREAD * torch.randn(weight.shape[0]))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer computes with."""
        return weight * self.scale.view(-1, *[1] * (weight.ndim - 1))


class ScaleAndShift(nn.Module):
    """γ b + β, for the bias of the layer whose weight is multiplied by γ."""

    def __init__(self, bias: Tensor, scale: Scale) -> None:
        super().__init__()
        self._weight = (scale,)  # in a tuple, because the scale belongs to the weight
        self.shift = nn.Parameter(SPREAD * torch.randn(bias.shape[0]))

    def forward(self, bias: Tensor) -> Tensor:
        """Return the bias that the layer computes with."""
        return bias * self._weight[0].scale + self.shift


def add_adapters(
    network: nn.Module, name: str, tune: Tune, frozen: set[str], outputs: int
) -> dict[str, Any] | None:
    """Add adapters to the frozen parts of a network, or train some of its weights.

    Args:
        network: a network of timm's registry.
        name: its name.
        tune: which adapter, and where.
        frozen: names of its frozen parameters.
        outputs: number of outputs, which the default size of an adapter depends on.

    Returns:
        What `attach_adaptformers` needs to add the same adapters; None if they can be merged.

    Raises:
        TailproofError: the network has no place for this adapter.
    """
    blocks = last_blocks(network, name, tune.blocks)
    if tune.adapter in ("adaptformer", "bitfit", "ssf") and not blocks.attention:
        raise TailproofError(
            f"recipe.tune.adapter is {tune.adapter}, which needs transformer blocks, but '{name}' "
            "has none: choose lora or norm"
        )
    within = blocks.parameters & frozen
    dim = bottleneck(tune, outputs, blocks.count)
    added = None
    match tune.adapter:
        case "adaptformer":
            added = _add_adaptformers(network, name, dim, blocks.attention, within)
            count = len(added["blocks"])
        case "lora":
            count = _add_lora(network, dim, blocks.attention, within)
        case "ssf":
            count = _add_ssf(network, within)
        case "bitfit":
            count = _train(network, {p for p in within if p.endswith("bias")})
        case "norm":
            count = _train(network, within & _norm_parameters(network))
    if not count:
        raise TailproofError(
            f"recipe.tune.adapter is {tune.adapter}, but the frozen blocks of '{name}' have no "
            "layer for it: choose other blocks or another adapter"
        )
    return added


def bottleneck(tune: Tune, outputs: int, blocks: int) -> int:
    """Return the size of the adapters; ``auto`` is that of LIFT (Shi et al. 2024).

    It is the largest power of 2 with which all adapters together have no more weights than a head
    of so many outputs; LoRA has twice as many per block.
    """
    if tune.dim != "auto":
        return tune.dim
    parts = 4 if tune.adapter == "lora" else 2
    return 2 ** max(0, int(math.log2(outputs / (parts * blocks))))


def attach_adaptformers(network: nn.Module, dim: int, blocks: list[int]) -> None:
    """Add an AdaptFormer to some transformer blocks.

    Args:
        network: a network of timm's registry.
        dim: size of the bottleneck.
        blocks: numbers of the blocks, from 0.

    Raises:
        ValueError: the network has no such blocks, or a block has no perceptron of dense layers.
    """
    names = attention_blocks(network)
    for number in blocks:
        if number not in range(len(names)) or blocks.count(number) > 1:
            raise ValueError(f"the network has no block {number}, or it is named twice")
        block = network.get_submodule(names[number])
        perceptron = block.get_submodule("mlp").modules()
        inputs = [part.in_features for part in perceptron if isinstance(part, nn.Linear)]
        if not inputs:
            raise ValueError(f"the perceptron of {names[number]} has no dense layer")
        AdaptFormer(inputs[0], dim).attach(block)


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network with LoRA and SSF merged, which computes exactly the same."""
    state = network.state_dict()
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module):
            within = f"{name}.parametrizations."
            state = {key: own for key, own in state.items() if not key.startswith(within)}
            state |= {f"{name}.{own}": getattr(module, own) for own in module.parametrizations}
    return state


def _add_adaptformers(
    network: nn.Module, name: str, dim: int, blocks: list[str], within: set[str]
) -> dict[str, Any]:
    numbers = {block: number for number, block in enumerate(attention_blocks(network))}
    parameters = backbone_parameters(network)
    frozen = [
        numbers[block]
        for block in blocks
        if within.issuperset(own for own in parameters if is_within(own, (block,)))
    ]
    try:
        attach_adaptformers(network, dim, frozen)
    except ValueError as error:
        raise TailproofError(
            f"recipe.tune.adapter is adaptformer, which does not fit '{name}' ({error}): choose "
            "lora"
        ) from error
    return {"dim": dim, "blocks": frozen}


def _add_lora(network: nn.Module, dim: int, blocks: list[str], within: set[str]) -> int:
    """Add it to the projections of attention, or without attention to all dense layers."""
    projections = tuple(f"{block}.attn" for block in blocks)
    layers = [
        module
        for name, module in network.named_modules()
        if f"{name}.weight" in within
        and isinstance(module, nn.Linear | nn.Conv2d)
        and getattr(module, "groups", 1) == 1
        and (not blocks or _is_projection(name, projections))
    ]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, dim))
    return len(layers)


def _is_projection(name: str, attentions: tuple[str, ...]) -> bool:
    return any(
        PROJECTION.fullmatch(name.removeprefix(f"{attention}."))
        for attention in attentions
        if name.startswith(f"{attention}.")
    )


def _add_ssf(network: nn.Module, within: set[str]) -> int:
    """Add it to all dense layers and norms; a layer without a bias has no shift."""
    norms = _norm_parameters(network)
    layers = [
        module
        for name, module in network.named_modules()
        if f"{name}.weight" in within
        and (isinstance(module, nn.Linear | nn.Conv2d) or f"{name}.weight" in norms)
    ]
    for layer in layers:
        scale = Scale(layer.weight)
        parametrize.register_parametrization(layer, "weight", scale)
        if getattr(layer, "bias", None) is not None:
            shift = ScaleAndShift(layer.bias, scale)
            parametrize.register_parametrization(layer, "bias", shift)
    return len(layers)


def _train(network: nn.Module, names: set[str]) -> int:
    for name in names:
        network.get_parameter(name).requires_grad_(True)
    return len(names)


def _norm_parameters(network: nn.Module) -> set[str]:
    """Return the names of the weights and biases of all kinds of norms."""
    return {
        f"{name}.{own}"
        for name, module in network.named_modules()
        if "norm" in type(module).__name__.lower()
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim <= 1
    }
