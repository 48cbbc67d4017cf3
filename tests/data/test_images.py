import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from tailproof.data import images
from tailproof.data.images import decode, encode_png, pixel_digest
from tailproof.runtime.errors import TailproofError

# Pillow warns of damaged TIFF tags and of great sizes before it refuses the file.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

side = st.integers(1, 12)
grey = st.tuples(side, side).flatmap(lambda shape: hnp.arrays(np.uint8, shape))
colour = st.tuples(side, side, st.just(3)).flatmap(lambda shape: hnp.arrays(np.uint8, shape))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


def colourful(size: tuple[int, int] = (40, 30)) -> Image.Image:
    bands = [gradient("L", size).rotate(angle) for angle in (0, 90, 180)]
    return Image.merge("RGB", bands)


def by_pillow(data: bytes, mode: str | None) -> np.ndarray | None:
    """What Pillow alone makes of a file without EXIF, None where it refuses."""
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"])
        grey = image.mode in ("1", "L", "LA")
        array = np.asarray(image.convert(mode or ("L" if grey else "RGB")))
    except (
        Image.DecompressionBombError, OSError, SyntaxError, ValueError, struct.error, zlib.error
    ):  # fmt: skip
        return None
    if mode is None and array.ndim == 3 and (array == array[..., :1]).all():
        return array[..., 0]
    return array


def decoded(data: bytes, mode: str | None) -> np.ndarray | None:
    try:
        return decode(data, mode)
    except TailproofError:
        return None


@given(st.one_of(grey, colour))
def test_png_keeps_every_pixel_and_is_always_the_same_bytes(image):
    data = encode_png(image)
    assert data == encode_png(image.copy())
    mode = "L" if image.ndim == 2 else "RGB"
    np.testing.assert_array_equal(decode(data, mode), image)


@given(grey)
def test_a_picture_without_colour_is_greyscale_however_it_is_stored(image):
    as_rgb = encode_png(np.stack([image] * 3, axis=-1))
    np.testing.assert_array_equal(decode(as_rgb), image)
    np.testing.assert_array_equal(decode(as_rgb, "L"), image)
    assert pixel_digest(decode(as_rgb)) == pixel_digest(decode(encode_png(image)))


def test_digest_tells_shape_and_mode_apart():
    pixels = np.arange(36, dtype=np.uint8)
    images = [pixels.reshape(shape) for shape in ((6, 6), (4, 9), (9, 4), (3, 4, 3), (4, 3, 3))]
    assert len({pixel_digest(image) for image in images}) == len(images)


def test_digest_reads_pixels_not_memory_order():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert pixel_digest(np.asfortranarray(image)) == pixel_digest(image)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_every_format_decodes_to_height_width_channels(kind):
    data = encode(colourful(), kind)
    assert decode(data).shape == (30, 40, 3)
    assert decode(data, "L").shape == (30, 40)
    assert decode(data).dtype == np.uint8


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to show
    upright = np.asarray(colourful().transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(decode(encode(colourful(), "PNG", exif=exif)), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_jpeg(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(colourful(), "JPEG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(turned))


@settings(max_examples=300)
@given(
    image=st.one_of(grey, colour),
    scale=st.integers(1, 9),
    mode=st.sampled_from([None, "L", "RGB"]),
    options=st.fixed_dictionaries(
        {
            "quality": st.integers(1, 100),
            "subsampling": st.integers(0, 2),
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "restart_marker_blocks": st.integers(0, 3),
            "comment": st.binary(max_size=9),
        }
    ),
)
def test_a_jpeg_has_the_pixels_that_pillow_gives(image, scale, mode, options):
    picture = Image.fromarray(image)
    picture = picture.resize((picture.width * scale, picture.height * scale))
    data = encode(picture, "JPEG", **options)
    np.testing.assert_array_equal(decode(data, mode), by_pillow(data, mode))


@given(
    image=st.one_of(grey, colour),
    stored=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]),
    mode=st.sampled_from([None, "L", "RGB"]),
    level=st.integers(0, 9),
)
def test_a_png_has_the_pixels_that_pillow_gives(image, stored, mode, level):
    picture = Image.fromarray(image).convert("RGB").convert(stored)
    data = encode(picture, "PNG", compress_level=level)
    np.testing.assert_array_equal(decode(data, mode), by_pillow(data, mode))


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_other_colour_modes_become_rgb(mode):
    image = colourful().convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(encode(image, kind)), expected)


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_other_grey_modes_become_l(mode):
    image = gradient(mode)
    np.testing.assert_array_equal(decode(encode(image, "PNG")), np.asarray(image.convert("L")))


def test_a_result_can_be_written_to():
    image = decode(encode_png(np.zeros((2, 2), np.uint8)))
    image[0, 0] = 1
    assert image.sum() == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_refused_and_says_why(kind):
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    with pytest.raises(TailproofError, match="16 bits"):
        decode(encode(deep, kind))


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_16_bit_colour_is_refused_and_says_why(kind):
    faint = np.arange(192, dtype=np.uint16).reshape(8, 8, 3)
    with pytest.raises(TailproofError, match="16 bits"):
        decode(cv2.imencode(kind, faint)[1].tobytes())


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_grey_is_refused(mode):
    with pytest.raises(TailproofError, match="32 bits"):
        decode(encode(gradient("L").convert(mode), "TIFF"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "empty"), (b"<html>404</html>", "HTML"), (b"\x89PNG\r\n\x1a\n", "PNG")],
)
def test_what_is_no_image_is_refused(data, kind):
    with pytest.raises(TailproofError, match=kind):
        decode(data)


