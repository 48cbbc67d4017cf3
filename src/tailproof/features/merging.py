"""Merges a head into its backbone: a network on images that computes what the head does."""

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tailproof.config.head import Head
from tailproof.config.model import Model
from tailproof.features.backbone_with_head import (
    NAME,
    NAME_OF_SEVERAL,
    BackbonesWithHead,
    BackboneWithHead,
)
from tailproof.features.concatenation import SHORTEST, stores_of
from tailproof.features.head_layers import LinearHead, RescaledHead
from tailproof.features.heads import Targets, head_options
from tailproof.features.store import FeatureSplit
from tailproof.models.backbone_layers import layers_of
from tailproof.models.build import build_model
from tailproof.models.expert_weights import save_expert
from tailproof.models.initial_weights import backbone_facts, build_initial, weights_file
from tailproof.models.preparation import data_config
from tailproof.models.timm_network import as_timm, published_cfg
from tailproof.runtime.errors import TailproofError

TOLERANCE = 1e-4
"""Largest difference of a logit, next to the largest logit."""


def check_weights(models: list[Model], split: FeatureSplit) -> None:
    """Check that features were computed with the weights of a recipe's models.

    Raises:
        TailproofError: they were computed with others.
    """
    for model, store in zip(models, stores_of(split), strict=True):
        ours, theirs = backbone_facts(model)["sha256"], store.facts["weights_sha256"]
        if ours != theirs:
            raise TailproofError(
                f"{store.paths[0]} was computed with weights of SHA-256 {theirs[:12]}…, but "
                f"{model.weights} has {ours[:12]}…: delete the folder of these features and run "
                "snakemake again"
            )


def own_classifier(model: Model, class_names: list[str], split: FeatureSplit) -> Tensor:
    """Return the weights of the classifier that the backbone was trained with, [C, D].

    Raises:
        TailproofError: it is for other classes, is not a linear layer, or does not get the stored
            features.
    """
    facts = backbone_facts(model)
    if facts.get("label_names") != class_names:
        raise TailproofError(
            "recipe.head rescales the classifier of the backbone, but recipe.model.weights are "
            "not those of an expert with the same classes: name the folder of such an expert, or "
            "choose another kind of head"
        )
    name = f"{published_cfg(model.name).classifier}.weight"
    with safe_open(weights_file(model), "pt") as file:
        weight = file.get_tensor(name) if name in file.keys() else None  # noqa: SIM118 - no mapping
    linear = model.options.get("classifier", "linear") == "linear"
    if weight is None or not linear or weight.shape != (len(class_names), split.width):
        raise TailproofError(
            f"recipe.head rescales the classifier of the backbone, but that of '{model.name}' is "
            f"not a linear layer of the {split.width} stored features: set recipe.features.layers "
            "to [penultimate], or choose another kind of head"
        )
    return weight


def save_merged(
    folder: str | Path,
    head: nn.Module,
    *,
    config: Head,
    models: list[Model],
    split: FeatureSplit,
    targets: Targets,
    class_names: list[str],
    facts: dict[str, Any],
) -> None:
    """Write model.safetensors and config.json of the whole network.

    A linear head becomes the classifier of the network, where it has one that gets the stored
    features. Every other head needs the architecture `backbone_with_head`, and one on several
    backbones `backbones_with_head`.

    Args:
        folder: folder to write both files to.
        head: the trained head.
        config: its configuration.
        models: name and weights of each backbone.
        split: the features of train.
        targets: the labels of train.
        class_names: class names in the order of the outputs.
        facts: further plain values for config.json.

    Raises:
        TailproofError: the network does not compute what the head does.
    """
    head = head.cpu().eval()
    stores = stores_of(split)
    inputs = [_data_config(store) for store in stores]
    channels = inputs[0]["input_size"][0]
    outputs = len(class_names)
    if len(stores) > 1:
        networks = [
            _network(model, store, 0, channels) for model, store in zip(models, stores, strict=True)
        ]
        own, state = _head_arguments(head, config, split, targets)
        network, args = _of_several(models, networks, stores, own, state, outputs)
        facts = facts | {"inputs": inputs}
    else:
        network, args = _network(models[0], split, outputs, channels), split.facts["options"]
        if _replaces_classifier(head, network, split):
            classifier = as_timm(network).get_classifier()
            classifier.load_state_dict(dict(zip(("weight", "bias"), head.folded(), strict=True)))
        else:
            own, state = _head_arguments(head, config, split, targets)
            network, args = _with_head(models[0], network, split, own, state, outputs)
    _check(network.eval(), head, stores, [one["input_size"] for one in inputs])
    save_expert(
        folder,
        network,
        model_args=args,
        preprocessing=inputs[0],
        class_names=class_names,
        facts=facts,
    )


