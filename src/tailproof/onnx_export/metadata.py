"""What an exported file says of itself: classes, preparation of images, rules, comparison.

The file holds it twice: as JSON for programs, and in a few sentences for people.
"""

from typing import Any

import onnx

from tailproof.data.multiband import MODE
from tailproof.files import json_text
from tailproof.guarantees.expert_guarantees import ExpertGuarantees
from tailproof.onnx_export.graph import ACCEPTED, CLASS, LOGITS, input_names, output_names
from tailproof.predict.loaded_expert import LoadedExpert
from tailproof.predict.network import Network
from tailproof.predict.preparation import Preparation

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
    deployment, posterior = expert.deployment, expert.posterior
    return {
        "format": FORMAT,
        "experiment": deployment.experiment,
        "expert": deployment.expert,
        "seed": deployment.seed,
        "weights_sha256": deployment.weights_sha256,
        "target": expert.target,
        "classes": expert.classes,
        "inputs": [
            {"name": name, **_input(preparation, deployment.images)}
            for name, preparation in zip(input_names(expert), expert.preparations, strict=True)
        ],
        "inside": {
            "networks": [_network(network, expert) for network in expert.networks],
            "experts": {
                name: {
                    "calibrators": {
                        rank: calibrator.to_jsonable()
                        for rank, calibrator in outputs.calibrators.items()
                    }
                }
                for name, outputs in posterior.outputs.items()
            },
            "ensemble": posterior.method or None,
            "weights": list(posterior.weights),
            "decision": {"rule": rule, "coverage": deployment.coverage},
        },
        "outputs": {
            LOGITS: "raw logits of all experts and ranks, float32",
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


def _network(network: Network, expert: LoadedExpert) -> dict[str, Any]:
    names = input_names(expert)
    inputs = [
        {
            "name": names[expert.preparations.index(preparation)],
            "mean": normalize.mean.tolist(),
            "std": normalize.std.tolist(),
        }
        for preparation, normalize in zip(network.preparations, network.normalize, strict=True)
    ]
    return {"inputs": inputs, "outputs": network.outputs}


def _input(preparation: Preparation, mode: str) -> dict[str, Any]:
    """Return what an input is, and the steps from a file to it, which ONNX cannot express."""
    (channels, height, width), interpolation = preparation
    decode: dict[str, Any] = {
        "step": "decode",
        "mode": mode,
        "upright": "by the EXIF orientation",
        "transparent": "over white, or over black if white would hide the drawing",
        "profile": "ignored",
        "frames": "the first",
    }
    steps: list[dict[str, Any]] = [{"step": "read", "format": ".npy"} if mode == MODE else decode]
    if height == width:
        steps += [
            {
                "step": "resize",
                "shorter_side": height,
                "longer_side": "rounded down",
                "interpolation": interpolation,
                "library": "Pillow, Image.resize",
            },
            {"step": "crop", "place": "centre; half a pixel is rounded to even", "side": height},
        ]
    return {
        "type": "float32" if mode == MODE else "uint8",
        "layout": "NHWC",
        "height": height,
        "width": width,
        "channels": channels,
        "outside": steps,
    }


def sentences(expert: LoadedExpert, rule: str, compared: str) -> str:
    """Return the same in a few sentences.

    Args:
        expert: the expert.
        rule: the rule of the file's decision.
        compared: how it compares with the expert.
    """
    mode, coverage = expert.deployment.images, expert.deployment.coverage
    start = "an array of bands" if mode == MODE else f"a picture decoded as {mode} and upright"
    inputs = []
    for name, preparation in zip(input_names(expert), expert.preparations, strict=True):
        (channels, height, width), interpolation = preparation
        fitted = f"of exactly {height}x{width} pixels"
        if height == width:
            fitted = (
                f"resized by Pillow with the filter {interpolation} until its shorter side has "
                f"{height} pixels, and cropped to the square in its centre"
            )
        kind = "float32" if mode == MODE else "uint8"
        inputs.append(
            f"Input '{name}', {kind} [N, {height}, {width}, {channels}]: {start}, {fitted}."
        )
    return (
        f"An image classifier of {len(expert.classes[expert.target])} classes. {' '.join(inputs)} "
        "Decoding and resizing are outside this file. Inside are normalization, network, "
        f"calibration, probabilities, and the decision by the rule {rule} at coverage "
        f"{coverage:g}. The file was {compared}."
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
