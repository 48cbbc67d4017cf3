"""Sizes and augmentation that change by epoch: same bits however the run is carried out."""

import csv
import signal
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from tailproof.config.augmentation import Augmentation
from tailproof.config.recipe import Recipe
from tailproof.files import read_json
from tailproof.history import COLUMNS
from tailproof.loading import Loader, Split
from tailproof.runtime.errors import TailproofError
from tailproof.schedules import Phases
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun
from tests.training.interrupted_runs import RECIPE, TINY, finish, outputs, start

NAMED = {"flip": True, "albumentations": [{"name": "RandomResizedCrop"}]}
GROWING = {
    "epochs": 4,
    "drop_last": True,
    "eval_image_size": 14,
    "phases": [
        {"from_epoch": 1, "image_size": 8, "batch_size": 32},
        {"from_epoch": 2, "image_size": 10, "augmentation": NAMED, "learning_rate_factor": 0.5},
        {"from_epoch": 4, "image_size": 12, "mixing": {"mixup": 0.4}},
    ],
}
VIT = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 2, "depth": 2, "embed_dim": 48, "num_heads": 3},
}

STARTS = st.lists(st.integers(2, 12), max_size=4, unique=True).map(lambda more: [1, *sorted(more)])


@pytest.fixture(scope="module")
def straight(digits, tmp_path_factory):
    """The folder of a run that nothing ever happened to."""
    folder = tmp_path_factory.mktemp("growing")
    assert finish(start(digits, folder, GROWING)) == 0, (folder / "train.log").read_text()
    return folder


def history(folder):
    with open(Path(folder) / "expert/seed-0/history.csv", newline="") as file:
        return list(csv.DictReader(file))


@given(starts=STARTS, steps=st.lists(st.integers(1, 9), min_size=5, max_size=5), data=st.data())
def test_updates_are_those_of_the_epochs_before(starts, steps, data):
    factors = [1.0, 0.5, 2.0, 3.0, 0.1]
    listed = [
        {"from_epoch": start, "learning_rate_factor": factor}
        for start, factor in zip(starts, factors, strict=False)
    ]
    recipe = Recipe(epochs=12, phases=listed)
    phases = Phases(recipe, steps[: len(starts)])
    numbers = [sum(start <= epoch for start in starts) - 1 for epoch in range(1, 13)]
    assert [phases.number(epoch) for epoch in range(1, 13)] == numbers
    each = [steps[number] for number in numbers]
    assert [phases.steps(epoch) for epoch in range(1, 13)] == each
    assert [phases.updates(epochs) for epochs in range(13)] == [0, *np.cumsum(each)]
    part = data.draw(st.integers(0, 11)) + data.draw(st.floats(0.1, 0.9))
    assert phases.updates(part) == pytest.approx(np.interp(part, range(13), [0, *np.cumsum(each)]))
    expected = np.repeat([factors[number] for number in numbers], each)
    assert [phases.factor(update) for update in range(sum(each))] == expected.tolist()
    assert sum(
        told["steps"] * (told["to_epoch"] + 1 - told["from_epoch"]) for told in phases.as_dicts()
    ) == sum(each)


