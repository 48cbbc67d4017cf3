"""Checks files of an experiment against each other, so that forged records prove nothing.

Whoever changes a file can also rewrite the records of it and of all that follows. These checks
use no record's digest, but what the files say of each other: pixels and labels of the shards
against samples.parquet and the thumbnails, logits against shards and calibrators, metrics against
logits, the recipe in an expert's folder against the configuration that its job got.
"""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tailproof.calibration.calibrate import calibrate
from tailproof.calibration.calibrated_logits import (
    calibrate_block,
    calibrated_metadata,
    check_calibrators,
)
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.calibration.calibrator import Calibrator
from tailproof.config.calibration import Calibration
from tailproof.config.splits import SPLITS, UNKNOWN_SPLITS
from tailproof.data.grey_thumbnail import read_thumbnails, thumbnail
from tailproof.data.images import decode, pixel_digest
from tailproof.data.logits import LogitsFile
from tailproof.data.tables import numbers, read_parquet, table_metadata
from tailproof.evaluation.teacher import teach, teaching_of
from tailproof.files import read_json
from tailproof.guarantees.unknown_scores import LOGIT_SCORES, logit_scores
from tailproof.provenance.training_checks import other_accuracy, other_best, right_answers
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.records import Record
from tailproof.runtime.stages import STAGES
from tailproof.text import quantity

TRAIN_IMAGES = 10_000
"""Images of train that are decoded, evenly from all; of the other splits, all are."""

SCORED = "unknown_scores.parquet"
BATCH = 256
TOLERANCE = 1e-6  # relative; another processor computes other last digits
THUMBNAIL_TOLERANCE = 2  # grey values; another processor rounds otherwise
FACTOR_TOLERANCE = 1e-3  # absolute; of a vector or matrix, where an optimizer stops


