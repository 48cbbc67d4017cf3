"""The stage teach: what an ensemble answers for the training samples, for students to learn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.calibration.calibrator import Calibrator
from tailproof.config.evaluation import STACKED
from tailproof.data.logits import Block, LabelledSamples, LogitsFile, write_logits
from tailproof.digests import digest_of
from tailproof.evaluation.bootstrap import finite_or_none
from tailproof.evaluation.ensembles import combine
from tailproof.evaluation.predictions import fit_stacked, predict_ensemble
from tailproof.evaluation.probabilities import Prediction, Streamed, of_rank
from tailproof.evaluation.task import FITTED_ON
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.stages import job_of, paths_by

TAUGHT = "train"


class Teaching(NamedTuple):
    """The files of one expert of an ensemble.

    Attributes:
        raw: its raw logits on train.
        calibration: its calibration.json.
        tune: its calibrated logits on tune.
    """

    raw: str | Path
    calibration: str | Path
    tune: str | Path


def teaching_of(experts: Iterable[str], paths: Iterable[str]) -> dict[str, Teaching]:
    """Return the files of each expert.

    Args:
        experts: names of the experts.
        paths: outputs of the stages infer, calibrate and export.
    """
    by_stage: dict[str, list[str]] = {"infer": [], "calibrate": [], "export": []}
    for path in paths:
        stage, _ = job_of(path) or ("", "")
        by_stage[stage].append(path)
    files = [paths_by(stage, ("expert",), own) for stage, own in by_stage.items()]
    return {name: Teaching(*(own[name] for own in files)) for name in experts}


def teach(experts: Mapping[str, Teaching], seed: int, output: str | Path) -> dict[str, Any]:
    """Write the log-probabilities of the stacked ensemble for the samples of train.

    Its weights are fitted on tune, as the evaluation fits them.

    Args:
        experts: the files of each expert.
        seed: the seed of the experts.
        output: a file of logits, readable by `tailproof.data.logits`.

    Returns:
        The weights, and for train and tune how often the ensemble is right and how sure it is: an
        ensemble that is much better on train than on tune has memorized the labels of train.

    Raises:
        TailproofError: files are damaged, or are not of the same weights, samples and classes.
    """
    tune = _open({name: files.tune for name, files in experts.items()})
    train = _open({name: files.raw for name, files in experts.items()})
    calibrators = [_calibrator(experts[name], file) for name, file in train.items()]
    weights = fit_stacked(list(tune.values()))
    first = next(iter(train.values()))
    target = first.metadata["target"]
    metadata = {
        "expert": STACKED,
        "seed": seed,
        "split": TAUGHT,
        "target": target,
        "weights_sha256": digest_of([file.metadata["weights_sha256"] for file in train.values()]),
    }
    labels = {target: first.target}
    samples = LabelledSamples(first.sample_ids, labels, first.weight, metadata)
    classes = {target: first.classes[target]}
    write_logits(output, samples, classes, _answers(list(train.values()), calibrators, weights))
    written = LogitsFile.open(output)
    blocks = Streamed(classes[target], lambda: of_rank(written, target))
    return {
        "weights": dict(zip(train, map(finite_or_none, weights), strict=True)),
        TAUGHT: _known(Prediction(blocks, written.target)),
        FITTED_ON: _known(predict_ensemble(STACKED, list(tune.values()), weights)),
    }


def _open(paths: Mapping[str, str | Path]) -> dict[str, LogitsFile]:
    """Open the logits of all experts on one split.

    Raises:
        TailproofError: they are not of the same samples and classes.
    """
    files = {name: LogitsFile.open(path) for name, path in paths.items()}
    (_, first), *others = files.items()
    target = first.metadata["target"]
    for _, file in others:
        same = np.array_equal(file.sample_ids, first.sample_ids)
        if not same or file.classes.get(target) != first.classes[target]:
            raise TailproofError(
                f"{file.path} and {first.path} have different samples or classes: run snakemake "
                "again with --forcerun infer"
            )
    return files


def _calibrator(files: Teaching, raw: LogitsFile) -> Calibrator:
    """Return what calibrates the raw logits of an expert.

    Raises:
        TailproofError: it was fitted on logits of other weights.
    """
    fitted = CalibrationFile.read(files.calibration)
    if raw.metadata["weights_sha256"] != fitted.weights_sha256:
        raise TailproofError(
            f"{raw.path} was computed with the weights {raw.metadata['weights_sha256'][:12]}…, "
            f"but {files.calibration} was fitted on {fitted.weights_sha256[:12]}…: run snakemake "
            "again with --forcerun infer calibrate"
        )
    target = raw.metadata["target"]
    return fitted.calibrators(target)[target]


def _answers(
    files: Sequence[LogitsFile], calibrators: Sequence[Calibrator], weights: np.ndarray
) -> Iterator[Block]:
    """Yield the log-probabilities of the ensemble, block by block."""
    target = files[0].metadata["target"]
    for parts in zip(*(file.blocks(target) for file in files), strict=True):
        calibrated = [
            calibrator.apply(block[target]).astype(np.float32)
            for calibrator, (_, block) in zip(calibrators, parts, strict=True)
        ]
        yield {target: combine(STACKED, np.stack(calibrated), weights).astype(np.float32)}


def _known(prediction: Prediction) -> dict[str, float | None]:
    """Return how often a prediction is right and how sure it is, as means over classes."""
    classes, labels = np.unique(prediction.labels, return_inverse=True)
    counts = np.bincount(labels, minlength=len(classes))

    def mean(values: np.ndarray) -> float | None:
        of_class = np.bincount(labels, weights=values, minlength=len(classes)) / counts
        return finite_or_none(of_class.mean())

    return {
        "balanced_accuracy": mean(prediction.correct),
        "confidence": mean(prediction.confidence),
    }
