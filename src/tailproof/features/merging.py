"""Merges a head into its backbone: a network on images that computes what the head does."""

from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import safe_open
from torch import Tensor, nn

from tailproof.config.head import Head
from tailproof.config.recipe import Model
from tailproof.features.backbone_with_head import NAME
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


def check_weights(model: Model, split: FeatureSplit) -> None:
    """Check that features were computed with the weights of a recipe.

    Raises:
        TailproofError: they were computed with others.
    """
    ours, theirs = backbone_facts(model)["sha256"], split.facts["weights_sha256"]
    if ours != theirs:
        raise TailproofError(
            f"{split.paths[0]} has features of weights with SHA-256 {theirs[:12]}…, but those of "
            f"{model.weights} have {ours[:12]}…: delete its folder and run the stage embed again"
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
            "recipe.head rescales the classifier of the backbone, but recipe.model.weights are not "
            "those of an expert of the same classes: name the folder of such an expert, or choose "
            "another kind of head"
        )
    name = f"{published_cfg(model.name).classifier}.weight"
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
    config: Head,
    model: Model,
    split: FeatureSplit,
    targets: Targets,
    class_names: list[str],
    facts: dict[str, Any],
) -> None:
    """Write model.safetensors and config.json of the whole network.

    A linear head becomes the classifier of the network, where it has one that gets the stored
    features. Every other head needs the architecture `backbone_with_head`.

    Args:
        folder: folder to write both files to.
        head: the trained head.
        config: its configuration.
        model: name and weights of the backbone.
        split: the features of train.
        targets: the labels of train.
        class_names: class names in the order of the outputs.
        facts: further plain values for config.json.

    Raises:
        TailproofError: the network does not compute what the head does.
    """
    embedded, channels = split.facts, len(split.facts["mean"])
    head = head.cpu().eval()
    options = embedded["options"]
    network = build_initial(model, classes=len(class_names), channels=channels, options=options)
    args = options
    if _replaces_classifier(head, network, split):
        classifier = as_timm(network).get_classifier()
        classifier.load_state_dict(dict(zip(("weight", "bias"), head.folded(), strict=True)))
    else:
        network, args = _with_head(network, head, config, split, targets, model, channels)
    side = embedded["size"]
    sizes = [side, side] if side else [split.manifest["height"], split.manifest["width"]]
    _check(network.eval(), head, list(split.layers), [channels, *sizes])
    normalization = {key: embedded[key] for key in ("mean", "std")}
    save_expert(
        folder,
        network,
        model_args=args,
        preprocessing=data_config([channels, *sizes], embedded["interpolation"], normalization),
        class_names=class_names,
        facts=facts,
    )


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
    network: nn.Module,
    head: nn.Module,
    config: Head,
    split: FeatureSplit,
    targets: Targets,
    model: Model,
    channels: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network of a backbone and a head, and the arguments that build it."""
    as_timm(network).reset_classifier(0)
    if isinstance(head, LinearHead | RescaledHead):
        kind, options = "linear", {}
        state = dict(zip(("weight", "bias"), head.folded(), strict=True))
    else:
        kind, options, state = config.kind, head_options(config, split, targets), head.state_dict()
    args = {
        "backbone": model.name.split(".", maxsplit=1)[0],
        "layers": list(split.layers),
        "head": kind,
        "width": split.width,
        "backbone_options": split.facts["options"],
        "head_options": options,
    }
    merged = build_model(NAME, classes=sum(targets.sizes), channels=channels, options=args)
    merged = as_timm(merged)
    merged.get_submodule("backbone").load_state_dict(network.state_dict())
    merged.get_submodule("head").load_state_dict(state)
    fixed = as_timm(network).pretrained_cfg.get("fixed_input_size", False)
    merged.pretrained_cfg = {**merged.pretrained_cfg, "fixed_input_size": fixed}
    return merged, args


@torch.inference_mode()
def _check(network: nn.Module, head: nn.Module, layers: list[str], shape: list[int]) -> None:
    image = torch.linspace(-1, 1, shape[0] * shape[1] * shape[2]).reshape(1, *shape)
    backbone = network.get_submodule("backbone") if hasattr(network, "backbone") else network
    features = torch.cat(list(layers_of(backbone, image, layers).values()), 1)
    expected = head(features)
    difference = float((network(image) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise TailproofError(
            f"the network with its head computes logits that differ by {difference:.2g} from those "
            "of the head on the features of the network: report this network as an issue, and use "
            "another one"
        )
