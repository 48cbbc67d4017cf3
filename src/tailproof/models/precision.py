"""The precision that a device computes in."""

import torch

from tailproof.models import onednn

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def best_precision(device: torch.device, requested: str) -> str:
    """Return the compute precision: `requested`, or for ``auto`` the best one for the device.

    On CPUs, bf16 is faster only with instructions for it.
    """
    if requested != "auto":
        return requested
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if onednn.has_bf16() else "fp32"
