"""The command `tailproof export`: an expert as one ONNX file, written only if it answers alike."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from tailproof.digests import sha256_bytes, sha256_file
from tailproof.evaluation.deployment import Deployment
from tailproof.evaluation.rejection import Rule
from tailproof.files import atomic, write_json
from tailproof.guarantees.expert_guarantees import FILE, ExpertGuarantees
from tailproof.onnx_export.compared_images import RANGES_SPLIT, Images, images_of
from tailproof.onnx_export.graph import export_graph
from tailproof.onnx_export.parity import Parity, compare, run_expert, run_file
from tailproof.predict.expert_folder import BUNDLE_FILES, FILES
from tailproof.predict.loaded_expert import LoadedExpert, load_expert
from tailproof.predict.option_rules import CHOW
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

EXTRA = ("onnx", "onnxruntime")
VERSIONS = ("tailproof", "torch", "timm", *EXTRA)
RECORD = ".json"
"""Ending of the record, after the name of the file."""

FLOAT, INT8 = "float32", "int8"


def export(folder: str, output: str, places: list[str], *, int8: bool) -> Parity:
    """Write an expert as one ONNX file, and the record of its comparison next to it.

    Args:
        folder: folder of the expert or the bundle.
        output: the file.
        places: image files and folders to compare on; by default the experiment's split dev.
        int8: whether to compute the network in 8 bits. Decisions may then differ, and the record
            says how many.

    Raises:
        TailproofError: a package is missing, the output exists or is among the results, there are
            no images, or the file would not answer as the expert does.
    """
    _check_packages()
    _check_output(output)
    expert = load_expert(folder)
    guarantees = expert.guarantees() if Path(folder, FILE).exists() else None
    images = images_of(folder, expert, places)
    log_p = run_expert(expert, images)
    graph = export_graph(expert, _rule(expert.deployment))
    ranges = None
    if int8:
        ranges = images if places else images_of(folder, expert, places, RANGES_SPLIT)
    content, parity = _checked(expert, guarantees, graph, log_p, images, ranges)
    with atomic(output) as temporary:
        temporary.write_bytes(content)
    write_json(output + RECORD, _record(folder, output, content, parity, ranges))
    return parity


def _checked(
    expert: LoadedExpert,
    guarantees: ExpertGuarantees | None,
    graph: bytes,
    log_p: dict[str, Any],
    images: Images,
    ranges: Images | None,
) -> tuple[bytes, Parity]:
    """Return the file's content, with the result of its comparison in it."""
    import onnx
    import onnxruntime

    from tailproof.onnx_export.metadata import describe, sentences, with_metadata

    model = onnx.load_from_string(graph)
    if ranges is not None:
        from tailproof.onnx_export.quantization import quantize

        model = quantize(model, ranges)
    facts = describe(expert, guarantees, CHOW)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    parity = compare(expert, guarantees, log_p, run_file(session, images), images)
    if ranges is None and not parity.passed:
        raise TailproofError(
            f"the file would not answer as the expert does, so it is not written: "
            f"{parity.sentence()}; use `tailproof predict`, or compare on other images with "
            "--images if all differences are as small as rounding"
        )
    facts |= {"precision": FLOAT if ranges is None else INT8, "parity": parity.to_jsonable()}
    text = sentences(expert, CHOW, parity.sentence())
    return with_metadata(model, facts, text), parity


def _rule(deployment: Deployment) -> Rule:
    """Return the rule that `tailproof predict` applies by default."""
    if CHOW not in deployment.rules:
        raise TailproofError(
            f"deployment.json has no rule {CHOW}, which decides in an ONNX file: build the folder "
            "again with snakemake"
        )
    return next(
        fitted.rule() for fitted in deployment.rules[CHOW] if fitted.coverage == deployment.coverage
    )


def _record(
    folder: str, output: str, content: bytes, parity: Parity, ranges: Images | None
) -> dict[str, Any]:
    """Return what the record says; it holds no time and no path, as no result does."""
    names = [name for name in sorted({*FILES, *BUNDLE_FILES, FILE}) if Path(folder, name).exists()]
    return {
        "file": Path(output).name,
        "sha256": sha256_bytes(content),
        "bytes": len(content),
        "precision": FLOAT if ranges is None else INT8,
        "ranges": ranges and ranges.source,
        "expert": {name: sha256_file(Path(folder, name)) for name in names},
        "parity": parity.to_jsonable(),
        "versions": {name: version(name) for name in VERSIONS},
    }


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise TailproofError(
            f"export needs the package {missing[0]}, which is not installed: "
            "pip install 'tailproof[onnx]'"
        )


def _check_output(output: str) -> None:
    project_paths().check_output("--onnx", output)
    for path in (output, output + RECORD):
        if Path(path).exists() or Path(path).is_symlink():
            raise TailproofError(
                f"--onnx is {output}, but {path} exists: remove it, or name a new file"
            )
