from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torchvision.transforms.v2 import functional as reference

from tailproof.config.augmentation import Augmentation
from tailproof.files import read_json, write_json
from tailproof.loading import Loader, Split
from tailproof.loading.augmentation import BatchAugment, _crop_and_flip
from tailproof.loading.resizing import fit
from tailproof.loading.sampler import epoch_order, uniforms
from tailproof.runtime.errors import TailproofError

GEOMETRIC = Augmentation(crop_padding=1, flip=True, cutout=3)
NAMED = Augmentation(
    crop_padding=1, albumentations=[{"name": "Rotate", "options": {"limit": 20, "p": 0.7}}]
)


def loader(manifest, name="train", **options):
    split = Split(manifest, name)
    defaults = {
        "batch_size": 50,
        "image_size": None,
        "normalization": split.manifest["normalization"],
        "memory_budget": 2**30,
    }
    return Loader(split, **{**defaults, **options})


def batches(found, epoch=1):
    return [(batch.rows.tolist(), batch.inputs) for batch in found.epoch(epoch)]


def same(first, second):
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


@settings(max_examples=100)
@given(
    groups=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    seed=st.integers(0, 5),
    epoch=st.integers(1, 5),
    block=st.integers(1, 200),
)
def test_order_holds_every_row_once(groups, seed, epoch, block):
    order = epoch_order(groups, seed, epoch, block)
    assert sorted(order) == list(range(sum(groups)))
    assert (order == epoch_order(groups, seed, epoch, block)).all()


def test_order_changes_with_seed_and_epoch():
    orders = {tuple(epoch_order([50], s, e, 10)) for s in range(3) for e in range(1, 4)}
    assert len(orders) == 9


@given(rows=st.lists(st.integers(0, 10**6), min_size=1, max_size=20), epoch=st.integers(1, 99))
def test_randomness_of_a_row_does_not_depend_on_its_batch(rows, epoch):
    together = uniforms(3, epoch, np.array(rows), 5)
    alone = np.concatenate([uniforms(3, epoch, np.array([row]), 5) for row in rows])
    assert (together == alone).all()


def test_uniforms_are_uniform():
    values = uniforms(0, 1, np.arange(100_000), 2)
    counts = np.histogram(values, 20, (0, 1))[0]
    assert counts.sum() == 200_000 and abs(counts - 10_000).max() < 500
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.02


@pytest.mark.parametrize("policy", [GEOMETRIC, NAMED], ids=["batch-wise", "albumentations"])
@pytest.mark.parametrize("budget", [2**30, 0], ids=["memory", "stream"])
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_memory_change_nothing(digits, policy, budget, workers):
    expected = batches(loader(digits, augmentation=policy), 2)
    found = loader(digits, augmentation=policy, memory_budget=budget, workers=workers)
    assert same(batches(found, 2), expected)
    assert not same(batches(found, 3), expected)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 400), drop=st.booleans(), epoch=st.integers(1, 3))