def _data_config(store: FeatureSplit) -> dict[str, Any]:
    """Return what a backbone takes of an image."""
    facts = store.facts
    side = facts["size"]
    sizes = [side, side] if side else [store.manifest["height"], store.manifest["width"]]
    normalization = {key: facts[key] for key in ("mean", "std")}
    return data_config([len(facts["mean"]), *sizes], facts["interpolation"], normalization)


def _network(model: Model, store: FeatureSplit, outputs: int, channels: int) -> nn.Module:
    """Return a backbone with its weights, as it was embedded."""
    return build_initial(model, classes=outputs, channels=channels, options=store.facts["options"])


def _replaces_classifier(
    head: nn.Module, network: nn.Module, split: FeatureSplit
) -> TypeGuard[LinearHead | RescaledHead]:
    """Return whether a head can be the classifier of its network."""
    classifier = as_timm(network).get_classifier()
    return (
        isinstance(head, LinearHead | RescaledHead)
        and list(split.layers) == ["penultimate"]
        and type(classifier) is nn.Linear
        and isinstance(as_timm(network).pretrained_cfg["classifier"], str)
        and classifier.bias is not None
        and classifier.in_features == split.width
    )


def _with_head(
    model: Model,
    network: nn.Module,
    store: FeatureSplit,
    own: dict[str, Any],
    state: dict[str, Tensor],
    outputs: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network of a backbone and a head, and the arguments that build it."""
    as_timm(network).reset_classifier(0)
    args = {
        "backbone": _architecture(model),
        "layers": list(store.layers),
        "backbone_options": store.facts["options"],
        **own,
    }
    channels = len(store.facts["mean"])
    merged = as_timm(build_model(NAME, classes=outputs, channels=channels, options=args))
    merged.get_submodule("backbone").load_state_dict(network.state_dict())
    merged.get_submodule("head").load_state_dict(state)
    fixed = as_timm(network).pretrained_cfg.get("fixed_input_size", False)
    merged.pretrained_cfg = {**merged.pretrained_cfg, "fixed_input_size": fixed}
    return merged, args


def _of_several(
    models: list[Model],
    networks: list[nn.Module],
    stores: list[FeatureSplit],
    own: dict[str, Any],
    state: dict[str, Tensor],
    outputs: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network of several backbones and a head, and the arguments that build it."""
    backbones = [
        {
            "name": _architecture(model),
            "layers": list(store.layers),
            "options": store.facts["options"],
        }
        for model, store in zip(models, stores, strict=True)
    ]
    args = {"backbones": backbones, **own}
    channels = len(stores[0].facts["mean"])
    merged = build_model(NAME_OF_SEVERAL, classes=outputs, channels=channels, options=args)
    for number, network in enumerate(networks):
        merged.get_submodule(f"backbones.{number}").load_state_dict(network.state_dict())
    merged.get_submodule("head").load_state_dict(state)
    return merged, args


def _head_arguments(
    head: nn.Module, config: Head, split: FeatureSplit, targets: Targets
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments that build a head in a network, and its tensors there."""
    if isinstance(head, LinearHead | RescaledHead):
        kind, options = "linear", {}
        state = dict(zip(("weight", "bias"), head.folded(), strict=True))
    else:
        kind, options, state = config.kind, head_options(config, split, targets), head.state_dict()
    return {"head": kind, "width": split.width, "head_options": options}, state


def _architecture(model: Model) -> str:
    return model.name.split(".", maxsplit=1)[0]


@torch.inference_mode()
def _check(
    network: nn.Module, head: nn.Module, stores: list[FeatureSplit], shapes: list[list[int]]
) -> None:
    images = [torch.linspace(-1, 1, prod(shape)).reshape(1, *shape) for shape in shapes]
    backbones: Iterable[nn.Module] = [network]
    if isinstance(network, BackbonesWithHead):
        backbones = network.backbones
    elif isinstance(network, BackboneWithHead):
        backbones = [network.backbone]
    features = [
        torch.cat(list(layers_of(backbone, image, list(store.layers)).values()), 1)
        for backbone, image, store in zip(backbones, images, stores, strict=True)
    ]
    if len(features) > 1:
        features = [one / one.norm(dim=1, keepdim=True).clamp(min=SHORTEST) for one in features]
    expected = head(torch.cat(features, 1))
    difference = float((network(*images) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise TailproofError(
            f"logits of the whole network differ by {difference:.2g} from those of the head on "
            "the backbone's features: report this as an issue, and use another network"
        )
