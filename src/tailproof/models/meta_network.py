"""Builds a network that a stranger describes on the meta device: no memory, limited time."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from tailproof.models.weights_header import TensorType

SECONDS = 60.0
"""Largest time of the processor. The slowest networks of timm need five seconds."""

TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


INITIALIZING = {
    getattr(torch.Tensor, name)
    for name in ("add_", "clamp_", "erfinv_", "fill_", "mul_", "normal_", "uniform_", "zero_")
}
"""What computes initial weights in place."""


class _WithoutInitialization(TorchFunctionMode):
    """Leaves out initial weights: without memory, they would only import PyTorch's compiler."""

    def __torch_function__(
        self, function: Any, _types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        named = keywords or {}
        if function in INITIALIZING or getattr(function, "__module__", "") == init.__name__:
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **named)


def build_on_meta(build: Callable[[], nn.Module], tensors: int) -> nn.Module:
    """Build a network whose tensors have shapes, but no numbers and no memory.

    Args:
        build: builds the network.
        tensors: number of tensors that it should have; it may register twice as many while it is
            built.

    Raises:
        ValueError: it has more tensors, or takes too long.
    """
    registered = 0

    def count(_module: nn.Module, _name: str, _parameter: Any) -> None:
        nonlocal registered
        registered += 1
        if registered > 2 * tensors + 100:
            raise ValueError(f"it has more tensors than the {tensors} of the weights")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _WithoutInitialization(), _time_limit():
            return build()
    finally:
        hook.remove()


def difference(network: nn.Module, header: dict[str, TensorType]) -> str:
    """Return in words how the tensors of a network differ from those of a file, or nothing."""
    expected = {
        name: TensorType(TYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in expected.items():
        if name not in header:
            return f"{name} {tensor} is not in the weights"
        if header[name] != tensor:
            return f"{name} is {tensor}, but {header[name]} in the weights"
    extra = next((name for name in header if name not in expected), None)
    return "" if extra is None else f"it has no {extra!a:.80}"


def is_complete(network: nn.Module) -> bool:
    """Return whether the weights of a network are all the tensors that it has."""
    stored = network.state_dict().keys()
    return all(name in stored for name, _ in network.named_buffers()) and not any(
        isinstance(value, torch.Tensor)
        for module in network.modules()
        for attribute in vars(module).values()
        for value in (attribute if isinstance(attribute, list | tuple) else [attribute])
    )


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise an error in the block after `SECONDS`; other threads than the first have no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: Any) -> None:
        raise ValueError(f"it could not be built within {SECONDS:g} seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
