"""What an exported file says of itself: classes, preparation of images, rules, comparison.

The file holds it twice: as JSON for programs, and in a few sentences for people.
"""

from typing import Any

import onnx

from tailproof.data.multiband import MODE
from tailproof.files import json_text
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.onnx_export.graph import ACCEPTED, CLASS, IMAGES, LOGITS, output_names
from tailproof.predict.loaded_expert import LoadedExpert

FORMAT = 1
KEY = "tailproof"
"""The key of the JSON in the file's metadata."""


def describe(
    expert: LoadedExpert, guarantees: ExpertGuarantees | None, rule: str
) -> dict[str, Any]:
    """Return what a program needs to use the file.

    Args:
        expert: the expert.
        guarantees: its guarantees.json; None without one.
        rule: the rule of the file's decision.
    """
    deployment, (network,) = expert.deployment, expert.networks
    calibrators = expert.posterior.outputs[network.expert].calibrators
    channels, height, width = expert.preparations[0].shape
    return {
        "format": FORMAT,
        "experiment": deployment.experiment,
        "expert": deployment.expert,
        "seed": deployment.seed,
        "weights_sha256": deployment.weights_sha256,
        "target": expert.target,
        "classes": expert.classes,
        "input": {
            "name": IMAGES,
            "type": "float32" if deployment.images == MODE else "uint8",
            "layout": "NHWC",
            "height": height,
            "width": width,
            "channels": channels,
        },
        "outside": _outside(expert),
        "inside": {
            "mean": network.normalize.mean.tolist(),
            "std": network.normalize.std.tolist(),
            "calibrators": {
                rank: calibrator.to_jsonable() for rank, calibrator in calibrators.items()
            },
            "decision": {"rule": rule, "coverage": deployment.coverage},
        },
        "outputs": {
            LOGITS: "raw logits of all ranks, float32",
            **{
                name: f"calibrated probabilities of {rank}, float64"
                for rank, name in output_names(expert.classes).items()
            },
            CLASS: f"index of the class of {expert.target} that the rule chooses",
            ACCEPTED: "whether the rule accepts it",
        },
        "deployment": deployment.model_dump(mode="json"),
        "guarantees": guarantees and guarantees.model_dump(mode="json"),
    }


def _outside(expert: LoadedExpert) -> list[dict[str, Any]]:
    """Return the steps from a file to the input, which ONNX cannot express."""
    _, height, width = expert.preparations[0].shape
    mode = expert.deployment.images
    if mode == MODE:
        decode = {"step": "read", "format": ".npy", "type": "float32"}
    else:
        decode = {
            "step": "decode",
            "mode": mode,
            "upright": "by the EXIF orientation",
            "transparent": "over white, or over black if white would hide the drawing",
            "profile": "ignored",
            "frames": "the first",
        }
    if height != width:
        return [decode, {"step": "refuse", "unless": [height, width]}]
    return [
        decode,
        {
            "step": "resize",
            "shorter_side": height,
            "longer_side": "rounded down",
            "interpolation": expert.preparations[0].interpolation,
            "library": "Pillow, Image.resize without reducing_gap",
        },
        {"step": "crop", "place": "centre, half a pixel rounded to even", "side": height},
    ]


def sentences(expert: LoadedExpert, rule: str, checked: str) -> str:
    """Return the same in a few sentences."""
    (channels, height, width), interpolation = expert.preparations[0]
    mode, coverage = expert.deployment.images, expert.deployment.coverage
    filled = "an array of bands" if mode == MODE else f"a picture decoded as {mode} and upright"
    resized = (
        f"shrink or enlarge it with Pillow's {interpolation} filter until its shorter side "
        f"has {height} pixels, and cut out the centre"
        if height == width
        else f"it must have {height}x{width} pixels"
    )
    kind = "float32" if mode == MODE else "uint8"
    return (
        f"An image classifier of {len(expert.classes[expert.target])} classes. "
        f"Input '{IMAGES}': {kind} [N, {height}, {width}, {channels}]. Outside of this file: start "
        f"from {filled}; {resized}. Inside: normalization, network, calibration, probabilities, "
        f"and the decision by the rule {rule} at coverage {coverage:g}. The file was {checked}."
    )


def with_metadata(model: onnx.ModelProto, facts: dict[str, Any], text: str) -> bytes:
    """Return the bytes of a model that says what it is.

    Args:
        model: the model.
        facts: the JSON, under the key `KEY`.
        text: the sentences.
    """
    model.doc_string = text
    model.graph.name = "expert"
    onnx.helper.set_model_props(model, {KEY: json_text(facts)})
    return model.SerializeToString(deterministic=True)
