"""Imports as little of torchvision as timm needs, even if its compiled extension does not load.

The packages torchvision, torchvision.ops and torchvision.models import all that they have, and with
it PyTorch's compiler and its exporter: twice as long as PyTorch itself takes. timm needs two of
their modules. Therefore, their ``__init__`` runs only when a name is asked for that is no module.

timm marks a few functions as not to be compiled, which imports the compiler, too. They are marked
as PyTorch marks its own: the compiler is imported once one of them is called.

The extension in the published wheels is built for CUDA. With a CPU build of torch it fails to load,
and importing all of torchvision fails at its first operator, `nms`. No model here uses that
operator, so its signature is declared.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType, SimpleNamespace
from typing import Any

LAZY = ("torchvision", "torchvision.ops", "torchvision.models")


def _lazy_package(name: str) -> ModuleType:
    """Return a package that finds its modules, and runs its ``__init__`` when it has to."""
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    package, loader = module_from_spec(spec), spec.loader

    def attribute(wanted: str) -> Any:
        if wanted == "__version__":
            return importlib.import_module("torchvision.version").__version__
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        if find_spec(f"{name}.{wanted}"):
            return importlib.import_module(f"{name}.{wanted}")
        del package.__getattr__  # what is still missing is missing
        _declare_operators()
        loader.exec_module(package)
        return getattr(package, wanted)

    package.__getattr__ = attribute  # type: ignore[method-assign]  # PEP 562: that of the module
    return package


def _declare_operators() -> None:
    """Declare `nms` if the extension of torchvision does not load."""
    from torch.library import Library
    from torchvision.extension import _has_ops

    if not _has_ops() and not _declarations:
        _declarations.append(Library("torchvision", "DEF"))
        _declarations[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declarations[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@contextmanager
def compiler_unloaded() -> Iterator[None]:
    """Import timm without PyTorch's compiler."""
    if "torch._dynamo" in sys.modules:
        yield
        return
    import torch
    from torch import _disable_dynamo, compiler

    disable = compiler.disable
    compiler.disable = _disable_dynamo  # type: ignore[assignment]  # which wraps the same
    # Kron changes a limit.
    torch._dynamo = SimpleNamespace(config=SimpleNamespace())  # type: ignore[assignment]
    try:
        yield
    finally:
        compiler.disable = disable
        del torch._dynamo


_declarations: list[Any] = []  # alive as long as the process

if "torchvision" not in sys.modules:
    for _name in LAZY:
        sys.modules[_name] = _lazy_package(_name)
