"""The parts of a network by name: its head, its stages, its blocks."""

from dataclasses import dataclass
from typing import Literal

from timm.models import group_parameters
from torch import nn

from tailproof.models.timm_network import as_timm
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


@dataclass(frozen=True)
class Blocks:
    """The last blocks of a network.

    Attributes:
        count: the number of blocks.
        attention: names of those that attend to tokens, in order; empty for other networks.
        parameters: names of the parameters in these blocks and of all later ones but the head. For
            all blocks, those before the first block too.
    """

    count: int
    attention: list[str]
    parameters: set[str]


def head_modules(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that compute the logits; most networks have one."""
    named = as_timm(network).pretrained_cfg.get("classifier")
    return (named,) if isinstance(named, str) else tuple(named or ())


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    """Return whether a name is that of one of the modules, or of a part of one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def backbone_parameters(network: nn.Module) -> list[str]:
    """Return the names of all parameters but those of the head, in the order of the network."""
    heads = head_modules(network)
    return [name for name, _ in network.named_parameters() if not is_within(name, heads)]


def stages_of(network: nn.Module) -> dict[str, list[str]]:
    """Return the names of the parameters of each stage, without the head.

    A stage is a child of the network, such as ``conv_stem``, or an item of a list of children, such
    as ``blocks.3``.
    """
    nested = {head.split(".")[0] for head in head_modules(network)}
    stages: dict[str, list[str]] = {}
    for name in backbone_parameters(network):
        first, *rest = name.split(".")
        child = getattr(network, first)
        split = isinstance(child, nn.Sequential | nn.ModuleList) or first in nested
        stage = f"{first}.{rest[0]}" if split and len(rest) > 1 else first
        stages.setdefault(stage, []).append(name)
    return stages


def parameters_of_stages(network: nn.Module, names: list[str]) -> set[str]:
    """Return the names of the parameters of some stages.

    Args:
        network: a network of timm's registry.
        names: names of stages, or of a list of stages, such as ``blocks``.

    Raises:
        TailproofError: the network has no such stage, or it is the head.
    """
    stages, heads = stages_of(network), head_modules(network)
    parameters: set[str] = set()
    for name in names:
        if any(is_within(head, (name,)) for head in heads):
            raise TailproofError(
                f"recipe.freeze has '{name}', the head, which is new and always trained: remove it"
            )
        within = [stage for stage in stages if is_within(stage, (name,))]
        if not within:
            raise TailproofError(
                f"recipe.freeze has '{name}', which is not a stage of the network: expected some "
                f"of {', '.join(_abbreviated(list(stages)))}"
            )
        parameters.update(*(stages[stage] for stage in within))
    return parameters


def last_blocks(network: nn.Module, name: str, last: int | Literal["all"]) -> Blocks:
    """Return the last blocks of a network.

    Args:
        network: a network of timm's registry.
        name: its name.
        last: the number of blocks.

    Raises:
        TailproofError: the network has fewer blocks, or does not say where they are.
    """
    parameters, attention = backbone_parameters(network), attention_blocks(network)
    if not attention and not hasattr(network, "group_matcher"):
        raise TailproofError(
            f"recipe.tune: timm does not say which blocks '{name}' has: use recipe.freeze, or "
            "another network"
        )
    starts = _starts(network, parameters, attention)
    if last == "all":
        return Blocks(len(starts), attention, set(parameters))
    if last > len(starts):
        raise TailproofError(
            f"recipe.tune.blocks is {last}, but '{name}' has {quantity(len(starts), 'block')}: "
            f"choose at most {len(starts)}, or all"
        )
    return Blocks(last, attention[-last:], set(parameters[starts[-last] :]))


def attention_blocks(network: nn.Module) -> list[str]:
    """Return the names of the transformer blocks: modules with attention and a perceptron."""
    return [
        name
        for name, module in network.named_modules()
        if all(isinstance(getattr(module, part, None), nn.Module) for part in ("attn", "mlp"))
    ]


def _starts(network: nn.Module, parameters: list[str], attention: list[str]) -> list[int]:
    """Return the position of the first parameter of each block."""
    if attention:
        firsts = [
            next(i for i, name in enumerate(parameters) if is_within(name, (block,)))
            for block in attention
        ]
        return sorted(firsts)
    matcher = as_timm(network).group_matcher(coarse=False)
    layer = group_parameters(network, matcher, reverse=True)
    layers = [layer[name] for name in parameters]
    stem, end = min(layers), max(layer.values())  # the head, and what timm counts as part of it
    return [layers.index(number) for number in sorted(set(layers)) if stem < number < end]


def _abbreviated(stages: list[str]) -> list[str]:
    """Return the names of stages, ``blocks.0 … blocks.11`` for those of one list."""
    lists: dict[str, list[str]] = {}
    for stage in stages:
        lists.setdefault(stage.rpartition(".")[0] or stage, []).append(stage)
    return [
        f"{names[0]} … {names[-1]}" if len(names) > 3 else ", ".join(names)
        for names in lists.values()
    ]
