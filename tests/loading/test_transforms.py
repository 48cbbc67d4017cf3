"""Transforms of albumentations and torchvision: names, options, seeds, and what is refused."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.config.augmentation import Augmentation
from tailproof.config.transforms import ALBUMENTATIONS, LIBRARIES, TORCHVISION
from tailproof.loading import Loader, Split
from tailproof.loading.transform_trial import TransformTrial
from tailproof.loading.transforms import ImageAugment, import_library, parameters_of
from tailproof.runtime.errors import Interrupted, TailproofError

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (32, 48, 1), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (32, 48, 3), dtype=np.uint8)
BANDS = GENERATOR.normal(0, 50, (32, 48, 5)).astype(np.float32)

# What a transform needs, so that it changes something.
ALBUMENTATIONS_OPTIONS = {
    "Affine": {"rotate": [-20, 20]},
    "CenterCrop": {"height": 16, "width": 16},
    "Crop": {"x_max": 16, "y_max": 16},
    "CropAndPad": {"px": 2},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "LongestMaxSize": {"max_size": 20},
    "Pad": {"padding": 2},
    "PadIfNeeded": {"min_height": 40, "min_width": 40},
    "RandomCrop": {"height": 16, "width": 16},
    "RandomSizedCrop": {"min_max_height": [8, 16], "size": [16, 16]},
    "Resize": {"height": 20, "width": 20},
    "SmallestMaxSize": {"max_size": 20},
    "XYMasking": {
        "num_masks_x": 2,
        "num_masks_y": 2,
        "mask_x_length": 5,
        "mask_y_length": 5,
    },
    **{
        name: {"transforms": [{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}]}
        for name in ALBUMENTATIONS.containers
    },
}
TORCHVISION_OPTIONS = {
    "AutoAugment": {"policy": "cifar10"},
    "CenterCrop": {"size": 16},
    "ColorJitter": {"brightness": 0.4, "hue": 0.1},
    "GaussianBlur": {"kernel_size": 3},
    "Grayscale": {"num_output_channels": 3},
    "Pad": {"padding": 2},
    "RandomAdjustSharpness": {"sharpness_factor": 2.0},
    "RandomAffine": {"degrees": 10, "interpolation": "bilinear"},
    "RandomCrop": {"size": 16},
    "RandomPosterize": {"bits": 3},
    "RandomResize": {"min_size": 10, "max_size": 30},
    "RandomRotation": {"degrees": 20},
    "RandomShortestSize": {"min_size": 20},
    "RandomSolarize": {"threshold": 128},
    "Resize": {"size": 20},
    "ScaleJitter": {"target_size": [30, 30]},
    **{
        name: {
            "transforms": [
                {"name": "RandomHorizontalFlip"},
                {"name": "ColorJitter", "options": {"brightness": 0.4}},
            ]
        }
        for name in TORCHVISION.containers
    },
}
OPTIONS = {"albumentations": ALBUMENTATIONS_OPTIONS, "torchvision": TORCHVISION_OPTIONS}
NO_USE_FOR_COLOUR = {"ToRGB", "RGB"}
NEEDS_AN_EXTENSION = {"JPEG"}  # torchvision's for images, which a CPU build of torch lacks

EVERY = [
    (library.name, name)
    for library in LIBRARIES
    for name in sorted(library.transforms - NO_USE_FOR_COLOUR - NEEDS_AN_EXTENSION)
]


def policy_of(library, *transforms):
    """Each transform is a name, or a name with options."""
    pairs = [item if isinstance(item, tuple) else (item, {}) for item in transforms]
    return Augmentation(**{library: [{"name": name, "options": o} for name, o in pairs]})


def problems(policy, image=COLOUR, size=24):
    return TransformTrial(policy, size, image).problems


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_class_of_the_library_is_used_or_refused(library):
    module = import_library(library)
    bases = (
        (module.BasicTransform, module.BaseCompose)
        if library is ALBUMENTATIONS
        else (module.Transform,)
    )
    abstract = {"BaseCompose", "BasicTransform", "DualTransform", "ImageOnlyTransform"}
    abstract |= {"Transform", "Transform3D"}
    classes = {
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, bases) and name not in abstract
    }
    assert classes <= library.transforms | library.refused.keys()
    assert library.transforms <= classes
    assert not library.transforms & library.refused.keys()
    assert library.containers == {
        name for name in library.transforms if "transforms" in parameters_of(library, name)
    }


@pytest.mark.parametrize(("library", "name"), EVERY)
def test_every_transform_is_repeatable_and_changes_no_other_image(library, name):
    policy = policy_of(library, (name, OPTIONS[library].get(name, {})))
    assert problems(policy) == []
    augment, image = ImageAugment(policy, seed=3, size=24), COLOUR.copy()
    first = [augment(image, 1, row) for row in range(4)]
    assert np.array_equal(image, COLOUR)
    torch.manual_seed(9)
    np.random.seed(9)
    other = ImageAugment(policy, seed=3, size=24)
    for row in (3, 1, 0, 2):
        again = other(image, 1, row)
        assert again.dtype == np.uint8 and np.array_equal(again, first[row])


@settings(max_examples=30)
@given(
    rows=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    seed=st.integers(0, 9),
    epoch=st.integers(1, 99),
    threads=st.sampled_from([1, 2]),
)
def test_the_pixels_of_a_row_depend_on_seed_epoch_and_row_alone(rows, seed, epoch, threads):
    policy = Augmentation(
        albumentations=[
            {
                "name": "OneOf",
                "options": {"transforms": [{"name": "Rotate"}, {"name": "GaussNoise"}]},
            }
        ],
        torchvision=[
            {"name": "TrivialAugmentWide"},
            {
                "name": "RandomApply",
                "options": {
                    "transforms": [
                        {"name": "ElasticTransform"},
                        {"name": "GaussianBlur", "options": {"kernel_size": 3}},
                    ]
                },
            },
            {"name": "RandomResizedCrop"},
        ],
    )
    together = ImageAugment(policy, seed, 16)
    state, before = torch.get_rng_state(), torch.get_num_threads()
    images = [together(COLOUR, epoch, row) for row in rows]
    torch.set_num_threads(threads)
    alone = [ImageAugment(policy, seed, 16)(COLOUR, epoch, row) for row in rows]
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(a, b) for a, b in zip(images, alone, strict=True))


def test_each_library_draws_numbers_of_its_own():
    policy = policy_of("torchvision", ("RandomRotation", {"degrees": 90}))
    augment = ImageAugment(policy, 0)
    images = {augment(COLOUR, epoch, row).tobytes() for epoch in (1, 2) for row in range(5)}
    assert len(images) == 10
    other = ImageAugment(policy, 1)
    assert not np.array_equal(other(COLOUR, 1, 0), augment(COLOUR, 1, 0))


def test_a_transform_that_needs_a_size_takes_that_of_the_phase():
    for library, names in (
        ("albumentations", ["RandomResizedCrop", "RandomCrop", "CenterCrop", "Resize"]),
        ("torchvision", ["RandomResizedCrop", "RandomCrop", "CenterCrop"]),
    ):
        for name in names:
            augment = ImageAugment(policy_of(library, name), 0, 20)
            assert augment(COLOUR, 1, 0).shape == (20, 20, 3), name


REFUSED = [
    ("albumentations", "Normalize"),
    ("albumentations", "ToFloat"),
    ("albumentations", "FromFloat"),
    ("albumentations", "ToTensorV2"),
    ("albumentations", "Lambda"),
    ("albumentations", "BBoxSafeRandomCrop"),
    ("albumentations", "ConstrainedCoarseDropout"),
    ("albumentations", "MaskDropout"),
    ("albumentations", "FDA"),
    ("albumentations", "CenterCrop3D"),
    ("albumentations", "Cutout"),
    ("albumentations", "RandomHorizontalFlip"),  # torchvision's
    ("albumentations", "Rotat"),
    ("torchvision", "Normalize"),
    ("torchvision", "ToTensor"),
    ("torchvision", "ToDtype"),
    ("torchvision", "PILToTensor"),
    ("torchvision", "ConvertImageDtype"),
    ("torchvision", "MixUp"),
    ("torchvision", "FiveCrop"),
    ("torchvision", "RandomIoUCrop"),
    ("torchvision", "Rotate"),  # that of albumentations
    ("torchvision", "RandomFlip"),
]


@pytest.mark.parametrize(("library", "name"), REFUSED)
def test_a_name_is_refused_when_the_configuration_is_read(library, name):
    with pytest.raises(ValidationError) as info:
        policy_of(library, name)
    (error,) = info.value.errors()
    assert error["loc"] == (library, 0, "name") and f"{name}" in error["msg"]
    nested = "OneOf" if library == "albumentations" else "RandomChoice"
    with pytest.raises(ValidationError, match=name):
        policy_of(library, (nested, {"transforms": [{"name": name}]}))


@pytest.mark.parametrize(
    ("library", "name", "options"),
    [
        ("albumentations", "HorizontalFlip", {"p": 0}),
        ("torchvision", "RandomHorizontalFlip", {"p": 0.0}),
        ("albumentations", "OneOf", {}),
        ("albumentations", "OneOf", {"transforms": []}),
        ("albumentations", "OneOf", {"transforms": {"name": "Blur"}}),
        ("albumentations", "OneOf", {"transforms": ["Blur"]}),
        ("albumentations", "SomeOf", {"transforms": [{"name": "Blur", "options": {"p": 0}}]}),
        ("torchvision", "RandomApply", {"p": 0.5}),
    ],
)
def test_what_is_never_applied_is_refused_when_the_configuration_is_read(library, name, options):
    with pytest.raises(ValidationError, match=name):
        policy_of(library, (name, options))


def test_an_argument_next_to_the_name_is_refused_with_its_place():
    with pytest.raises(ValidationError, match=r"degrees.*options: \{degrees"):
        Augmentation(torchvision=[{"name": "RandomRotation", "degrees": 10}])


@pytest.mark.parametrize(
    ("library", "name", "options", "word"),
    [
        ("albumentations", "Rotate", {"limits": 20}, "limits"),
        ("albumentations", "Rotate", {"limit": "far"}, "far"),
        ("albumentations", "Rotate", {"p": 1.5}, "1.5"),
        ("albumentations", "CoarseDropout", {"max_holes": 8}, "max_holes"),
        ("albumentations", "SmallestMaxSize", {}, "max_size"),
        ("albumentations", "CropAndPad", {}, "px"),
        ("albumentations", "MedianBlur", {"blur": 3}, "blur"),
        ("albumentations", "ToSepia", {"strength": 3}, "strength"),
        ("albumentations", "SomeOf", {"transforms": [{"name": "Blur"}], "n": 3}, "SomeOf"),
        ("albumentations", "OneOf", {"transforms": [{"name": "Blur", "options": {"x": 3}}]}, "'x'"),
        ("torchvision", "RandomRotation", {"degree": 20}, "degree"),
        ("torchvision", "RandomRotation", {}, "degrees"),
        ("torchvision", "RandomRotation", {"degrees": "far"}, "far"),
        ("torchvision", "RandomHorizontalFlip", {"p": 1.5}, "1.5"),
        ("torchvision", "AutoAugment", {"policy": "imagnet"}, "imagnet"),
        ("torchvision", "RandomPosterize", {"bits": "four"}, "four"),
    ],
)
def test_options_are_refused_by_name(library, name, options, word):
    (problem,) = problems(policy_of(library, (name, options)))
    assert name in problem or name in ("OneOf",)
    assert word in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("library", "name", "options", "image"),
    [
        ("albumentations", "RandomCrop", {"height": 64, "width": 64}, COLOUR),
        ("albumentations", "CenterCrop", {"height": 64, "width": 64}, COLOUR),
        ("torchvision", "RandomCrop", {"size": 64}, COLOUR),
        ("albumentations", "ToGray", {"num_output_channels": 1}, COLOUR),
        ("torchvision", "Grayscale", {}, COLOUR),
        ("albumentations", "ToGray", {}, GREY),
        ("albumentations", "ToRGB", {}, GREY),
        ("torchvision", "RGB", {}, GREY),
        ("albumentations", "HueSaturationValue", {}, GREY),
        ("albumentations", "ChannelShuffle", {}, GREY),
        ("albumentations", "ISONoise", {}, GREY),
        ("albumentations", "ToSepia", {}, GREY),
        ("torchvision", "ColorJitter", {"hue": 0.2}, GREY),
        ("torchvision", "RandomGrayscale", {}, GREY),
        ("albumentations", "Affine", {}, COLOUR),
        ("torchvision", "ColorJitter", {}, COLOUR),
        ("albumentations", "RandomBrightnessContrast", {}, BANDS),
        ("torchvision", "ColorJitter", {"brightness": 0.4}, BANDS),
        ("torchvision", "GaussianNoise", {}, BANDS),
        ("albumentations", "OneOf", {"transforms": [{"name": "GaussNoise"}]}, BANDS),
        ("torchvision", "RandomApply", {"transforms": [{"name": "RandomInvert"}]}, BANDS),
    ],
)
def test_transforms_that_do_not_fit_the_pixels_are_refused(library, name, options, image):
    (problem,) = problems(policy_of(library, (name, options)), image)
    assert "\n" not in problem
    assert any(word in problem for word in (name, "GaussNoise", "RandomInvert"))


@pytest.mark.parametrize(
    ("library", "name", "options"),
    [
        ("albumentations", "Resize", {"height": 20, "width": 20}),
        ("albumentations", "LongestMaxSize", {"max_size": 20}),
        ("albumentations", "PadIfNeeded", {"min_height": 40, "min_width": 40}),
        ("albumentations", "Transpose", {}),
        ("albumentations", "RandomRotate90", {}),
        ("torchvision", "Resize", {"size": 20}),
        ("torchvision", "Pad", {"padding": 1}),
        ("torchvision", "RandomZoomOut", {}),
    ],
)
def test_a_changed_size_needs_an_image_size(library, name, options):
    policy = policy_of(library, (name, options))
    (problem,) = problems(policy, size=None)
    assert name in problem and "recipe.image_size" in problem
    assert problems(policy, size=24) == []


def test_images_of_another_size_than_the_tried_one_are_refused_with_their_sample(digits):
    loader = loader_of(digits, policy_of("albumentations", "HorizontalFlip"))
    loader._images.augment = ImageAugment(policy_of("albumentations", ("Pad", {"padding": 1})), 0)
    with pytest.raises(TailproofError, match=loader.split.sample_ids[0].split("-")[0]):
        list(loader.epoch(1))


def test_guards_that_leave_images_as_they_are_may_do_nothing():
    assert problems(policy_of("albumentations", "NoOp"), GREY, None) == []
    fit = ("PadIfNeeded", {"min_height": 8, "min_width": 8})
    assert problems(policy_of("albumentations", fit), GREY, None) == []
    same = ("Resize", {"height": 32, "width": 48})
    assert problems(policy_of("albumentations", same), COLOUR, None) == []


@pytest.mark.parametrize(
    ("library", "name", "options", "constant"),
    [
        ("albumentations", "InvertImg", {"p": 1}, True),
        ("albumentations", "ToGray", {"p": 1.0}, True),
        ("albumentations", "OneOf", {"transforms": [{"name": "VerticalFlip"}], "p": 1}, True),
        ("albumentations", "InvertImg", {}, False),
        ("albumentations", "Rotate", {"p": 1}, False),
        ("albumentations", "Resize", {"height": 40, "width": 40, "p": 1}, False),
        ("torchvision", "Grayscale", {"num_output_channels": 3}, True),
        ("torchvision", "RandomGrayscale", {"p": 1.0}, True),
        ("torchvision", "RandomRotation", {"degrees": 20}, False),
        ("torchvision", "Resize", {"size": 40}, False),
    ],
)
def test_a_transform_that_is_no_augmentation_is_named(library, name, options, constant):
    trial = TransformTrial(policy_of(library, (name, options)), 24, COLOUR)
    assert (trial.problems, trial.constant) == ([], [name] if constant else [])


def test_all_problems_are_listed_at_once(digits):
    policy = Augmentation(
        albumentations=[
            {"name": "Rotate", "options": {"limits": 3}},
            {"name": "HueSaturationValue"},
            {"name": "HorizontalFlip"},
            {"name": "RandomCrop", "options": {"height": 32, "width": 32}},
        ],
        torchvision=[{"name": "RandomRotation", "options": {"degree": 3}}],
    )
    with pytest.raises(TailproofError) as info:
        loader_of(digits, policy)
    lines = str(info.value).splitlines()
    names = ["Rotate", "HueSaturationValue", "RandomCrop", "RandomRotation"]
    assert len(lines) == 4 and all(name in line for name, line in zip(names, lines, strict=True))


def loader_of(manifest, policy, **options):
    split = Split(manifest, "train")
    defaults = {
        "batch_size": 50,
        "image_size": None,
        "normalization": split.manifest["normalization"],
        "memory_budget": 2**30,
    }
    return Loader(split, augmentation=policy, **{**defaults, **options})


def pixels(loader, epoch=2, first=1):
    images = torch.cat([batch.inputs for batch in loader.epoch(epoch, first)])
    loader.close()
    return images


def test_torchvision_gives_the_same_batches_with_any_workers_and_after_an_interruption(digits):
    policy = Augmentation(
        crop_padding=1,
        albumentations=[{"name": "Rotate"}],
        torchvision=[
            {"name": "RandAugment", "options": {"num_ops": 1}},
            {"name": "RandomErasing", "options": {"inplace": True}},
        ],
    )
    expected = pixels(loader_of(digits, policy))
    for options in ({"workers": 2}, {"memory_budget": 0}, {"memory_budget": 0, "workers": 1}):
        assert torch.equal(pixels(loader_of(digits, policy, **options)), expected)
    assert torch.equal(pixels(loader_of(digits, policy), first=3), expected[100:])
    assert not torch.equal(pixels(loader_of(digits, policy), epoch=3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_fails_on_a_later_image_names_the_sample(digits, workers):
    loader = loader_of(
        digits, policy_of("albumentations", "HorizontalFlip"), workers=workers, image_size=8
    )
    crop = policy_of("albumentations", ("RandomCrop", {"height": 9, "width": 9}))
    loader._images.augment = ImageAugment(crop, 0)
    with pytest.raises(TailproofError) as info:
        list(loader.epoch(1))
    loader.close()
    message = str(info.value)
    assert "sample " in message and "RandomCrop" in message and "8×8" in message
    assert "Traceback" not in message and "\n" not in message


def test_an_interruption_inside_a_transform_is_no_problem_of_it(monkeypatch):
    def interrupt(*_, **__):
        raise Interrupted("interrupted by SIGTERM")

    module = import_library(ALBUMENTATIONS)
    monkeypatch.setattr(module.HorizontalFlip, "apply", interrupt)
    policy = policy_of("albumentations", "HorizontalFlip")
    with pytest.raises(Interrupted):
        problems(policy)
    augment = ImageAugment(policy_of("albumentations", ("HorizontalFlip", {"p": 1})), 0)
    with pytest.raises(Interrupted):
        augment(COLOUR, 1, 0)
