"""Saves experts in a form that timm loads, and loads them, also those of strangers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import timm
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tailproof.digests import sha256_bytes
from tailproof.files import atomic, write_json
from tailproof.models.adapters import merged_state
from tailproof.models.expert_config import ExpertConfig
from tailproof.models.meta_network import build_on_meta, difference, is_complete
from tailproof.models.timm_network import as_timm
from tailproof.models.weights_header import TensorType, read_header
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.untrusted_text import printable

AGAIN = "copy the file again, or train again"


def save_expert(
    folder: str | Path,
    model: nn.Module,
    *,
    model_args: dict[str, Any],
    preprocessing: dict[str, Any],
    class_names: list[str],
    facts: dict[str, Any],
) -> None:
    """Write model.safetensors and config.json, loadable as ``local-dir:`` by timm.

    Args:
        folder: folder to write both files to.
        model: the trained model; adapters that can be merged are.
        model_args: arguments of the model other than its name, classes and channels.
        preprocessing: timm's data configuration: input_size, mean, std, interpolation, crop_pct.
        class_names: class names in the order of the outputs.
        facts: further plain values, stored under ``tailproof`` in config.json.
    """
    with atomic(Path(folder) / "model.safetensors") as temporary:
        temporary.write_bytes(save(_tensors(model)))
    source = as_timm(model).pretrained_cfg
    write_json(
        Path(folder) / "config.json",
        {
            "architecture": source["architecture"],
            "num_classes": len(class_names),
            "num_features": model.num_features,
            "model_args": {"in_chans": preprocessing["input_size"][0], **model_args},
            "pretrained_cfg": {
                **preprocessing,
                "num_classes": len(class_names),
                "label_names": class_names,
                "first_conv": source.get("first_conv"),
                "classifier": source.get("classifier"),
                "fixed_input_size": source.get("fixed_input_size", False),
                "custom_load": False,
            },
            "tailproof": facts,
        },
    )


def load_expert(folder: str | Path) -> tuple[nn.Module, ExpertConfig]:
    """Load an expert's model, in evaluation mode, and its config.json.

    Raises:
        TailproofError: a file is missing or damaged, or the weights do not fit the model.
    """
    config = ExpertConfig.read(Path(folder) / "config.json")
    return load_model(Path(folder) / "model.safetensors", config), config


def load_model(weights: Path, config: ExpertConfig) -> nn.Module:
    """Load an expert's model, in evaluation mode.

    Args:
        weights: model.safetensors, which may be a stranger's.
        config: config.json of the same folder.

    Raises:
        TailproofError: the file is missing or damaged, or holds other tensors than the architecture
            has, or numbers that are not finite.
    """
    header = read_header(weights)
    return load_tensors(weights, "config.json", config, header, lambda: load_file(weights))


def load_tensors(
    weights: Path,
    described_by: str,
    config: ExpertConfig,
    header: dict[str, TensorType],
    read: Callable[[], dict[str, Tensor]],
) -> nn.Module:
    """Load an expert's model, in evaluation mode, from tensors of a file.

    They are compared with those of the architecture before memory is allocated.

    Args:
        weights: the file, for messages.
        described_by: the name of the file that holds `config`, for messages.
        config: architecture, classes and arguments of the model.
        header: the types of the tensors, by their names in the model.
        read: reads the tensors.

    Raises:
        TailproofError: they are other tensors than the architecture has, or have numbers that are
            not finite.
    """
    name = config.architecture

    def build() -> nn.Module:
        return timm.create_model(
            name, pretrained=False, num_classes=config.num_classes, **config.model_args
        )

    if not timm.is_model(name):
        raise TailproofError(
            f"{weights.parent / described_by}: {unknown_name('model', name, timm.list_models())}"
        )
    try:
        network = build_on_meta(build, len(header))
    except Exception as error:  # timm's models raise errors of any kind
        raise TailproofError(
            f"{weights.parent}: timm cannot build '{name}' with the model_args of {described_by} "
            f"({printable(error):.200}): {AGAIN}"
        ) from None
    if differs := difference(network, header):
        raise TailproofError(
            f"{weights} does not fit the '{name}' in {described_by} ({differs}): {AGAIN}"
        )
    _check_memory(weights, network)
    tensors = read()
    check_finite(weights, tensors)
    if is_complete(network):
        # Copied to addresses that torch chooses, on which the last bit of a product may depend.
        copies = {tensor_name: tensor.clone() for tensor_name, tensor in tensors.items()}
        network.load_state_dict(copies, assign=True)
    else:
        network = build()
        network.load_state_dict(tensors)
    return network.eval()


def _check_memory(weights: Path, network: nn.Module) -> None:
    needed = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    free = psutil.virtual_memory().available
    if needed > free:
        raise TailproofError(
            f"{weights} needs {needed / 2**30:.1f} GiB of memory, but only {free / 2**30:.1f} GiB "
            "are free: use a machine with more memory"
        )


def check_finite(weights: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Raise a TailproofError that names the first tensor with a number that is not finite."""
    for name, tensor in tensors.items():
        # A sum is a hundred times faster, and finite if all numbers are, unless it overflows.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise TailproofError(
                f"{weights}: {printable(name)} has numbers that are not finite: {AGAIN}"
            )


def digest_of_weights(model: nn.Module) -> str:
    """Return the SHA-256 of the model.safetensors that `save_expert` would write."""
    return sha256_bytes(save(_tensors(model)))


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    # The bytes must not depend on the memory format; no metadata, because its order varies. Copies,
    # because layers may share a tensor, which the file cannot say.
    state = merged_state(model)
    return {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
