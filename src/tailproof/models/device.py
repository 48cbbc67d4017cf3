"""The device of a run."""

import os

import torch

from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import tune_malloc


def start_device(threads: int) -> torch.device:
    """Choose the device and make computation on it deterministic.

    Raises:
        TailproofError: the node has fewer GPUs than the recipe's devices.
    """
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise TailproofError(
                f"recipe.devices is larger than the number of GPUs of this node, {gpus}: lower it"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        return device
    tune_malloc()
    return torch.device("cpu")
