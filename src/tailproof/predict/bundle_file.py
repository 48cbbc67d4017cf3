"""bundle.json: the experts of an ensemble, how each computes, and how they are combined."""

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from tailproof.calibration.calibration_file import CalibrationFile, Sha256
from tailproof.config.base import NAME as EXPERT_NAME
from tailproof.config.base import Strict
from tailproof.config.evaluation import Ensemble
from tailproof.config.json_file import JsonFile
from tailproof.features.backbone_with_head import NAME, NAME_OF_SEVERAL
from tailproof.models.expert_config import ExpertConfig

FILE = "bundle.json"
OWN, SHARED, KNOWN = "experts", "backbones", "unknown"
"""First parts of the names of tensors: ``experts/NAME/TENSOR`` and ``backbones/1/TENSOR``; and
``unknown/NAME/TENSOR`` of what an expert keeps of the features of train."""

Weight = Annotated[float, Field(ge=0, le=1e6)]
ExpertName = Annotated[str, Field(pattern=f"^{EXPERT_NAME}$", max_length=200)]


PREFIXES = {NAME: "backbone.", NAME_OF_SEVERAL: "backbones."}
"""Of the names of a backbone's tensors in the networks of `tailproof.features`."""


class BackboneAndHead(NamedTuple):
    """The two parts of the network of a head on features.

    Attributes:
        backbone: what decides the features, as plain values: equal for equal features of images, if
            the weights are the same. It may be several backbones.
        backbone_prefix, head_prefix: of the names of the tensors of each part.
        head: a key of `tailproof.features.head_layers.HEADS`.
        head_options: further arguments of the head.
    """

    backbone: dict[str, Any]
    backbone_prefix: str
    head_prefix: str
    head: str
    head_options: dict[str, Any]


def parts_of(config: ExpertConfig) -> BackboneAndHead:
    """Return the parts of the network that `tailproof.features.merging` wrote.

    Raises:
        ValueError: it does not consist of a backbone and a head.
    """
    args, classifier = config.model_args, config.pretrained_cfg.classifier
    if prefix := PREFIXES.get(config.architecture):
        head, head_options = args.get("head"), args.get("head_options") or {}
        if not isinstance(head, str):
            raise ValueError("model_args does not name a head")
        prefixes = (prefix, "head.")
        own = {key: args[key] for key in args if key not in ("head", "head_options", "width")}
    else:
        if not isinstance(classifier, str):
            raise ValueError("pretrained_cfg.classifier is not the name of one layer")
        head, head_options, prefixes = "linear", {}, ("", f"{classifier}.")
        options = {key: value for key, value in args.items() if key != "in_chans"}
        own = {
            "backbone": config.architecture,
            "layers": ["penultimate"],
            "backbone_options": options,
            "in_chans": args["in_chans"],
        }
    taken = {"input_size", "interpolation", "mean", "std"}
    own["images"] = [one.model_dump(include=taken) for one in config.inputs]
    backbone = {key: value for key, value in own.items() if value}  # no options are empty options
    return BackboneAndHead(backbone, *prefixes, head, head_options)


class BundledExpert(Strict):
    """An expert of an ensemble.

    Attributes:
        weight: its weight in the ensemble.
        weights_sha256: SHA-256 of the model.safetensors that it is a copy of.
        backbone: number of the backbone that it shares; None if all its tensors are its own.
        config: its config.json.
        calibration: its calibration.json.
    """

    weight: Weight
    weights_sha256: Sha256
    backbone: Annotated[int, Field(ge=1, le=1000)] | None
    config: ExpertConfig
    calibration: CalibrationFile

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.calibration.weights_sha256 != self.weights_sha256:
            raise ValueError("calibration is for other weights")
        if self.backbone is not None:
            parts_of(self.config)
        return self


class BundleFile(JsonFile):
    """The content of bundle.json.

    Attributes:
        format: format of the folder.
        method: how the experts are combined: see `tailproof.evaluation.ensembles.combine`.
        seed: the seed of the experts.
        weights_sha256: SHA-256 of the model.safetensors next to it.
        experts: the experts by name.
        sources: SHA-256 of the files that it was made of, by their path in the project.
    """

    format: Literal[1] = 1
    experiment: str
    method: Ensemble
    seed: int
    weights_sha256: Sha256
    experts: Annotated[dict[ExpertName, BundledExpert], Field(min_length=2)]
    sources: dict[str, Sha256]

    @model_validator(mode="after")
    def _experts_agree(self) -> Self:
        (first, expected), *others = self.experts.items()
        target, backbones = self.target, dict[int, dict[str, Any]]()
        for name, expert in others:
            if expert.config.tailproof.target != target:
                raise ValueError(f"experts.{name} and {first} answer different ranks")
            if expert.config.classes[target] != expected.config.classes[target]:
                raise ValueError(f"experts.{name} and {first} have different classes")
        for name, expert in self.experts.items():
            if expert.backbone is not None:
                own = parts_of(expert.config).backbone
                if backbones.setdefault(expert.backbone, own) != own:
                    raise ValueError(
                        f"experts.{name} does not fit the backbone {expert.backbone} that it shares"
                    )
        if not any(expert.weight for expert in self.experts.values()):
            raise ValueError("every weight is 0")
        return self

    @property
    def target(self) -> str:
        """The taxonomic rank that is answered."""
        return next(iter(self.experts.values())).config.tailproof.target
