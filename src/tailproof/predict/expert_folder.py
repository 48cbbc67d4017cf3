"""What the folder of an expert says, read and checked before its network is built."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.data.multiband import MODE
from tailproof.evaluation.deployment import FORMAT, Deployment
from tailproof.files import unreadable
from tailproof.models.expert_config import ExpertConfig
from tailproof.predict.bundle_file import FILE as BUNDLE
from tailproof.predict.bundle_file import BundleFile
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_json

WEIGHTS, CONFIG, CALIBRATION, DEPLOYMENT = FILES = (
    "model.safetensors",
    "config.json",
    "calibration.json",
    "deployment.json",
)
BUNDLE_FILES = (WEIGHTS, BUNDLE, DEPLOYMENT)
OLD_DEPLOYMENT = "predict.json"
"""What Tailproof 0.1 wrote instead of deployment.json."""

CHANNELS = {"L": 1, "RGB": 3}


@dataclass(frozen=True)
class ExpertFolder:
    """The small files of an expert's folder, which belong together.

    Attributes:
        path: the folder.
        config: config.json: the network, how images are prepared, the classes.
        calibration: calibration.json: the calibrators.
        deployment: deployment.json: the rejection rules, how images are decoded.
    """

    path: Path
    config: ExpertConfig
    calibration: CalibrationFile
    deployment: Deployment

    @classmethod
    def read(cls, path: str | Path) -> "ExpertFolder":
        """Read the files.

        Raises:
            TailproofError: it is not the folder of an expert, lacks a file, is of another version,
                or holds files that are damaged or do not belong together.
        """
        path = Path(path)
        _check_files(path)
        _check_format(path / DEPLOYMENT)
        folder = cls(
            path,
            ExpertConfig.read(path / CONFIG),
            CalibrationFile.read(path / CALIBRATION),
            Deployment.read(path / DEPLOYMENT),
        )
        try:
            folder._check()
        except ValueError as error:
            raise TailproofError(
                f"{path} has files that do not belong together ({error}): copy the whole folder "
                "again"
            ) from None
        return folder

    def _check(self) -> None:
        _check_expert(self.config, self.calibration, self.deployment)

    @property
    def made_for(self) -> dict[str, str]:
        """The SHA-256 of the weights that each file was made for."""
        return {
            CALIBRATION: self.calibration.weights_sha256,
            DEPLOYMENT: self.deployment.weights_sha256,
        }


@dataclass(frozen=True)
class BundleFolder:
    """The small files of the folder of an ensemble, which belong together.

    Attributes:
        path: the folder.
        bundle: bundle.json: the experts, and how they are combined.
        deployment: deployment.json: the rejection rules, how images are decoded.
    """

    path: Path
    bundle: BundleFile
    deployment: Deployment

    @classmethod
    def read(cls, path: str | Path) -> "BundleFolder":
        """Read the files.

        Raises:
            TailproofError: the folder lacks a file, is of another version, or holds files that are
                damaged or do not belong together.
        """
        path = Path(path)
        _check_files(path, BUNDLE_FILES)
        _check_format(path / DEPLOYMENT)
        folder = cls(path, BundleFile.read(path / BUNDLE), Deployment.read(path / DEPLOYMENT))
        for name, expert in folder.bundle.experts.items():
            try:
                _check_expert(expert.config, expert.calibration, folder.deployment)
            except ValueError as error:
                raise TailproofError(
                    f"{path} has files that do not belong together: the expert {name} of {BUNDLE} "
                    f"({error}): copy the whole folder again"
                ) from None
        return folder

    @property
    def made_for(self) -> dict[str, str]:
        """The SHA-256 of the weights that each file was made for."""
        return {
            BUNDLE: self.bundle.weights_sha256,
            DEPLOYMENT: self.deployment.weights_sha256,
        }


def is_bundle(path: str | Path) -> bool:
    """Return whether a folder holds an ensemble."""
    return _is_there(Path(path) / BUNDLE)


def full_scale(deployment: Deployment) -> float:
    """Return the value of a white pixel."""
    return 1.0 if deployment.images == MODE else 255.0


def _check_expert(
    config: ExpertConfig, calibration: CalibrationFile, deployment: Deployment
) -> None:
    classes, target = config.classes, config.tailproof.target
    mode, channels = deployment.images, config.pretrained_cfg.input_size[0]
    if CHANNELS.get(mode, channels) != channels:
        raise ValueError(
            f"{DEPLOYMENT} decodes images as {mode}, but {CONFIG} has {channels} channels"
        )
    ranks = set(calibration.other_ranks)
    if ranks != classes.keys() - {target}:
        raise ValueError(
            f"{CALIBRATION} has other_ranks {sorted(ranks)!a:.80}, but {CONFIG} has heads "
            f"{list(classes)!a:.80} with the target {target!a:.80}"
        )
    for rank, calibrator in calibration.calibrators(target).items():
        if calibrator.bias is not None and len(calibrator.bias) != len(classes[rank]):
            raise ValueError(
                f"{CALIBRATION} has a calibrator of {rank!a:.80} for {len(calibrator.bias)} "
                f"classes, but {CONFIG} has {len(classes[rank])}"
            )
    try:
        deployment.check_classes(classes[target])
    except ValueError as error:
        raise ValueError(f"{DEPLOYMENT}: {error}") from None


def check_weights(folder: ExpertFolder | BundleFolder, digest: str) -> None:
    """Check that the files of a folder were made for its weights.

    Args:
        folder: the files.
        digest: SHA-256 of model.safetensors.

    Raises:
        TailproofError: a file was made for others.
    """
    for name, expected in folder.made_for.items():
        if expected != digest:
            raise TailproofError(
                f"{folder.path / name} does not belong to {folder.path / WEIGHTS}, expected "
                f"weights with SHA-256 {expected[:12]}…, found {digest[:12]}…: copy the whole "
                "folder again"
            )


def _check_format(path: Path) -> None:
    value = read_json(path)
    written = value.get("format") if isinstance(value, dict) else None
    if isinstance(written, int) and written != FORMAT:
        age = "a later" if written > FORMAT else "an earlier"
        raise TailproofError(
            f"{path.parent} was written by {age} version of Tailproof (format {written}; version "
            f"{version('tailproof')} reads format {FORMAT}): use that version, or build the folder "
            "again with this one"
        )


def _check_files(folder: Path, files: tuple[str, ...] = FILES) -> None:
    missing = [name for name in files if not _is_there(folder / name)]
    if not missing:
        return
    if not folder.is_dir():
        raise TailproofError(
            f"{folder} is not a folder, expected the folder of an expert with {FILES[0]}; unpack "
            "an archive first"
        )
    if missing == [DEPLOYMENT] and (folder / OLD_DEPLOYMENT).exists():
        raise TailproofError(
            f"{folder} was written by Tailproof 0.1, which wrote {OLD_DEPLOYMENT}: use that "
            "version, or build the folder again with this one"
        )
    if files == BUNDLE_FILES:
        raise TailproofError(
            f"{folder} has no {' and no '.join(missing)}: copy the whole folder of the ensemble, "
            "or build it again with `tailproof bundle`"
        )
    if len(missing) == 1:
        raise TailproofError(
            f"{folder} has no {missing[0]}: copy the whole folder of the expert, or build the "
            "missing file with snakemake"
        )
    seeds = sorted(path.name for path in folder.glob("seed-*"))
    hint = f"; give one of its seeds, such as {folder / seeds[0]}" if seeds else ""
    raise TailproofError(
        f"{folder} is not the folder of an expert, because it has no {', '.join(missing)}; "
        f"expected results/NAME/experts/EXPERT/seed-S or a copy of it{hint}"
    )


def _is_there(path: Path) -> bool:
    """Return whether a file of any kind has this path; what is no regular file is refused later."""
    try:
        return path.is_symlink() or path.exists()
    except OSError as error:
        raise unreadable(path, error) from None
