"""oneDNN's memory layouts, the fastest ones on CPUs with bf16 instructions.

A tensor from `Tensor.to_mkldnn` has the layout that the next convolution needs, so it is never
copied; batch norm, ReLU and sums also run in oneDNN. Few operations support these layouts, so a
model enables them itself.
"""

import torch
from torch import Tensor


def has_bf16() -> bool:
    """Return whether this CPU has bf16 instructions (AVX512-BF16 or AMX on x86)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def suits(x: Tensor) -> bool:
    """Return whether oneDNN's layouts are the fastest for computations on `x`."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and has_bf16()
        and not torch.compiler.is_compiling()
    )
