"""Augmentation pipelines of others, and pictures of extreme shapes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tailproof.config.augmentation import Augmentation
from tailproof.config.data import Data
from tailproof.config.recipe import Recipe
from tailproof.config.validation import load_experiment
from tailproof.loading import Loader, Split
from tailproof.predict.image_files import read_images
from tailproof.predict.image_inputs import list_images
from tailproof.predict.preparation import Preparation
from tailproof.preflight.tried_transforms import tried_transforms
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun
from tests.conftest import build_data
from tests.loading.test_resizing import resized_as_a_whole

FOLDER = Path(__file__).parent / "transforms"
SIZE = 32


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "normalize",
            {
                "experts.normalize.augmentation.albumentations.1.name": "Normalize",
                "experts.to_float.augmentation.albumentations.1.name": "ToFloat",
                "experts.to_tensor.augmentation.albumentations.0.name": "ToTensorV2",
            },
        ),
        (
            "torchvision",
            {
                "recipe.augmentation.torchvision.3.name": "PILToTensor",
                "recipe.augmentation.torchvision.4.name": "ConvertImageDtype",
                "recipe.augmentation.torchvision.5.name": "Normalize",
            },
        ),
        (
            "nested",
            {
                "recipe.augmentation.albumentations.0": "OneOf",
                "recipe.augmentation.albumentations.1": "ShiftScaleRotate",
            },
        ),
    ],
)
def test_a_pipeline_is_refused_as_it_is_read_with_every_transform_at_fault(name, fields):
    with pytest.raises(TailproofError) as info:
        load_experiment(FOLDER / f"{name}.yaml")
    _, *lines = str(info.value).splitlines()
    assert len(lines) == len(fields)
    for line, (field, transform) in zip(lines, fields.items(), strict=True):
        assert f"'{field}'" in line and transform in line


def write_pictures(folder: Path, shapes: dict[str, list[tuple[int, int]]]) -> Path:
    """Write noise of several shapes, a folder a class."""
    generator = np.random.default_rng(0)
    for label, sides in shapes.items():
        (folder / label).mkdir(parents=True)
        for number, (height, width) in enumerate(sides):
            pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:02d}.png")
    return folder


def shards_of(folder: Path, root: Path) -> Path:
    source = {"name": "image_folder", "root": str(root)}
    return build_data(Data(source=source, shards_per_split=1), folder)


def loader_of(manifest, split="train", **options):
    rows = Split(manifest, split)
    plain = {"mean": [0.0] * 3, "std": [1 / 255] * 3}
    defaults = {"batch_size": 8, "image_size": SIZE, "normalization": plain}
    return Loader(rows, **{**defaults, **options})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The shards of pictures of 14 pixels."""
    folder = tmp_path_factory.mktemp("small")
    shapes = {"cat": [(14, 14)] * 24, "dog": [(14, 14)] * 24}
    return shards_of(folder, write_pictures(folder / "pictures", shapes))


@pytest.fixture(scope="module")
def extreme(tmp_path_factory):
    """Pictures of ordinary and of extreme shapes; and their shards."""
    folder = tmp_path_factory.mktemp("extreme")
    odd = [(1, 3000), (3000, 1), (2, 2500), (2500, 3), (1, 1), (1, 2), (40, 900), (900, 40)]
    shapes = {"cat": [(20, 30)] * 16 + odd, "dog": [(33, 32)] * 16 + odd}
    root = write_pictures(folder / "pictures", shapes)
    return root, shards_of(folder, root)


def test_a_crop_larger_than_the_pictures_is_refused_before_training(small):
    named = [{"name": "RandomCrop", "options": {"height": 32, "width": 32}}]
    recipe = Recipe(
        model={"name": "cifar_resnet20"},
        epochs=1,
        batch_size=16,
        image_size=14,
        augmentation={"albumentations": named},
    )
    (finding,) = tried_transforms(small, {"crop": recipe})
    assert (finding.kind, finding.severity) == ("refused_transform", "error")
    with pytest.raises(TailproofError, match=r"RandomCrop.*14×14.*pad_if_needed"):
        TrainingRun(NetworkOnImages(small, recipe), 0, ProcessGroup(1))


def test_a_crop_that_is_larger_than_some_pictures_names_one(extreme):
    named = [{"name": "RandomCrop", "options": {"height": 20, "width": 20}}]
    policy = Augmentation(albumentations=named)
    for workers in (0, 1):
        loader = loader_of(extreme[1], augmentation=policy, workers=workers)
        with pytest.raises(TailproofError, match=r"^sample .*(cat|dog).*RandomCrop"):
            list(loader.epoch(1))
        loader.close()


def test_pictures_of_any_shape_are_resized_as_whole_pictures_are(extreme):
    root, manifest = extreme
    for workers in (0, 1):
        loader = loader_of(manifest, workers=workers)
        images = torch.cat([batch.inputs for batch in loader.epoch(1)])
        loader.close()
        for sample, image in zip(loader.split.sample_ids, images, strict=True):
            pixels = np.asarray(Image.open(root / sample).convert("RGB"))
            expected = resized_as_a_whole(pixels, SIZE)
            assert np.array_equal(image.permute(1, 2, 0).round().numpy(), expected), sample


def test_predict_resizes_as_training_does(extreme):
    root, manifest = extreme
    loader = loader_of(manifest)
    files = [root / sample for sample in loader.split.sample_ids]
    images = torch.cat([batch.inputs for batch in loader.epoch(1)])
    taken = [Preparation((3, SIZE, SIZE), "bicubic")]
    read = read_images(list_images(files)[0], "RGB", taken, ahead=16, threads=2)
    for (picture,), image in zip(read, images, strict=True):
        assert np.array_equal(picture, image.permute(1, 2, 0).round().numpy())


@pytest.mark.parametrize(
    "policy",
    [
        {"flip": True, "crop_padding": 4, "cutout": 8, "line_dropout": 0.1, "noise": 0.1},
        {"albumentations": [{"name": "RandomResizedCrop"}, {"name": "Rotate"}]},
        {"torchvision": [{"name": "RandomResizedCrop"}, {"name": "RandAugment"}]},
        {"albumentations": [{"name": "SmallestMaxSize", "options": {"max_size": 256}}]},
        {"torchvision": [{"name": "Resize", "options": {"size": 256}}, {"name": "RandomCrop"}]},
    ],
    ids=["built-in", "albumentations", "torchvision", "shorter side", "shorter side, torchvision"],
)
def test_pictures_of_any_shape_are_augmented(extreme, policy):
    loader = loader_of(extreme[1], augmentation=Augmentation(**policy))
    images = torch.cat([batch.inputs for batch in loader.epoch(1)])
    assert images.shape == (len(loader.split), 3, SIZE, SIZE) and images.isfinite().all()