def test_every_sample_once_and_len_is_what_is_yielded(digits, batch, drop, epoch):
    rows = Split(digits, "train")
    if drop and batch > len(rows):
        with pytest.raises(TailproofError, match="drop_last"):
            loader(digits, batch_size=batch, drop_last=drop, augmentation=GEOMETRIC)
        return
    found = loader(digits, batch_size=batch, drop_last=drop, augmentation=GEOMETRIC)
    delivered = [b.rows for b in found.epoch(epoch)]
    assert len(delivered) == len(found)
    flat = np.concatenate(delivered)
    assert len(set(flat)) == len(flat)
    assert len(flat) == (len(rows) // batch * batch if drop else len(rows))


def test_evaluation_delivers_in_order_what_is_in_the_shards(digits):
    found = loader(digits, "dev")
    split = found.split
    images = torch.cat([b.inputs for b in found.epoch(1)])
    mean, std = (split.manifest["normalization"][key][0] for key in ("mean", "std"))
    pixels = torch.from_numpy(np.stack([split.image(row) for row in range(len(split))]))
    assert torch.allclose(images[:, 0], (pixels[..., 0] / 255 - mean) / std, atol=1e-5)


def test_flip_crop_and_cutout_are_those_of_the_definition():
    rows = np.arange(64)
    pixels = torch.randint(1, 256, (64, 8, 8, 1), dtype=torch.uint8)
    plain = BatchAugment([0.0], [1 / 255], None, 0)(pixels, 1, rows)
    flipped = BatchAugment([0.0], [1 / 255], Augmentation(flip=True), 0)(pixels, 1, rows)
    mirrored = reference.horizontal_flip(plain)
    which = [torch.equal(a, b) for a, b in zip(flipped, mirrored, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    assert all(a != b for a, b in zip(which, kept, strict=True)) and 16 < sum(which) < 48

    cropped = BatchAugment([0.0], [1 / 255], Augmentation(crop_padding=2), 0)(pixels, 1, rows)
    padded = reference.pad(plain, [2, 2, 2, 2])
    windows = {(y, x) for y in range(5) for x in range(5)}
    seen = set()
    for image, source in zip(cropped, padded, strict=True):
        at = [w for w in windows if torch.equal(image, source[:, w[0] : w[0] + 8, w[1] : w[1] + 8])]
        assert len(at) == 1
        seen |= set(at)
    assert len(seen) > 18

    cut = BatchAugment([0.0], [1 / 255], Augmentation(cutout=3), 0)(pixels, 1, rows)
    holes = (cut == 0).sum((1, 2, 3))
    assert holes.min() >= 1 and holes.max() == 9 and torch.equal(cut[cut != 0], plain[cut != 0])


@settings(max_examples=50)
@given(
    shape=st.tuples(*(st.integers(1, 9),) * 3, st.sampled_from([1, 3])),
    padding=st.integers(0, 9),
    flip=st.booleans(),
    epoch=st.integers(1, 99),
)
def test_a_gpu_crops_and_flips_as_a_processor_does(shape, padding, flip, epoch):
    policy = Augmentation(crop_padding=padding, flip=flip, cutout=1)
    augment = BatchAugment([0.5], [0.5], policy, 0)
    images = np.random.default_rng(epoch).integers(0, 256, shape, dtype=np.uint8)
    draws, placed = augment.draws(epoch, np.arange(len(images))), np.empty_like(images)
    for image, out, own in zip(images, placed, draws, strict=True):
        augment.place(image, out, own)
    batch = _crop_and_flip(torch.from_numpy(images), policy, torch.from_numpy(draws))
    assert (batch.numpy() == placed).all()


@pytest.mark.parametrize("shape", [(40, 20, 3), (33, 47, 3), (15, 16, 3), (9, 31, 1)])
def test_fit_is_the_evaluation_transform_of_timm(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    transform = create_transform(
        (shape[2], 16, 16), crop_pct=1.0, interpolation="bicubic", mean=(0,), std=(1,)
    )
    picture = Image.fromarray(image if shape[2] == 3 else image[:, :, 0])
    expected = (transform(picture) * 255).round().permute(1, 2, 0).numpy()
    assert (fit(image, 16) == expected).all()
    assert fit(image, None) is image


def test_damaged_shards_are_told(digits, tmp_path):
    manifest = read_json(digits)
    for facts in manifest["splits"].values():
        for part in facts["shards"]:
            part["path"] = str(digits.parent / part["path"])
    first = manifest["splits"]["val"]["shards"][0]
    truncated = tmp_path / "truncated.parquet"
    truncated.write_bytes(Path(first["path"]).read_bytes()[:-100])
    for path, message in ((truncated, "cannot be read as parquet"), ("gone", "does not exist")):
        first["path"] = str(path)
        write_json(tmp_path / "manifest.json", manifest)
        with pytest.raises(TailproofError, match=message):
            Split(tmp_path / "manifest.json", "val")