class CrossChecks:
    """The checks of one experiment.

    Args:
        folder: the results of the experiment.
        ledger: its ledger.
        proven: paths of the files that match their records; others are reported already, and no
            check uses them.
        all_images: whether all images of train are decoded, not only `TRAIN_IMAGES` of them.

    Attributes:
        notes: sentences about what was not checked.
    """

    def __init__(
        self, folder: Path, ledger: Ledger, proven: Collection[str], *, all_images: bool = False
    ) -> None:
        self._folder, self._ledger, self._proven = folder, ledger, proven
        self._all_images = all_images
        self.notes: list[str] = []

    def contradictions(self) -> list[str]:
        """Return a sentence for each contradiction between two files."""
        checks: list[Callable[[], Iterator[str]]] = [self._shards, self._metrics]
        sentences = [sentence for check in checks for sentence in _sentences(check())]
        for record in self._ledger:
            check = {
                "train": self._recipe,
                "infer": self._raw_logits,
                "calibrate": self._calibrator,
                "export": self._calibrated_logits,
                "teach": self._teacher,
                "card": self._card,
                "cross_fit": self._cross_fit,
                "draws": self._draws,
            }.get(record.rule)
            if check and self._is_proven(record):
                sentences += _sentences(check(record))
        return sentences

    def _is_proven(self, record: Record) -> bool:
        return all(file.path in self._proven for file in record.outputs)

    def _shards(self) -> Iterator[str]:
        """Compare shards with samples.parquet, splits.parquet and the manifest."""
        for name, splits in (("manifest.json", SPLITS), ("unknown.json", UNKNOWN_SPLITS)):
            yield from self._shards_of(self._folder / "shards" / name, splits)

    def _shards_of(self, manifest: Path, splits: tuple[str, ...]) -> Iterator[str]:
        table, splitting = self._folder / "samples.parquet", self._folder / "splits.parquet"
        if not self._all_proven(manifest, table, splitting):
            return
        thumbnails = self._folder / "near_duplicates" / "thumbnails.parquet"
        samples = _Samples(table, splitting, thumbnails if self._all_proven(thumbnails) else None)
        for split in splits:
            facts = read_json(manifest)["splits"][split]
            listed = facts["shards"]
            yield from samples.other_counts(manifest, split, facts)
            for shard in listed:
                path = manifest.parent / shard["path"]
                if not self._all_proven(path):
                    continue
                recorded = self._ledger.files[path.as_posix()]
                if (recorded.sha256, recorded.bytes) != (shard["sha256"], shard["bytes"]):
                    yield f"{path} is not the shard that {manifest} lists"
                yield from samples.differences(path, self._step(split, shard["rows"], listed))

    def _step(self, split: str, rows: int, listed: list[dict[str, Any]]) -> int:
        """Return the distance of the images of a shard that are decoded."""
        total = sum(shard["rows"] for shard in listed)
        if split != "train" or self._all_images or total <= TRAIN_IMAGES:
            return 1
        step = -(-total // TRAIN_IMAGES)
        if not self.notes:
            self.notes.append(
                f"the pixels of one in {step} of the {total:,} images of train were compared with "
                "samples.parquet; --all-images compares all"
            )
        return step

    def _recipe(self, record: Record) -> Iterator[str]:
        """Compare the recipe and the history in an expert's folder with its job."""
        paths = {Path(file.path).name: file.path for file in record.outputs}
        config, training = (read_json(paths[name]) for name in ("config.json", "training.json"))
        stated, given = config["tailproof"]["recipe"], record.parameters["recipe"]
        if given and stated != given:
            keys = [key for key in given if stated.get(key) != given[key]]
            yield f"{paths['config.json']}: recipe.{keys[0]} differs from the recipe of its job"
        if [config["tailproof"]["seed"]] != record.seeds:
            yield f"{paths['config.json']}: the seed differs from the seed of its job"
        if training["best"]["monitor"] != stated["monitor"]:
            yield f"{paths['training.json']}: the monitor differs from the monitor of the recipe"
        yield from other_best(Path(paths["training.json"]).parent, training)

    def _raw_logits(self, record: Record) -> Iterator[str]:
        """Compare the labels and weights in logits with the samples, and name their network."""
        weights = next(file for file in record.inputs if file.path.endswith("model.safetensors"))
        samples = _Samples(self._folder / "samples.parquet", self._folder / "splits.parquet")
        for file in record.outputs:
            logits = LogitsFile.open(file.path)
            if logits.metadata["weights_sha256"] != weights.sha256:
                yield f"{file.path}: the logits were not computed with {weights.path}"
            yield from samples.other_labels(file.path, logits)
            for _ in logits.blocks():
                pass  # it checks them
        folder = Path(weights.path).parent
        if self._all_proven(folder / "history.csv", folder / "config.json"):
            recipe = read_json(folder / "config.json")["tailproof"]["recipe"]
            val = next(file.path for file in record.outputs if file.path.endswith("/val.parquet"))
            yield from other_accuracy(folder, recipe, Path(val))
        if self._all_proven(folder / SCORED):
            yield from self._unknown_scores(folder, record)

    def _unknown_scores(self, folder: Path, record: Record) -> Iterator[str]:
        """Compare the scores of logits in unknown_scores.parquet with the logits."""
        stored = read_parquet(folder / SCORED, ["sample_id", "split", *LOGIT_SCORES])
        for file in record.outputs:
            split = Path(file.path).stem
            rows = stored.filter(pc.equal(stored["split"], split))
            if not len(rows):
                continue
            logits = LogitsFile.open(file.path)
            target = logits.metadata["target"]
            scores = logit_scores(np.concatenate([one[target] for _, one in logits.blocks(target)]))
            order = pc.index_in(rows["sample_id"], pa.array(logits.sample_ids.tolist())).to_numpy()
            for name in LOGIT_SCORES:
                stated = rows[name].to_numpy()
                if not np.allclose(stated, scores[name][order], rtol=1e-4, atol=1e-4):
                    yield f"{folder / SCORED}: {name} of {split} is not that of {file.path}"

    def _calibrator(self, record: Record) -> Iterator[str]:
        """Fit the calibrators again."""
        raw = {Path(file.path).stem: file.path for file in record.inputs}
        output = record.outputs[0].path
        with TemporaryDirectory() as folder:
            config = Calibration(**record.parameters["calibration"])
            again = Path(folder, "calibration.json")
            calibrate(raw, config, again)
            fits = [CalibrationFile.read(path) for path in (output, again)]
        target = LogitsFile.open(next(iter(raw.values()))).metadata["target"]
        stated, fitted = (fit.calibrators(target) for fit in fits)
        for rank, calibrator in fitted.items():
            if rank not in stated or not _same_calibrator(stated[rank], calibrator):
                yield (
                    f"{output}: the calibrator of '{rank}' differs from the {calibrator.kind} that "
                    f"{', '.join(raw.values())} give"
                )

    def _calibrated_logits(self, record: Record) -> Iterator[str]:
        """Compare calibrated logits with raw logits and calibrators."""
        raw = {Path(file.path).stem: file.path for file in record.inputs}
        fitted = CalibrationFile.read(raw.pop("calibration"))
        for file in record.outputs:
            source = raw[Path(file.path).stem]
            logits, uncalibrated = LogitsFile.open(file.path), LogitsFile.open(source)
            by_rank = fitted.calibrators(uncalibrated.metadata["target"])
            check_calibrators(uncalibrated.classes, by_rank)
            used = {rank: by_rank[rank] for rank in uncalibrated.classes}
            metadata = calibrated_metadata(uncalibrated.metadata, used)
            wrong = _other_rows(logits, uncalibrated, metadata, used)
            if wrong:
                yield (
                    f"{file.path}: the logits of {quantity(wrong, 'row')} differ from those of "
                    f"{source} with the calibrators of calibration.json"
                )

    def _teacher(self, record: Record) -> Iterator[str]:
        """Compute again what an ensemble answers for train."""
        output, inputs = record.outputs[0].path, [file.path for file in record.inputs]
        with TemporaryDirectory() as folder:
            path = Path(folder, "teacher.parquet")
            (seed,) = record.seeds
            teach(teaching_of(record.parameters["experts"], inputs), seed, path)
            stated, again = LogitsFile.open(output), LogitsFile.open(path)
            same = {again.metadata["target"]: Calibrator()}
            wrong = _other_rows(stated, again, again.metadata, same, FACTOR_TOLERANCE)
        if wrong:
            yield (
                f"{output}: the answers for {quantity(wrong, 'row')} differ from those of the "
                "ensemble of its experts"
            )

    def _card(self, record: Record) -> Iterator[str]:
        """Compare the network that the files of an expert's folder were made for with its own."""
        weights = next(file for file in record.inputs if file.path.endswith("model.safetensors"))
        folder = Path(weights.path).parent
        for name in ("calibration.json", "deployment.json", "guarantees.json"):
            path = folder / name
            if self._all_proven(path) and read_json(path)["weights_sha256"] != weights.sha256:
                yield f"{path} was not made for {weights.path}"

    def _metrics(self) -> Iterator[str]:
        """Compute the accuracies in metrics.json again."""
        path = self._folder / "evaluation" / "metrics.json"
        if not self._all_proven(path):
            return
        pattern = STAGES["export"].outputs[0]
        for expert, facts in read_json(path)["experts"].items():
            for seed, splits in facts["seeds"].items():
                for split, metrics in splits.items():
                    name = pattern.format(expert=expert, seed=seed, split=split)
                    if not self._all_proven(self._folder / name):
                        continue
                    top1 = float(np.mean(right_answers(LogitsFile.open(self._folder / name))))
                    if not np.isclose(metrics["top1"]["value"], top1, rtol=TOLERANCE):
                        yield (
                            f"{path}: top1 of {expert}, seed {seed}, on {split} is "
                            f"{metrics['top1']['value']}, but its logits give {top1:.6g}"
                        )

    def _cross_fit(self, record: Record) -> Iterator[str]:
        """Compute the accuracies in the metrics of all folds again; each sample counts once."""
        path = next(file.path for file in record.outputs if file.path.endswith(".json"))
        tested: dict[tuple[str, str], list[LogitsFile]] = {}
        for file in record.inputs:
            if file.path.endswith("/logits/test.parquet"):
                logits = LogitsFile.open(file.path)
                job = logits.metadata["expert"], str(logits.metadata["seed"])
                tested.setdefault(job, []).append(logits)
        experts = read_json(path)["experts"]
        for (expert, seed), parts in tested.items():
            ids = np.concatenate([part.sample_ids for part in parts])
            if len(set(ids)) < len(ids):
                yield f"{path}: a sample is in test of two folds"
            right = np.concatenate([right_answers(part) for part in parts])
            stated = experts[expert]["seeds"][seed]["test"]["top1"]["value"]
            if not np.isclose(stated, right.mean(), rtol=TOLERANCE):
                yield (
                    f"{path}: top1 of {expert}, seed {seed}, is {stated}, but the logits of all "
                    f"folds give {right.mean():.6g}"
                )

    def _draws(self, record: Record) -> Iterator[str]:
        """Compute the mean accuracies over draws again."""
        path = next(file.path for file in record.outputs if file.path.endswith(".json"))
        stated, metrics = read_json(path), [read_json(file.path) for file in record.inputs]
        for kind in ("experts", "ensembles"):
            for method, over in stated[kind].items():
                of_draws = [draw[kind][method]["over_seeds"]["test"]["top1"] for draw in metrics]
                mean = float(np.mean([value["mean"] for value in of_draws]))
                if not np.isclose(over["top1"]["mean"], mean, rtol=TOLERANCE):
                    yield (
                        f"{path}: top1 of {method} is {over['top1']['mean']}, but the metrics of "
                        f"all draws give {mean:.6g}"
                    )

    def _all_proven(self, *paths: Path) -> bool:
        return all(path.as_posix() in self._proven for path in paths)


class _Samples:
    """What samples.parquet, splits.parquet and maybe the thumbnails say of each sample."""

    def __init__(self, samples: Path, splits: Path, thumbnails: Path | None = None) -> None:
        metadata = table_metadata(samples)
        self._classes: dict[str, list[str]] = metadata["classes"]
        self._table = read_parquet(samples, ["sample_id", "digest", *metadata["ranks"]])
        self._weights = read_parquet(splits, ["sample_id", "split", "weight"])
        self._rows = _row_by_id(self._table)
        self._weight_rows = _row_by_id(self._weights)
        self._thumbnails: tuple[dict[str, int], np.ndarray] | None = None
        self._place = thumbnails
        if thumbnails:
            names, pictures = read_thumbnails(thumbnails)
            rows = {name: row for row, name in enumerate(names.to_pylist())}
            self._thumbnails = rows, pictures

    def differences(self, path: Path, step: int) -> Iterator[str]:
        """Compare the images, labels and weights of a shard with the samples.

        Args:
            path: the shard.
            step: every how many rows an image is decoded.
        """
        stored = read_parquet(path, ["sample_id", "weight", *self._classes])
        labels = {rank: numbers(stored[rank]) for rank in self._classes}
        ids = stored["sample_id"].to_pylist()
        yield from self._other_facts(path, ids, labels, numbers(stored["weight"]))
        digests = self._table["digest"].take(pa.array([self._rows[name] for name in ids]))
        wrong, unlike = [], []
        for row, digest, picture in _images(path, step):
            if digest != digests[row].as_py():
                wrong.append(ids[row])
            elif self._thumbnails and self._is_unlike(ids[row], picture):
                unlike.append(ids[row])
        if wrong:
            yield (
                f"{path}: the pixels of {quantity(len(wrong), 'image')} differ from those that "
                f"samples.parquet lists; the first is {wrong[0]}"
            )
        if unlike:
            yield (
                f"{self._place}: {quantity(len(unlike), 'thumbnail')} of the images in {path} "
                f"{'shows' if len(unlike) == 1 else 'show'} other pixels; the first is {unlike[0]}"
            )

    def other_counts(self, manifest: Path, split: str, facts: dict[str, Any]) -> Iterator[str]:
        """Compare the counts of a split in the manifest with the samples."""
        names = self._weights.filter(pc.equal(self._weights["split"], split))["sample_id"]
        rows = self._table.take(pa.array([self._rows[name] for name in names.to_pylist()]))
        if facts["rows"] != len(rows):
            yield f"{manifest}: {split} has {facts['rows']} rows, but the samples have {len(rows)}"
        for rank, counts in facts["class_counts"].items():
            counted = rows[rank].drop_null().value_counts().to_pylist()
            actual = {one["values"]: one["counts"] for one in counted}
            if {name: count for name, count in counts.items() if count} != actual:
                yield f"{manifest}: the counts of '{rank}' in {split} are not those of the samples"

    def _is_unlike(self, name: str, picture: np.ndarray) -> bool:
        """Return whether the thumbnail of a sample shows another picture, or none."""
        rows, pictures = self._thumbnails or ({}, picture)
        if name not in rows:
            return True
        difference = pictures[rows[name]].astype(np.int16) - picture
        return bool(np.abs(difference).max() > THUMBNAIL_TOLERANCE)

    def other_labels(self, path: str, logits: LogitsFile) -> Iterator[str]:
        """Compare the labels and weights of logits with the samples."""
        ids = logits.sample_ids.tolist()
        labels = {rank: logits.labels[rank] for rank in self._classes if rank in logits.labels}
        yield from self._other_facts(path, ids, labels, logits.weight)

    def _other_facts(
        self, path: str | Path, ids: list[str], labels: dict[str, np.ndarray], weight: np.ndarray
    ) -> Iterator[str]:
        rows = pa.array([self._rows[name] for name in ids])
        for rank, values in labels.items():
            index = pa.array(self._classes[rank])
            listed = self._table[rank].take(rows).combine_chunks()
            codes = pc.index_in(listed, index).fill_null(-1).to_numpy(zero_copy_only=False)
            yield from _first_difference(path, ids, codes != values, f"the label of '{rank}'")
        weights = pa.array([self._weight_rows[name] for name in ids])
        listed = self._weights["weight"].take(weights).to_numpy()
        yield from _first_difference(path, ids, listed != weight, "the weight")


def _row_by_id(table: pa.Table) -> dict[str, int]:
    return {name: row for row, name in enumerate(table["sample_id"].to_pylist())}


def _first_difference(
    path: str | Path, ids: list[str], wrong: np.ndarray, what: str
) -> Iterator[str]:
    if wrong.any():
        yield (
            f"{path}: {what} of {quantity(int(wrong.sum()), 'row')} differs from the samples; the "
            f"first is {ids[int(wrong.argmax())]}"
        )


def _images(path: Path, step: int) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield the row of every `step`-th image of a shard, its digest and its thumbnail."""

    def seen(image: bytes) -> tuple[str, np.ndarray]:
        pixels = decode(image)
        return pixel_digest(pixels), thumbnail(pixels)

    start = 0
    with ThreadPoolExecutor() as pool, pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=["image"]):
            rows = range(-start % step, len(batch), step)
            images = batch["image"].field("bytes").take(pa.array(rows, pa.int64())).to_pylist()
            for row, facts in zip(rows, pool.map(seen, images), strict=True):
                yield start + row, *facts
            start += len(batch)


def _same_calibrator(stated: Calibrator, fitted: Calibrator) -> bool:
    """Return whether two calibrators agree up to the tolerances."""
    if stated.kind != fitted.kind:
        return False
    parts = [] if stated.factors is None else ["factors", "bias"]
    return bool(np.isclose(stated.temperature, fitted.temperature, rtol=TOLERANCE)) and all(
        getattr(stated, part).shape == getattr(fitted, part).shape
        and np.allclose(getattr(stated, part), getattr(fitted, part), atol=FACTOR_TOLERANCE)
        for part in parts
    )


def _other_rows(
    logits: LogitsFile,
    raw: LogitsFile,
    metadata: dict[str, Any],
    calibrators: dict[str, Calibrator],
    tolerance: float = TOLERANCE,
) -> int:
    """Return the number of rows in which logits differ from calibrated raw ones.

    Args:
        logits: the logits.
        raw: the raw logits.
        metadata: what the metadata of the logits should be.
        calibrators: the calibrator of each rank.
        tolerance: of the logits, absolute and relative.
    """
    if (
        logits.metadata != metadata
        or logits.classes != raw.classes
        or logits.sample_ids.tolist() != raw.sample_ids.tolist()
    ):
        return len(logits)
    wrong = logits.weight != raw.weight
    for rank, values in raw.labels.items():
        wrong |= logits.labels[rank] != values
    for (rows, stated), (_, block) in zip(logits.blocks(), raw.blocks(), strict=True):
        for rank, values in calibrate_block(block, calibrators).items():
            same = np.isclose(stated[rank], values, rtol=tolerance, atol=tolerance)
            wrong[rows] |= ~same.all(axis=1)
    return int(wrong.sum())


def _sentences(check: Iterator[str]) -> list[str]:
    """Return the sentences of a check; the reason if it cannot read what it compares."""
    try:
        return list(check)
    except (TailproofError, pa.ArrowException, OSError) as error:
        return [str(error)]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [f"a result cannot be compared with the others ({type(error).__name__}: {error})"]
