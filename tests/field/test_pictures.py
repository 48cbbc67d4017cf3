"""Pictures as people have them: read as a viewer shows them, or refused with one reason."""

import csv
import io
import os
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from tailproof.config.data import Data
from tailproof.data.heic import without_heic
from tailproof.data.image_formats import SUFFIXES, kind_of
from tailproof.data.images import (
    BANDS,
    FRAMES,
    PROFILE,
    TRANSPARENT,
    decode,
    pixel_digest,
    read_picture,
)
from tailproof.data.multiband import encode_bands
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw
from tailproof.data.shards import shard
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.files import read_json
from tailproof.loading.dataset import Split
from tailproof.predict.image_files import prepare_image
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.preparation import Preparation
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.packages import MISSING
from tailproof.runtime.recorder import _check_packages
from tests.conftest import build_data

ARITHMETIC = Path(__file__).with_name("pictures") / "arithmetic.jpg"


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colours(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A smooth picture in colour, which lossy formats keep."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def heic(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, **tags: int | tuple[int, ...]) -> bytes:
    """Encode [H, W, bands] without compression, with tags such as ``t277=4``."""
    height, width, bands = pixels.shape
    fields = {
        256: width, 257: height, 258: (pixels.itemsize * 8,) * bands, 259: 1,
        262: 2 if bands > 2 else 1, 273: 8, 277: bands, 278: height, 279: pixels.nbytes,
        **{int(name[1:]): value for name, value in tags.items()},
    }  # fmt: skip
    data = bytearray(b"II*\0" + struct.pack("<I", 0) + pixels.tobytes())
    entries = b""
    for tag, value in sorted((tag, value) for tag, value in fields.items() if value is not None):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            start = len(data)
            data += packed
            packed = struct.pack("<I", start)
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    data[4:8] = struct.pack("<I", len(data))
    data += struct.pack("<H", len(entries) // 12) + entries + bytes(4)
    return bytes(data)


def folder(root: Path, **options) -> Data:
    return Data(source={"name": "image_folder", "root": str(root)}, **options)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pets(root: Path, count: int = 6) -> Path:
    return write(
        root,
        {
            f"{name}/{index}.png": saved(colours(index + 100 * (name == "dog")), "PNG")
            for name in ("cat", "dog")
            for index in range(count)
        },
    )


def bad_images(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_every_orientation_is_shown_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(colours(), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(upright))


def test_a_heic_is_upright_and_keeps_its_pixels():
    turned = Image.Exif()
    turned[0x0112] = 6
    data = heic(colours(), exif=turned.tobytes())
    assert decode(without_heic(data)).shape == (24, 16, 3)
    plain = decode(without_heic(heic(colours())))
    expected = np.asarray(pillow_heif.read_heif(heic(colours())).to_pillow())
    np.testing.assert_array_equal(plain, expected)


def test_damaged_exif_leaves_the_picture_as_it_lies():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(colours(), "JPEG", exif=exif)
    damaged = data.replace(b"Exif\0\0MM", b"Exif\0\0XX").replace(b"Exif\0\0II", b"Exif\0\0XX")
    assert damaged != data
    np.testing.assert_array_equal(decode(damaged), decode(saved(colours(), "JPEG")))


# --- modes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_png_of_any_mode_has_the_pixels_of_its_colours(mode):
    image = colours().convert(mode)
    expected = np.asarray(image.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    np.testing.assert_array_equal(decode(saved(image, "PNG")), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_covers_the_whole_range(bits):
    grey = Image.fromarray(np.array([[0, 1]], np.uint8) * (2**bits - 1)).convert("P")
    grey.putpalette(
        [level for step in range(2**bits) for level in [step * 255 // (2**bits - 1)] * 3]
    )
    assert decode(saved(grey, "PNG", bits=bits)).tolist() == [[0, 255]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_ink_becomes_light(kind):
    ink = Image.merge("CMYK", [Image.new("L", (16, 16), level) for level in (0, 255, 255, 0)])
    red = decode(saved(ink, kind))
    assert (np.abs(red.astype(int) - [255, 0, 0]) <= 3).all()


def test_adobe_ycck_becomes_light():
    ink = Image.merge("CMYK", [Image.new("L", (16, 16), level) for level in (0, 0, 0, 128)])
    data = bytearray(saved(ink, "JPEG", quality=100))
    transform = data.index(b"Adobe") + 11
    data[transform] = 2  # the first three channels are now Y, Cb and Cr
    assert decode(bytes(data)).shape[:2] == (16, 16)


def test_lab_becomes_rgb_and_grey_lab_is_read_in_every_mode():
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    data = saved(ImageCms.applyTransform(colours(), to_lab), "TIFF")
    assert np.abs(decode(data).astype(int) - np.asarray(colours(), int)).mean() < 3
    assert decode(data, "L").shape == (16, 24)


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(np.full((4, 4), 999, np.uint16)), "PNG"),
        cv2.imencode(".png", np.full((4, 4, 3), 999, np.uint16))[1].tobytes(),
        cv2.imencode(".png", np.full((4, 4, 4), 999, np.uint16))[1].tobytes(),
        tiff(np.full((4, 4, 3), 999, np.uint16)),
        tiff(np.full((4, 4, 1), 999, np.uint16)),
        tiff(np.full((4, 4, 3), 9, np.uint16), t284=2, t273=(8, 40, 72), t279=(32, 32, 32)),
    ],
    ids=["png", "png colour", "png alpha", "tiff colour", "tiff", "tiff planar"],
)
def test_sixteen_bits_are_refused_not_reduced(data):
    with pytest.raises(TailproofError, match="16 bits"):
        decode(data)


# --- alpha


def drawing(colour: tuple[int, int, int], seed: int = 0) -> Image.Image:
    """A disc that only alpha shows, as icons are exported."""
    image = Image.new("RGBA", (16, 16), (*colour, 0))
    rows, columns = np.mgrid[:16, :16]
    disc = (rows - 7.5) ** 2 + (columns - 4 - seed % 9) ** 2 < 20
    image.putalpha(Image.fromarray(np.where(disc, 255, 0).astype(np.uint8)))
    return image


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (250, 250, 250), (200, 30, 30)])
def test_what_is_drawn_in_alpha_can_be_seen(colour):
    picture = read_picture(saved(drawing(colour), "PNG"))
    assert picture.notes == (TRANSPARENT,)
    grey = decode(saved(drawing(colour), "PNG"), "L")
    assert grey.max() - grey.min() > 100


def test_transparent_parts_are_white():
    image = colours().convert("RGBA")
    alpha = np.full((16, 24), 255, np.uint8)
    alpha[:, :12] = 0
    image.putalpha(Image.fromarray(alpha))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        pixels = decode(saved(image, kind, **options))
        assert (pixels[:, :12] == 255).all(), kind
        np.testing.assert_array_equal(pixels[:, 12:], np.asarray(colours())[:, 12:])


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_alpha_that_is_the_same_everywhere_is_dropped(alpha):
    image = colours().convert("RGBA")
    image.putalpha(alpha)
    image.putpixel((0, 0), (*image.getpixel((0, 0))[:3], abs(alpha - 1)))
    picture = read_picture(saved(image, "PNG"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(colours()))
    assert picture.notes == ()


def test_a_transparent_colour_is_alpha():
    grey = Image.fromarray(np.array([[0, 0, 90, 180]], np.uint8))
    assert decode(saved(grey, "PNG", transparency=0)).tolist() == [[255, 255, 90, 180]]
    rgb = grey.convert("RGB")
    pixels = decode(saved(rgb, "PNG", transparency=(0, 0, 0)))
    assert pixels.tolist() == [[255, 255, 90, 180]]
    palette = grey.convert("P")
    assert decode(saved(palette, "PNG", transparency=0)).tolist() == [[255, 255, 90, 180]]
    assert decode(saved(palette, "PNG", transparency=bytes([255, *[128] * 255]))).ndim == 2


def test_icons_are_no_duplicates(tmp_path):
    icons = {f"bird/{seed}.png": saved(drawing((0, 0, 0), seed), "PNG") for seed in range(9)}
    prepare(folder(write(tmp_path / "raw", icons)), tmp_path / "samples.parquet")
    assert len(set(read_parquet(tmp_path / "samples.parquet")["digest"].to_pylist())) == 9
    (warning,) = read_json(tmp_path / "prepare.json")["warnings"]
    assert TRANSPARENT in warning and "9 images" in warning and "bird/0.png" in warning


# --- what is left out of a file is counted


def test_of_several_frames_the_first_is_read():
    first, second = colours(1), colours(2)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("AVIF", {})):
        data = saved(first, kind, save_all=True, append_images=[second], **options)
        picture = read_picture(data)
        assert picture.notes == (FRAMES,), kind
        distance = np.abs(picture.pixels.astype(int) - np.asarray(first, int)).mean()
        assert distance < 5, kind


def test_the_previews_of_mpo_are_no_frames():
    data = saved(colours(1), "MPO", save_all=True, append_images=[colours(2)])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    picture = read_picture(data)
    assert picture.notes == ()
    np.testing.assert_array_equal(picture.pixels, decode(saved(colours(1), "JPEG")))


def swapped_profile() -> bytes:
    """A profile in which red and green have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_other_than_srgb_is_ignored_and_said(kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    notes = [
        read_picture(saved(colours(), kind, icc_profile=profile)).notes
        for profile in (srgb, swapped_profile(), b"no profile")
    ]
    assert notes == [(), (PROFILE,), ()]
    same = saved(colours(), kind, icc_profile=swapped_profile())
    np.testing.assert_array_equal(decode(same), decode(saved(colours(), kind)))


def test_bands_beyond_three_are_no_alpha_and_said():
    pixels = np.dstack([np.asarray(colours()), np.asarray(colours(1))[:, :, :2]])
    for bands, extra in ((4, None), (4, 0), (5, (0, 0))):
        picture = read_picture(tiff(pixels[:, :, :bands].copy(), t338=extra))
        assert picture.notes == (BANDS,), (bands, extra)
        np.testing.assert_array_equal(picture.pixels, np.asarray(colours()))


def test_the_preview_of_a_raw_picture_is_not_the_picture():
    with pytest.raises(TailproofError, match="preview"):
        decode(tiff(np.asarray(colours()), t254=1))


# --- what is no picture


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML><title>404", "HTML"),
        (b"<html><body>", "HTML"),
        (b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg>', "SVG"),
        (b'<?xml version="1.0"?><Error/>', "XML"),
        (b'{"error": "rate limit"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"Too many requests", "text"),
        (saved(colours(), "GIF"), "GIF"),
        (saved(colours(), "JPEG2000"), "JPEG 2000"),
        (saved(colours(), "PDF"), "PDF"),
        (saved(colours(), "ICO"), "ICO"),
        (bytes(128) + b"DICM" + b"\1" * 99, "DICOM"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"PK\3\4" + bytes(99), "ZIP"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "macOS"),
        (b"\x80\x81\x82" * 99, "another format"),
    ],
)
def test_what_it_is_instead_is_said(data, kind):
    with pytest.raises(TailproofError, match=f"{kind}.*expected PNG"):
        decode(data)
    with pytest.raises(TailproofError, match=kind):
        decode(data, "RGB")


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"", "copy"),
        (b"<html><body>", "fetch"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "fetch"),
        (b"PK\3\4" + bytes(99), "unpack"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "remove"),
        (b"SIMPLE  = T", "convert"),
    ],
)
def test_what_is_no_picture_is_not_to_be_converted(data, advice):
    with pytest.raises(TailproofError, match=rf": {advice}\b[^:]*$"):
        decode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF"])
def test_the_first_half_of_a_file_is_refused_without_addresses(kind):
    data = saved(colours(size=(120, 90)), kind)
    for options in ({}, {"progressive": True}) if kind == "JPEG" else ({},):
        data = saved(colours(size=(120, 90)), kind, **options)
        with pytest.raises(TailproofError) as error:
            decode(data[: len(data) // 2])
        assert " at 0x" not in str(error.value) and "BytesIO" not in str(error.value)


def test_progressive_and_arithmetic_jpeg_are_read():
    plain = decode(saved(colours(), "JPEG"))
    np.testing.assert_array_equal(decode(saved(colours(), "JPEG", progressive=True)), plain)
    assert ARITHMETIC.read_bytes()[:400].count(b"\xff\xc9") == 1
    assert decode(ARITHMETIC.read_bytes()).shape == (8, 16)


def test_heic_is_read_with_pillow_heif_and_named_without(monkeypatch):
    data = heic(colours())
    assert kind_of(data) == "HEIC" and kind_of(saved(colours(), "AVIF")) == "AVIF"
    assert np.abs(decode(without_heic(data)).astype(int) - np.asarray(colours(), int)).max() < 9
    for damaged in (data[:60], data[: len(data) // 2]):
        with pytest.raises(TailproofError, match="HEIC"):
            without_heic(damaged)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(TailproofError, match="pip install pillow-heif"):
        without_heic(data)


def test_a_stage_runs_without_an_optional_package_but_not_with_another_version():
    locked = {"pillow-heif": "1.8.1", "pillow": "13.0.0"}
    _check_packages({"pillow-heif": MISSING, "pillow": "13.0.0"}, locked)
    for installed in ({"pillow-heif": "1.0", "pillow": "13.0.0"}, dict.fromkeys(locked, MISSING)):
        with pytest.raises(TailproofError, match=r"is (not )?installed, but") as error:
            _check_packages(installed, locked)
        assert str(error.value).count("installed") == 1


def test_other_bytes_pass_untouched():
    for data in (b"", b"\0\0\0\x18ftyp", saved(colours(), "PNG"), saved(colours(), "AVIF")):
        assert without_heic(data) is data


# --- bad files in a collection


def bad_files(root: Path) -> set[str]:
    """Spoil a collection; return the paths of its bad files."""
    pets(root)
    whole = saved(colours(size=(99, 99)), "JPEG")
    write(
        root,
        {
            "cat/cut.jpg": whole[: len(whole) // 2],
            "cat/empty.jpg": b"",
            "cat/gif.jpg": saved(colours(), "GIF"),
            "cat/page.jpg": b"<html>404</html>",
            "dog/deep.png": saved(Image.fromarray(np.full((4, 4), 999, np.uint16)), "PNG"),
            "dog/png.jpg": saved(colours(7), "PNG"),
        },
    )
    return {"cat/cut.jpg", "cat/empty.jpg", "cat/gif.jpg", "cat/page.jpg", "dog/deep.png"}


def test_all_bad_files_are_listed_when_they_stop_the_stage(tmp_path):
    expected = bad_files(tmp_path / "raw")
    stopped = tmp_path / "logs/bad_images.csv"
    with pytest.raises(TailproofError) as error:
        prepare(folder(tmp_path / "raw"), tmp_path / "out/samples.parquet", stopped)
    assert set(bad_images(stopped)) == expected
    assert all(str(tmp_path / "raw" / path) in str(error.value) for path in expected)
    assert str(stopped) in str(error.value) and "data.on_bad_image" in str(error.value)
    assert " at 0x" not in stopped.read_text() + str(error.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_skipped_files_are_listed_and_counted(tmp_path):
    expected = bad_files(tmp_path / "raw")
    config = folder(tmp_path / "raw", on_bad_image="skip", max_bad_share=0.5)
    stopped = tmp_path / "logs/bad_images.csv"
    prepare(config, tmp_path / "samples.parquet", stopped)
    paths = set(read_parquet(tmp_path / "samples.parquet")["path"].to_pylist())
    assert not paths & expected and "dog/png.jpg" in paths and len(paths) == 13
    assert set(bad_images(tmp_path / "bad_images.csv")) == expected
    assert stopped.read_bytes() == (tmp_path / "bad_images.csv").read_bytes()
    summary = read_json(tmp_path / "prepare.json")
    assert (summary["samples"], summary["bad_images"]) == (13, 5)
    list_raw(config, tmp_path / "samples.parquet", tmp_path / "raw.parquet")
    assert len(read_parquet(tmp_path / "raw.parquet")) == 18


def test_a_whole_collection_leaves_nothing_out(tmp_path):
    prepare(folder(pets(tmp_path / "raw")), tmp_path / "samples.parquet")
    summary = {"samples": 12, "bad_images": 0, "skipped": [], "warnings": []}
    assert read_json(tmp_path / "prepare.json") == summary
    assert bad_images(tmp_path / "bad_images.csv") == {}


def test_the_share_is_that_of_each_pool(tmp_path):
    pets(tmp_path / "raw/train", 9)
    pets(tmp_path / "raw/test", 1)
    write(tmp_path / "raw/test", {"cat/bad.png": b""})
    source = {
        "name": "image_folder", "root": str(tmp_path / "raw"), "train": "train", "test": "test",
    }  # fmt: skip
    with pytest.raises(TailproofError, match=r"33\.3%.*test images.*max_bad_share"):
        prepare(Data(source=source, on_bad_image="skip"), tmp_path / "samples.parquet")
    config = Data(source=source, on_bad_image="skip", max_bad_share=0.34)
    prepare(config, tmp_path / "samples.parquet")
    assert len(read_parquet(tmp_path / "samples.parquet")) == 20


def test_a_class_of_bad_images_only_is_an_error(tmp_path):
    write(pets(tmp_path / "raw", 30), {"owl/1.png": b"", "owl/2.png": b"<html>"})
    with pytest.raises(TailproofError, match="class 'owl'"):
        prepare(folder(tmp_path / "raw", on_bad_image="skip"), tmp_path / "samples.parquet")
    write(tmp_path / "raw", {"owl/3.png": saved(colours(99), "PNG")})
    prepare(folder(tmp_path / "raw", on_bad_image="skip"), tmp_path / "samples.parquet")
    (warning,) = read_json(tmp_path / "prepare.json")["warnings"]
    assert "'owl' (2 of 3)" in warning


def test_nothing_but_bad_images_is_an_error(tmp_path):
    write(tmp_path / "raw", {"cat/1.png": b"", "dog/1.png": b""})
    config = folder(tmp_path / "raw", on_bad_image="skip", max_bad_share=1.0)
    with pytest.raises(TailproofError, match="2 of 2 images"):
        prepare(config, tmp_path / "samples.parquet")


def test_an_array_among_pictures_is_the_bad_one_even_if_it_comes_first(tmp_path):
    pets(tmp_path / "raw/photos", 12)
    write(tmp_path / "raw/photos", {"cat/!.npy": encode_bands(np.zeros((4, 4, 2)))})
    names = [path.relative_to(tmp_path / "raw/photos") for path in
             sorted((tmp_path / "raw/photos").rglob("*.*"))]  # fmt: skip
    rows = "".join(f"{name},{name.parent}\n" for name in names)
    (tmp_path / "raw/labels.csv").write_text(f"filename,class\n{rows}")
    source = {
        "name": "metadata_csv", "root": str(tmp_path / "raw"), "table": "labels.csv",
        "images": "photos", "ranks": ["class"], "group": None,
    }  # fmt: skip
    prepare(Data(source=source, on_bad_image="skip"), tmp_path / "samples.parquet")
    assert list(bad_images(tmp_path / "bad_images.csv")) == ["photos/cat/!.npy"]
    assert table_metadata(tmp_path / "samples.parquet")["mode"] == "RGB"
    assert len(read_parquet(tmp_path / "samples.parquet")) == 24


@pytest.mark.timeout(60)
def test_a_pipe_and_a_folder_in_a_table_are_bad_images(tmp_path):
    pets(tmp_path / "raw/photos", 12)
    os.mkfifo(tmp_path / "raw/photos/cat/pipe.png")
    (tmp_path / "raw/photos/dog/folder.png").mkdir()
    names = sorted((tmp_path / "raw/photos").rglob("*.png"))
    rows = "".join(
        f"{path.relative_to(tmp_path / 'raw/photos')},{path.parent.name}\n" for path in names
    )
    (tmp_path / "raw/labels.csv").write_text(f"filename,class\n{rows}")
    source = {
        "name": "metadata_csv", "root": str(tmp_path / "raw"), "table": "labels.csv",
        "images": "photos", "ranks": ["class"], "group": None,
    }  # fmt: skip
    config = Data(source=source, on_bad_image="skip")
    prepare(config, tmp_path / "samples.parquet")
    reasons = bad_images(tmp_path / "bad_images.csv")
    assert set(reasons) == {"photos/cat/pipe.png", "photos/dog/folder.png"}
    assert str(tmp_path) not in "".join(reasons.values())
    list_raw(config, tmp_path / "samples.parquet", tmp_path / "raw.parquet")


def test_an_image_that_breaks_after_prepare_is_named_by_shard(tmp_path):
    raw = pets(tmp_path / "raw", 30)
    config = folder(raw)
    build_data(config, tmp_path / "out")
    samples, splits = (tmp_path / f"out/{name}.parquet" for name in ("samples", "splits"))
    for content in (b"<html>", heic(colours())[:60], saved(colours(999), "PNG")):
        write(raw, {path.relative_to(raw).as_posix(): content for path in raw.glob("*/*")})
        with pytest.raises(TailproofError, match=r"^(cat|dog)/\d+\.png: .*--forcerun prepare"):
            shard(samples, splits, config, "train", 0, tmp_path / "a.parquet", tmp_path / "a.json")


# --- one picture, the same pixels wherever it is read


TURNED = b"Exif\0\0MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"

DOORS = {
    "jpeg": lambda image: saved(image, "JPEG"),
    "progressive": lambda image: saved(image, "JPEG", progressive=True),
    "turned": lambda image: saved(image, "JPEG", exif=TURNED),
    "ink": lambda image: saved(image.convert("CMYK"), "JPEG"),
    "png": lambda image: saved(image, "PNG"),
    "palette": lambda image: saved(image.quantize(16), "PNG"),
    "alpha": lambda image: saved(Image.merge("RGBA", [*image.split(), image.split()[0]]), "PNG"),
    "webp": lambda image: saved(image, "WEBP"),
    "bmp": lambda image: saved(image, "BMP"),
    "tiff": lambda image: saved(image, "TIFF", compression="tiff_lzw"),
    "avif": lambda image: saved(image, "AVIF"),
    "heic": heic,
}  # fmt: skip


def test_prepare_shard_infer_and_predict_read_the_same_pixels(tmp_path):
    files = {
        f"{name}/{index}.jpg": encode(colours(index + 50 * row, (24, 24)))
        for row, (name, encode) in enumerate(DOORS.items())
        for index in range(12)
    }
    raw = write(tmp_path / "raw", files)
    manifest = build_data(folder(raw), tmp_path / "out")
    samples = read_parquet(tmp_path / "out/samples.parquet").to_pandas().set_index("sample_id")
    assert len(samples) == len(files)
    seen = set()
    for name in ("train", "val", "calib", "tune", "dev", "test"):
        split = Split(manifest, name)
        for row, sample_id in enumerate(split.sample_ids):
            inferred = split.image(row)
            given = GivenImage(sample_id, raw / sample_id)
            (predicted,) = prepare_image(given, "RGB", [Preparation((3, 24, 24), "bicubic")])
            np.testing.assert_array_equal(inferred, predicted, err_msg=sample_id)
            np.testing.assert_array_equal(
                np.asarray(Image.open(io.BytesIO(split.encoded(row)))).shape[:2], (24, 24)
            )
            assert pixel_digest(decode(split.encoded(row))) == samples.loc[sample_id, "digest"]
            seen.add(sample_id.split("/")[0])
    assert seen == set(DOORS)


def test_every_suffix_of_the_list_is_a_sample(tmp_path):
    files = {f"cat/a{suffix}": saved(colours(), "PNG") for suffix in SUFFIXES}
    files |= {f"cat/A{suffix.upper()}": saved(colours(), "PNG") for suffix in SUFFIXES}
    prepare(folder(write(tmp_path / "raw", files)), tmp_path / "samples.parquet")
    assert len(read_parquet(tmp_path / "samples.parquet")) == 2 * len(SUFFIXES)
