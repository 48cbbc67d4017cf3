"""oneDNN's own memory layouts, in which processors with instructions for bf16 are fastest.

Tensors of `Tensor.to_mkldnn` lie as each convolution asks for, so that none is copied, and batch
norm, ReLU and sums run in oneDNN too. Few operations know them: a model says itself where it can.
"""

import torch
from torch import Tensor


def has_bf16() -> bool:
    """Tell whether this processor has instructions for bf16 (AVX512-BF16 or AMX on x86)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def suits(x: Tensor) -> bool:
    """Tell whether what is computed of `x` is best computed in oneDNN's layouts."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and has_bf16()
        and not torch.compiler.is_compiling()
    )
