"""Merges a head into its backbone: a network on images that computes what the head does."""

from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tailproof.config.recipe import Model, Recipe
from tailproof.features.backbone_with_head import NAME, NAME_OF_SEVERAL
from tailproof.features.concatenation import SHORTEST, ConcatenatedSplit, stores_of
from tailproof.features.head_layers import LinearHead, RescaledHead
from tailproof.features.heads import Targets, head_options
from tailproof.features.store import FeatureSplit
from tailproof.models.backbone_layers import layers_of
from tailproof.models.build import build_model
from tailproof.models.expert_weights import save_expert
from tailproof.models.initial_weights import backbone_facts, build_initial, weights_file
from tailproof.models.preparation import data_config
from tailproof.runtime.errors import TailproofError

TOLERANCE = 1e-4
"""Largest difference of a logit, next to the largest logit."""


def check_weights(recipe: Recipe, split: FeatureSplit) -> None:
    """Check that features were computed with the weights of a recipe.

    Raises:
        TailproofError: they were computed with others.
    """
    for model, store in zip(recipe.models, stores_of(split), strict=True):
        ours, theirs = backbone_facts(model)["sha256"], store.facts["weights_sha256"]
        if ours != theirs:
            raise TailproofError(
                f"{store.paths[0]} has features of weights with SHA-256 {theirs[:12]}…, but those "
                f"of {model.weights} have {ours[:12]}…: delete its folder and run the stage embed "
                "again"
            )


def own_classifier(model: Model, class_names: list[str], split: FeatureSplit) -> Tensor:
    """Return the weights of the classifier that the backbone was trained with, [C, D].

    Raises:
        TailproofError: it is for other classes, is not a linear layer, or does not get the stored
            features.
    """
    import timm  # after tailproof.models

    facts = backbone_facts(model)
    if facts.get("label_names") != class_names:
        raise TailproofError(
            "recipe.head rescales the classifier of the backbone, but recipe.model.weights are not "
            "those of an expert of the same classes: name the folder of such an expert, or choose "
            "another kind of head"
        )
    name = f"{timm.get_pretrained_cfg(model.name).classifier}.weight"
    with safe_open(weights_file(model), "pt") as file:
        weight = file.get_tensor(name) if name in file.keys() else None  # noqa: SIM118 - no mapping
    linear = model.options.get("classifier", "linear") == "linear"
    if weight is None or not linear or weight.shape != (len(class_names), split.width):
        raise TailproofError(
            f"recipe.head rescales the classifier of the backbone, but that of '{model.name}' is "
            f"not a linear layer of the {split.width} stored features: set features.layers to "
            "[penultimate], or choose another kind of head"
        )
    return weight


def save_merged(
    folder: str | Path,
    head: nn.Module,
    *,
    recipe: Recipe,
    split: FeatureSplit,
    targets: Targets,
    class_names: list[str],
    facts: dict[str, Any],
) -> None:
    """Write model.safetensors and config.json of the backbones with a head.

    Args:
        folder: folder to write both files to.
        head: the trained head.
        recipe: the recipe: its head, and names and weights of the backbones.
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
            _network(model, store, 0, channels)
            for model, store in zip(recipe.models, stores, strict=True)
        ]
        network, args = _of_several(networks, head, recipe, split, targets, channels)
        facts = facts | {"inputs": inputs}
    else:
        network, args = _network(recipe.model, split, outputs, channels), split.facts["options"]
        if not _replaces_classifier(head, network, split):
            network, args = _with_head(network, head, recipe, split, targets, channels)
        else:
            classifier = network.get_classifier()
            classifier.load_state_dict(dict(zip(("weight", "bias"), head.folded(), strict=True)))
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


def _replaces_classifier(head: nn.Module, network: nn.Module, split: FeatureSplit) -> bool:
    """Return whether a head can be the classifier of its network."""
    classifier = network.get_classifier()
    return (
        isinstance(head, LinearHead | RescaledHead)
        and list(split.layers) == ["penultimate"]
        and type(classifier) is nn.Linear
        and isinstance(network.pretrained_cfg["classifier"], str)
        and classifier.bias is not None
        and classifier.in_features == split.width
    )


def _with_head(
    network: nn.Module,
    head: nn.Module,
    recipe: Recipe,
    split: FeatureSplit,
    targets: Targets,
    channels: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network of a backbone and a head, and the arguments that build it."""
    network.reset_classifier(0)
    own, state = _head_arguments(head, recipe, split, targets)
    args = {
        "backbone": _architecture(recipe.model),
        "layers": list(split.layers),
        "backbone_options": split.facts["options"],
        **own,
    }
    merged = build_model(NAME, classes=sum(targets.sizes), channels=channels, options=args)
    merged.backbone.load_state_dict(network.state_dict())
    merged.head.load_state_dict(state)
    fixed = network.pretrained_cfg.get("fixed_input_size", False)
    merged.pretrained_cfg = {**merged.pretrained_cfg, "fixed_input_size": fixed}
    return merged, args


def _of_several(
    networks: list[nn.Module],
    head: nn.Module,
    recipe: Recipe,
    split: ConcatenatedSplit,
    targets: Targets,
    channels: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network of several backbones and a head, and the arguments that build it."""
    own, state = _head_arguments(head, recipe, split, targets)
    backbones = [
        {
            "name": _architecture(model),
            "layers": list(store.layers),
            "options": store.facts["options"],
        }
        for model, store in zip(recipe.models, split.stores, strict=True)
    ]
    args = {"backbones": backbones, **own}
    merged = build_model(
        NAME_OF_SEVERAL, classes=sum(targets.sizes), channels=channels, options=args
    )
    for place, network in zip(merged.backbones, networks, strict=True):
        place.load_state_dict(network.state_dict())
    merged.head.load_state_dict(state)
    return merged, args


def _head_arguments(
    head: nn.Module, recipe: Recipe, split: FeatureSplit, targets: Targets
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments that build a head in a network, and its tensors there."""
    if isinstance(head, LinearHead | RescaledHead):
        kind, options = "linear", {}
        state = dict(zip(("weight", "bias"), head.folded(), strict=True))
    else:
        kind, options = recipe.head.kind, head_options(recipe.head, split, targets)
        state = head.state_dict()
    return {"head": kind, "width": split.width, "head_options": options}, state


def _architecture(model: Model) -> str:
    return model.name.split(".", maxsplit=1)[0]


@torch.inference_mode()
def _check(
    network: nn.Module, head: nn.Module, stores: list[FeatureSplit], shapes: list[list[int]]
) -> None:
    images = [torch.linspace(-1, 1, prod(shape)).reshape(1, *shape) for shape in shapes]
    backbones = getattr(network, "backbones", [getattr(network, "backbone", network)])
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
            f"the network with its head computes logits that differ by {difference:.2g} from those "
            "of the head on the features of the network: report this network as an issue, and use "
            "another one"
        )
