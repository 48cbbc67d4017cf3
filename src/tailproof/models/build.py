"""Builds models through timm's registry and saves experts in a form that timm loads."""

import logging
from pathlib import Path
from typing import Any

import psutil
import timm
import torch
from safetensors.torch import load_file, save
from torch import nn

from tailproof.config.recipe import Recipe
from tailproof.digests import sha256_bytes
from tailproof.files import atomic, write_json
from tailproof.models.arguments import check_arguments
from tailproof.models.blueprint import difference, draw, is_complete
from tailproof.models.expert_config import ExpertConfig
from tailproof.models.weights_header import read_header
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.untrusted_files import open_regular
from tailproof.untrusted_text import printable

log = logging.getLogger(__name__)

AGAIN = "copy the file again, or train again"


def build_model(
    name: str, *, classes: int, channels: int, pretrained: bool, options: dict[str, Any]
) -> nn.Module:
    """Build a model whose head and first layer fit the data.

    Args:
        name: a model of timm's registry, which includes those of `tailproof.models`.
        classes: number of outputs.
        channels: number of channels of the images.
        pretrained: whether to start from the published weights.
        options: further arguments of the model.

    Raises:
        TailproofError: the name or an option is unknown, or the weights cannot be loaded.
    """
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        raise unknown_name("model", name, timm.list_models())
    try:
        check_arguments(options)
    except ValueError as error:
        raise TailproofError(f"recipe.model.options {error}") from None
    try:
        return timm.create_model(
            name, pretrained=pretrained, num_classes=classes, in_chans=channels, **options
        )
    # timm's models also assert conditions on their options, or divide by them.
    except (
        TypeError,
        ValueError,
        RuntimeError,
        OSError,
        AssertionError,
        ArithmeticError,
    ) as error:
        hint = "; its pretrained weights could not be loaded" if pretrained else ""
        raise TailproofError(
            f"recipe.model: timm cannot build '{name}' with {options or 'no options'}{hint}: "
            f"{error}"
        ) from error


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
        model: the trained model.
        model_args: arguments of the model other than its name, classes and channels.
        preprocessing: timm's data configuration: input_size, mean, std, interpolation, crop_pct.
        class_names: class names in the order of the outputs.
        facts: further plain values, stored under ``tailproof`` in config.json.
    """
    with atomic(Path(folder) / "model.safetensors") as temporary:
        temporary.write_bytes(save(_tensors(model)))
    source = model.pretrained_cfg
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

    The tensors of the file are compared with those of the architecture before memory is allocated.

    Args:
        weights: model.safetensors, which may be a stranger's.
        config: config.json of the same folder.

    Raises:
        TailproofError: the file is missing or damaged, or holds other tensors than the architecture
            has, or numbers that are not finite.
    """
    name, header = config.architecture, read_header(weights)

    def build() -> nn.Module:
        return timm.create_model(
            name, pretrained=False, num_classes=config.num_classes, **config.model_args
        )

    if not timm.is_model(name):
        raise TailproofError(
            f"{weights.parent / 'config.json'}: {unknown_name('model', name, timm.list_models())}"
        )
    try:
        network = draw(build, len(header))
    except Exception as error:  # timm's models raise errors of any kind
        raise TailproofError(
            f"{weights.parent}: timm cannot build '{name}' with the model_args of config.json "
            f"({printable(error):.200}): {AGAIN}"
        ) from None
    if differs := difference(network, header):
        raise TailproofError(
            f"{weights} is not of the '{name}' in config.json ({differs}): {AGAIN}"
        )
    _check_memory(weights, network)
    tensors = load_file(weights)
    _check_finite(weights, tensors)
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
            f"{weights} needs {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free: "
            "use a machine with more memory"
        )


def _check_finite(weights: Path, tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        # A sum is a hundred times faster, and finite if all numbers are, unless it overflows.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise TailproofError(
                f"{weights}: {printable(name)} has numbers that are not finite: {AGAIN}"
            )


def load_weights(model: nn.Module, file: Path) -> None:
    """Load initial weights into a model; log the tensors that do not fit and skip them.

    Args:
        model: the model, which is changed in place.
        file: a .safetensors file, or the saved state (.pt) of a run.

    Raises:
        TailproofError: the file is damaged, or no tensor in it fits the model.
    """
    try:
        weights = _weights_of_state(file) if file.suffix == ".pt" else _weights_of_expert(file)
        _check_finite(file, weights)
    except TailproofError as error:
        raise TailproofError(f"recipe.init_from: {error}") from None
    except Exception as error:  # pickle raises errors of any kind
        raise TailproofError(
            f"recipe.init_from: {file} cannot be read ({printable(error):.200}), expected the "
            "folder of an expert, a .safetensors file or a state in .state/train"
        ) from error
    expected = model.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in expected and value.shape == expected[name].shape
    }
    unfit = [
        f"{name} {list(value.shape)}"
        + (f" for {list(expected[name].shape)}" if name in expected else " not in the model")
        for name, value in weights.items()
        if name not in fitting
    ] + [
        f"{name} {list(value.shape)} not in the file"
        for name, value in expected.items()
        if name not in weights
    ]
    if not fitting:
        raise TailproofError(
            f"recipe.init_from: no tensor in {file} fits the model: {', '.join(unfit[:5])}, …"
        )
    model.load_state_dict(fitting, strict=False)
    for name in unfit:
        log.warning("init_from %s: skipped %s", file, name)


def weights_file(recipe: Recipe) -> Path | None:
    """Return the file with the initial weights; None if the recipe does not set `init_from`.

    Raises:
        TailproofError: the file does not exist.
    """
    file = recipe.initial_weights
    if file is not None and not file.exists():
        raise TailproofError(f"recipe.init_from: {file} does not exist")
    return file


def _weights_of_state(file: Path) -> dict[str, torch.Tensor]:
    with open_regular(file) as content:
        run = torch.load(content, map_location="cpu", weights_only=True)["run"]
    return run["ema"] or run["model"]


def _weights_of_expert(file: Path) -> dict[str, torch.Tensor]:
    read_header(file)
    return load_file(file)


def checkpoint_activations(model: nn.Module, name: str) -> None:
    """Make a model recompute activations in the backward pass instead of storing them.

    Raises:
        TailproofError: timm's model `name` does not support it.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise TailproofError(
            f"recipe.activation_checkpointing: '{name}' does not support it: remove it"
        ) from error


def digest_of_weights(model: nn.Module) -> str:
    """Return the SHA-256 of the model.safetensors that `save_expert` would write."""
    return sha256_bytes(save(_tensors(model)))


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    # The bytes must not depend on the memory format; no metadata, because its order varies. Copies,
    # because layers may share a tensor, which the file cannot say.
    return {k: v.detach().cpu().contiguous().clone() for k, v in sorted(model.state_dict().items())}


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