def test_a_format_that_was_not_asked_for_is_refused():
    with pytest.raises(TailproofError, match="GIF"):
        decode(encode(gradient("P"), "GIF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_image_is_refused_unless_every_pixel_is_there(kind):
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    whole = decode(data)
    complete = []
    for length in range(len(data)):
        try:
            image = decode(data[:length])
        except TailproofError:
            pass
        else:
            np.testing.assert_array_equal(image, whole)
            complete.append(length)
    # PNG's checksums and empty end chunk, BMP's padding
    assert all(len(data) - length <= 21 for length in complete)


def test_a_decompression_bomb_is_refused():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    data += struct.pack(">I", zlib.crc32(chunk))
    data += encode_png(np.zeros((2, 2), np.uint8))[33:]  # its pixels and end
    with pytest.raises(TailproofError, match="too large"):
        decode(data)


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1)), max_size=4)
# Damage may write any size into a header, at hundreds of megabytes each.
few_pixels = mock.patch.object(Image, "MAX_IMAGE_PIXELS", 1_000_000)


def damaged(data: bytes, changes: list[tuple[float, bytes]]) -> bytes:
    """Write over `data` at shares of its length."""
    data = bytearray(data)
    for share, new in changes:
        start = int(share * len(data))
        data[start : start + len(new)] = new
    return bytes(data)


@few_pixels
@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]), changes=changes)
def test_damaged_bytes_give_an_image_or_one_clear_error(kind, changes):
    data = damaged(encode(colourful((9, 7)), kind), changes)
    try:
        image = decode(data)
    except TailproofError as error:
        assert " at 0x" not in str(error)
    else:
        assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,))


@few_pixels
@settings(max_examples=500)
@given(
    kind=st.sampled_from(["PNG", "JPEG"]),
    changes=changes,
    mode=st.sampled_from([None, "L", "RGB"]),
)
@example(kind="JPEG", changes=[(0.2109375, b"\x1a\x00i")], mode=None)  # 26,909 × 6,656 pixels
def test_of_damaged_bytes_becomes_what_pillow_makes_of_them(kind, changes, mode):
    data = damaged(encode(colourful((29, 17)), kind), changes)
    found, expected = decoded(data, mode), by_pillow(data, mode)
    assert (found is None) == (expected is None)
    if found is not None and b"Exif" not in data:
        np.testing.assert_array_equal(found, expected)


def pictures() -> dict[str, bytes]:
    """A picture of each kind that is converted, larger than the strips of the tests."""
    alpha = gradient("L").rotate(90).point(lambda level: level // 2 * 2)
    transparent = colourful()
    transparent.putalpha(alpha)
    white = Image.new("RGBA", (40, 30), (255, 255, 255, 0))
    white.paste((255, 255, 255, 255), (5, 5, 30, 9))
    palette = colourful().quantize(32)
    exif = Image.Exif()
    rotated = {}
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        for kind, options in (("JPEG", {"progressive": True}), ("PNG", {}), ("TIFF", {})):
            rotated[f"{kind} {orientation}"] = encode(colourful(), kind, exif=exif, **options)
    return {
        **rotated,
        "transparent": encode(transparent, "PNG"),
        "drawn in white": encode(white, "PNG"),
        "palette": encode(palette, "PNG"),
        "transparent palette": encode(palette, "PNG", transparency=3),
        "transparent colour": encode(colourful(), "PNG", transparency=(255, 255, 255)),
        "CMYK": encode(colourful().convert("CMYK"), "JPEG"),
        "one bit": encode(gradient("1"), "PNG"),
        "grey with alpha": encode(transparent.convert("LA"), "PNG"),
        "plain JPEG": encode(colourful(), "JPEG"),
        "plain PNG": encode(colourful(), "PNG"),
        "grey declared as RGB": encode(gradient(), "WebP", lossless=True),
    }


@pytest.mark.parametrize("mode", [None, "L", "RGB"])
def test_large_pictures_have_the_pixels_of_small_ones(monkeypatch, mode):
    expected = {name: images.read_picture(data, mode) for name, data in pictures().items()}
    monkeypatch.setattr(images, "LARGE", 0)
    for strip in (1, 90, 700):
        monkeypatch.setattr(images, "STRIP", strip)
        for name, data in pictures().items():
            picture = images.read_picture(data, mode)
            np.testing.assert_array_equal(picture.pixels, expected[name].pixels, err_msg=name)
            assert picture.notes == expected[name].notes
            assert picture.pixels.flags.c_contiguous


def test_a_damaged_large_picture_lets_the_next_one_be_decoded(monkeypatch):
    monkeypatch.setattr(images, "LARGE", 0)
    whole = encode(colourful(), "JPEG", progressive=True)
    with pytest.raises(TailproofError):
        decode(whole[: len(whole) // 2])
    with ThreadPoolExecutor(4) as pool:
        decoded_pictures = list(pool.map(decode, [whole] * 8))
    assert all(np.array_equal(picture, decoded_pictures[0]) for picture in decoded_pictures)


MEASURE = """
import resource, sys
from tailproof.data.images import decode
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = decode(data)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 / pixels.shape[0] / pixels.shape[1])
"""


def test_decoding_holds_a_picture_twice_at_most(tmp_path):
    """Pillow has 4 bytes per pixel, the array 3; whole copies would make 14."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large.jpg"
    colourful((4000, 3000)).save(path, exif=exif, progressive=True)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 9