def test_history_and_training_tell_the_phases(digits, straight):
    rows = history(straight)
    assert tuple(rows[0]) == (*COLUMNS, "phase", "image_size")
    assert [row["phase"] for row in rows] == ["1", "2", "2", "3"]
    assert [row["image_size"] for row in rows] == ["8", "10", "10", "12"]
    told = read_json(straight / "expert/seed-0/training.json")["phases"]
    assert [(each["from_epoch"], each["to_epoch"]) for each in told] == [(1, 1), (2, 3), (4, 4)]
    samples = len(Split(digits, "train"))
    assert [each["steps"] for each in told] == [samples // 32, samples // 64, samples // 64]
    assert told[1]["augmentation"]["flip"] and told[2]["mixing"]["mixup"] == 0.4
    assert told[0]["augmentation"]["crop_padding"] == 1, "the recipe's own"


def test_what_is_exported_takes_the_evaluation_size(digits, straight):
    """The folder alone, loaded by timm, reproduces what the history says of val."""
    model = timm.create_model(f"local-dir:{straight / 'expert/seed-0'}", pretrained=True).eval()
    data = timm.data.resolve_model_data_config(model)
    assert data["input_size"] == (1, 14, 14)
    split = Split(digits, "val")
    loader = Loader(split, batch_size=7, image_size=14, normalization=data)
    with torch.no_grad():
        predicted = torch.cat([model(b.inputs) for b in loader.epoch(1)]).argmax(1).numpy()
    # RECIPE keeps the best weights
    best = max(float(row["val_balanced_accuracy"]) for row in history(straight))
    found = balanced_accuracy_score(split.labels["class"], predicted)
    assert found == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("changes", [{"workers": 2}, {"workers": 2, "cache_gb": 0.0}])
def test_workers_and_streaming_change_no_byte(digits, tmp_path, straight, changes):
    assert finish(start(digits, tmp_path, GROWING | changes)) == 0
    assert outputs(tmp_path) == outputs(straight)


def test_killed_within_and_between_phases_it_ends_in_the_same_bytes(digits, tmp_path, straight):
    """Killed after each state that it saves, with 0 and 2 workers by turns."""
    found = []
    for attempt in range(30):
        changes = GROWING | {"workers": attempt % 2 * 2, "cache_gb": 0.0}
        code = finish(start(digits, tmp_path, changes, crash=("renamed", 1)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        newest = max(path.name for path in tmp_path.glob("states/*/epoch-*.pt"))
        found.append(tuple(int(part) for part in newest.split(".")[0].split("-")[1::2]))
    assert {(2, 0), (4, 0)} <= set(found), "at both boundaries"
    assert {epoch for epoch, step in found if step} == {1, 2, 3, 4}, "and within every epoch"
    assert outputs(tmp_path) == outputs(straight)


def test_order_and_crops_do_not_depend_on_the_phase(digits):
    recipe = Recipe(**RECIPE | GROWING)
    run = TrainingRun(NetworkOnImages(digits, recipe), 5, ProcessGroup(1))
    split = run.learner.train
    for number, (loader, epoch) in enumerate(zip(run._loaders, (1, 3, 4), strict=True)):
        phase = recipe.timeline[number]
        alone = Loader(
            split,
            batch_size=50,
            image_size=phase.image_size,
            normalization=split.manifest["normalization"],
            augmentation=phase.augmentation,
            seed=5,
        )
        images = {row: image for b in alone.epoch(epoch) for row, image in _pairs(b)}
        delivered = [(row, image) for b in loader.epoch(epoch) for row, image in _pairs(b)]
        assert len({row for row, _ in delivered}) == len(delivered)
        assert [row for row, _ in delivered] == list(images)[: len(delivered)]
        assert all(torch.equal(image, images[row]) for row, image in delivered)
    run.close()


def _pairs(batch):
    return zip(batch.rows.tolist(), batch.inputs, strict=True)


def test_what_is_learnt_and_how_it_runs_are_the_whole_recipe():
    growing = Recipe(**TINY | GROWING)
    assert Recipe(**growing.result_fields(), **growing.execution_fields()) == growing


def test_position_embeddings_are_resampled_for_every_size(digits, tmp_path):
    changes = GROWING | {"model": VIT, "optimizer": {"learning_rate": 0.01}}
    assert finish(start(digits, tmp_path, changes)) == 0, (tmp_path / "train.log").read_text()
    folder = tmp_path / "expert/seed-0"
    assert read_json(folder / "config.json")["model_args"]["img_size"] == 14
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert model.pos_embed.shape == (1, 7 * 7 + 1, 48)
    assert model(torch.zeros(2, 1, 14, 14)).shape == (2, 10)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": VIT, "eval_image_size": 15}, "15×15.*patch size"),
        (
            {"model": VIT, "phases": [{"from_epoch": 1, "image_size": 9}], "eval_image_size": 8},
            "9×9.*patch size",
        ),
        (
            {"model": {"name": "mixer_s32_224"}, "image_size": 64},
            r"'mixer_s32_224'.*64×64.*recipe\.model\.options",
        ),
        (
            {"drop_last": True, "phases": [{"from_epoch": 1, "batch_size": 4096}]},
            "batch_size .*4096",
        ),
        (
            {
                "phases": [
                    {"from_epoch": 1},
                    {
                        "from_epoch": 2,
                        "augmentation": {
                            "albumentations": [{"name": "Rotate", "options": {"limits": 9}}]
                        },
                    },
                ]
            },
            "Rotate has no option 'limits'",
        ),
        (
            {"augmentation": {"torchvision": [{"name": "Identity", "options": {"p": 0.5}}]}},
            "Identity has no option 'p'.*none",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_before_the_first_epoch(digits, changes, expected):
    with pytest.raises(TailproofError, match=expected):
        TrainingRun(NetworkOnImages(digits, Recipe(**TINY | changes)), 0, ProcessGroup(1))


def test_transforms_that_need_a_size_take_the_phase_s(digits):
    split = Split(digits, "train")
    for size, options in ((5, {}), (5, {"size": [3, 3]})):
        named = Augmentation(albumentations=[{"name": "RandomResizedCrop", "options": options}])
        loader = Loader(
            split,
            batch_size=8,
            image_size=size,
            normalization=split.manifest["normalization"],
            augmentation=named,
        )
        crop = loader._images.augment(split.image(0), 1, 0)
        assert crop.shape[:2] == tuple(options.get("size", (size, size)))
        assert next(iter(loader.epoch(1))).inputs.shape == (8, 1, size, size)
