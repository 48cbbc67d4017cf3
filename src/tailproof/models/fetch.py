"""The stage fetch: pretrained weights under timm's names, and the facts about them."""

import json
import logging
from pathlib import Path
from typing import Any

import timm
import yaml
from safetensors.torch import save

from tailproof.config.weights import SAFETENSORS, weights_source
from tailproof.digests import sha256_file
from tailproof.files import atomic, write_json
from tailproof.models.checkpoint import read_checkpoint
from tailproof.models.checkpoint_mapping import channels_of, map_to_network, outputs_of
from tailproof.models.expert_weights import check_finite
from tailproof.models.hub import download
from tailproof.models.timm_network import published_cfg
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import quantity
from tailproof.untrusted_files import read_json, read_text
from tailproof.untrusted_text import printable

log = logging.getLogger(__name__)

PREPROCESSING = ("mean", "std", "interpolation", "input_size")


def fetch(
    name: str, origin: str, weights: str | Path, facts: str | Path, *, own: bool = False
) -> dict[str, Any]:
    """Write the weights of a model as .safetensors, and the facts about them as JSON.

    Args:
        name: a model of timm.
        origin: ``hub``, or the path of a checkpoint or of a folder with one.
        weights: the .safetensors file to write. Its tensors have the names that timm gives them.
        facts: the JSON file to write.
        own: whether the weights are those of an expert of this project, which may have no card yet.

    Returns:
        The facts: `model`, `origin`, `sha256` and `bytes` of the source, `licence` (None if it is
        unknown), `mapped_by`, `dropped`, `outputs` of the head, and how images are prepared: `mean`
        and `std` per channel, `interpolation`, `input_size` [channels, height, width]; of an expert
        also `label_names`.

    Raises:
        TailproofError: the model is unknown, its weights cannot be downloaded or read, or they do
            not fit it.
    """
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        raise unknown_name("model", name, timm.list_models())
    try:
        if (source := weights_source(origin)) is None:
            file, described = download(name)
            prepared, licence = {}, published_cfg(name).license
        else:
            file, described = source, origin
            prepared = _preprocessing(name, file.parent)
            licence = None if own else _licence(file.parent)
        checkpoint = read_checkpoint(file)
        check_finite(file, {key: value for key, value in checkpoint.items() if value.numel()})
        mapped = map_to_network(name, checkpoint, ordered=file.suffix != SAFETENSORS)
    except TailproofError as error:
        raise TailproofError(f"recipe.model.weights: {error}") from None
    published = published_cfg(name)
    found = {
        "model": name,
        "origin": described,
        "sha256": sha256_file(file),
        "bytes": file.stat().st_size,
        "licence": licence,
        "mapped_by": mapped.by,
        "dropped": mapped.dropped,
        "outputs": outputs_of(name, mapped.tensors),
        "mean": list(published.mean),
        "std": list(published.std),
        "interpolation": published.interpolation,
        "input_size": [channels_of(name, mapped.tensors), *published.input_size[1:]],
        **prepared,
    }
    tensors = {key: mapped.tensors[key].contiguous().clone() for key in sorted(mapped.tensors)}
    with atomic(weights) as temporary:
        temporary.write_bytes(save(tensors))
    write_json(facts, found)
    log.info("%s: %s, mapped by %s", described, quantity(len(tensors), "tensor"), mapped.by)
    if mapped.dropped:
        log.warning(
            "%s: dropped %s that '%s' does not have: %s",
            described,
            quantity(len(mapped.dropped), "tensor"),
            name,
            ", ".join(map(printable, mapped.dropped[:5])),
        )
    return found


def _preprocessing(name: str, folder: Path) -> dict[str, Any]:
    """Return how images are prepared, as config.json next to the weights says.

    Raises:
        TailproofError: it names another architecture.
    """
    if not (folder / "config.json").is_file():
        return {}
    config = read_json(folder / "config.json")
    config = config if isinstance(config, dict) else {}
    architecture = config.get("architecture", name)
    if architecture != name.split(".", maxsplit=1)[0]:
        if not timm.is_model(str(architecture)):
            raise TailproofError(
                f"{folder / 'config.json'} is for {architecture!a:.80}, which is not a network "
                "that a recipe can start from: name other weights; for a head on features, name "
                "those of its backbone"
            )
        raise TailproofError(
            f"{folder / 'config.json'} is for the network {architecture!a:.80}, but "
            f"recipe.model.name is '{name}': set recipe.model.name to that network"
        )
    stored = config.get("pretrained_cfg", {})
    return {key: stored[key] for key in (*PREPROCESSING, "label_names") if key in stored}


def _licence(folder: Path) -> str | None:
    """Return the licence in the front matter of a model card; None if there is none."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    parts = read_text(card).split("---\n", 2)
    try:
        front = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except yaml.YAMLError:
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return json.dumps(licence).strip('"') if licence else None
