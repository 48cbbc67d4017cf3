"""Folds batch norms into the convolutions before them: the same outputs with less to compute."""

import copy
import logging
from collections.abc import Callable

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tailproof.text import quantity

log = logging.getLogger(__name__)

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
"""Convolutions whose weights are used as they are; others compute them in each pass."""

NORMS = (nn.BatchNorm2d, BatchNormAct2d)

TOLERANCE = 1e-3
"""Largest difference of the outputs, relative to the largest output."""


@torch.no_grad()
def fold_batch_norms(network: nn.Module, compute: Callable[[nn.Module], Tensor]) -> nn.Module:
    """Return a network in evaluation mode without the batch norms that follow a convolution.

    Which ones do is seen in a forward pass. If the outputs then differ by more than rounding,
    because another layer also reads a convolution, the network is returned as it is.

    Args:
        network: the network, in evaluation mode; it is not changed.
        compute: returns the outputs of a network for fixed inputs.
    """
    folded = copy.deepcopy(network)
    pairs = _pairs(folded, lambda: compute(folded))
    names = {module: name for name, module in folded.named_modules()}
    for convolution, norm in pairs:
        plain = nn.BatchNorm2d(norm.num_features, norm.eps, affine=norm.affine).eval()
        plain.load_state_dict(norm.state_dict())
        _replace(folded, names[convolution], fuse_conv_bn_eval(convolution, plain))
        rest = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
        _replace(folded, names[norm], rest)
    before = compute(network)
    try:
        after = compute(folded)
    except (AttributeError, TypeError):  # the network uses more of a batch norm than its output
        return network
    if not (after - before).abs().max() <= TOLERANCE * before.abs().max():
        return network
    log.info("folded %s into convolutions", quantity(len(pairs), "batch norm"))
    return folded


def _pairs(network: nn.Module, run: Callable[[], Tensor]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution with the batch norm that is computed next, in one forward pass."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note_convolution(module: nn.Conv2d, _inputs: tuple, output: Tensor) -> None:
        made[id(output)] = module, output  # the tensor is kept, so that its id stays its own

    def note_norm(module: nn.BatchNorm2d, inputs: tuple, _output: Tensor) -> None:
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    def count(module: nn.Module, *_: object) -> None:
        calls[module] = calls.get(module, 0) + 1

    hooks = []
    for module in network.modules():
        if type(module) in CONVOLUTIONS:
            hooks.append(module.register_forward_hook(note_convolution))
        elif type(module) in NORMS and module.track_running_stats:
            hooks.append(module.register_forward_hook(note_norm))
        hooks.append(module.register_forward_hook(count))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(calls[module] == 1 for module in pair)]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
