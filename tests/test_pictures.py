"""Pictures of any kind are read, and the digits in them found and framed as MNIST's are."""

import gzip
import io
import pathlib
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from mnist_lib import errors
from mnist_lib.datasets import synthetic_digits
from mnist_lib.serving import pictures
from mnist_lib.serving.pictures import framing, lines, reading

sys.path.append(str(pathlib.Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import other_shapes, photo_simulation

DIGITS = synthetic_digits.draw_digits(10, seed=5)[0][..., 0]


def encoded(image, file_format="PNG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def on_page(digits, size=84, background=255, ink=20, shape=(300, 500)) -> np.ndarray:
    """Digits of a size side by side on a page, uint8."""
    page = np.zeros(shape, np.float32)
    for number, digit in enumerate(digits):
        left = 40 + number * size
        large = np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))
        page[90 : 90 + size, left : left + size] = large / 255.0
    return np.rint(background + page * (ink - background)).astype(np.uint8)


def luminance(image: np.ndarray) -> np.ndarray:
    return pictures.read_picture(encoded(image))


def difference(found, digit) -> float:
    return float(np.abs(found.image.astype(float) - digit).mean())


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("GIF", {})],
)
def test_an_image_like_mnist_s_is_kept_to_the_bit(file_format, options):
    for digit in DIGITS:
        for image in (digit, np.stack([digit] * 3, -1)):
            content = encoded(image, file_format, **options)
            found = pictures.find_digit(pictures.read_picture(content))
            assert found.as_is
            np.testing.assert_array_equal(found.image, digit)
        inverted = pictures.find_digit(luminance(255 - digit))
        np.testing.assert_array_equal(inverted.image, digit)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_exif_says(orientation):
    undo = {
        1: lambda v: v,
        2: lambda v: v[:, ::-1],
        3: lambda v: v[::-1, ::-1],
        4: lambda v: v[::-1],
        5: lambda v: v.T,
        6: lambda v: np.rot90(v),
        7: lambda v: v[::-1, ::-1].T,
        8: lambda v: np.rot90(v, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(undo[orientation](DIGITS[4]))
    read = pictures.read_picture(encoded(stored, exif=exif))
    np.testing.assert_array_equal(np.rint(read * 255), DIGITS[4])


def test_kinds_of_pixels():
    image = Image.new("RGB", (120, 120), "white")
    ImageDraw.Draw(image).line([60, 20, 60, 100], fill="black", width=10)
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    clear = Image.new("RGBA", (120, 120), (0, 0, 0, 0))
    for colour in ("black", "white"):
        stroke = clear.copy()
        ImageDraw.Draw(stroke).line([60, 20, 60, 100], fill=colour, width=10)
        found = pictures.find_digit(pictures.read_picture(encoded(stroke)))
        assert found.background == ("light" if colour == "black" else "dark")
    for content in (
        encoded(grey * 257),
        encoded(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"),
        encoded(image.convert("P")),
        encoded(image.convert("1")),
        encoded(image.convert("CMYK"), "JPEG", quality=95),
        encoded(image.convert("LA")),
    ):
        found = pictures.find_digit(pictures.read_picture(content))
        left, top, right, bottom = found.box
        assert abs(left - 55) <= 2
        assert abs(right - 66) <= 2
        assert abs(top - 20) <= 2
        assert abs(bottom - 101) <= 2


def png_of_size(width: int, height: int, colour: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


FRAMES = [Image.new("L", (50, 50), level) for level in (0, 100, 200)]
JPEG = encoded(np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8), "JPEG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no picture", "is no PNG, JPEG, WebP, BMP, TIFF or GIF file, whatever its name"),
        (b"", "is no PNG, JPEG"),
        (JPEG[: len(JPEG) // 2], r"is broken or incomplete \(image file is truncated"),
        (encoded(DIGITS[1])[:-40], "is broken or incomplete"),
        (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "has 3 frames"),
        (encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]), "has 3 frames"),
        (encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "has 3 frames"),
        (png_of_size(20_000, 20_000), "more than 50,000,000 pixels"),
        (png_of_size(7_000, 7_000, colour=6), "need 392 MB at once, more than 100"),
        (png_of_size(7_000, 7_000, colour=2), "need 196 MB at once, more than 100"),
        (png_of_size(9_000, 9_000), "has 9,000 x 9,000 pixels, more than 50,000,000"),
        (
            encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
            "has values outside of 0 to 1",
        ),
    ],
)
def test_what_is_no_picture_gets_a_line(content, message, tmp_path, monkeypatch):
    if "more than" in message:
        monkeypatch.setattr(ImageFile.ImageFile, "load", None)  # nothing is decoded
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(errors.CorruptDataError, match=message) as caught:
        pictures.read_picture(tmp_path / "x.png")
    assert str(caught.value).startswith(f"{tmp_path}/x.png: ")
    assert "\n" not in str(caught.value)


def test_a_progressive_jpeg_is_bounded_by_what_its_passes_need(monkeypatch):
    picture = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    monkeypatch.setattr(reading, "MOST_BYTES", 90 * 90 * 6 - 1)
    assert pictures.read_picture(encoded(picture, "JPEG")).shape == (90, 90)
    with pytest.raises(errors.CorruptDataError, match="at once"):
        pictures.read_picture(encoded(picture, "JPEG", progressive=True))


def test_what_is_not_there_or_no_file(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match=r"x.png: cannot be read \(No such file"):
        pictures.read_picture(tmp_path / "x.png")
    with pytest.raises(errors.DataNotFoundError, match="is a folder"):
        pictures.read_picture(tmp_path)


def test_a_large_picture_is_averaged_down():
    large = np.asarray(Image.fromarray(DIGITS[3]).resize((5000, 3000)))
    read = luminance(large)
    assert read.shape == (1000, 1667)
    assert read.dtype == np.float32


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_is_refused(level):
    page = np.full((200, 300), level, np.float32) / 255
    page += np.random.default_rng(1).normal(0, 0.01, page.shape).astype(np.float32)
    for find in (pictures.find_digit, pictures.find_digits):
        with pytest.raises(errors.CorruptDataError, match="picture: is blank"):
            find(np.clip(page, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3), (5, 200)])
def test_pictures_too_small_for_a_digit_are_blank_or_give_one(shape):
    rng = np.random.default_rng(0)
    for picture in (np.zeros(shape, np.float32), rng.random(shape).astype(np.float32)):
        try:
            found = pictures.find_digit(picture)
        except errors.CorruptDataError as error:
            assert "is blank" in str(error)  # noqa: PT017
        else:
            assert picture.any()
            assert found.image.shape == (28, 28)


def test_wrong_arguments():
    picture = luminance(on_page(DIGITS[:1]))
    with pytest.raises(errors.ConfigError, match="background: 'grey' is not one of auto, light"):
        pictures.find_digit(picture, background="grey")
    with pytest.raises(errors.ConfigError, match=r"picture: uint8 \[28, 28\]; expected float32"):
        pictures.find_digit(DIGITS[0])


@pytest.mark.parametrize(("background", "ink"), [(255, 20), (200, 60), (15, 240), (60, 160)])
def test_a_digit_on_a_page_is_framed_as_mnist_s(background, ink):
    kind = "light" if background > ink else "dark"
    for digit in DIGITS:
        rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
        box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        expected = framing.frame(box.astype(np.float32) / 255)
        for choice in ("auto", kind):
            page = luminance(on_page([digit], background=background, ink=ink))
            found = pictures.find_digit(page, background=choice)
            assert found.background == kind
            assert difference(found, expected) < 16  # moved by one pixel: 13
            left, top, right, bottom = found.box
            assert 40 <= left < right <= 124
            assert 90 <= top < bottom <= 174


def test_a_digit_is_found_on_lined_paper_in_a_shadow():
    page = on_page(DIGITS[:1], ink=40).astype(np.float32)
    plain = pictures.find_digit(luminance(page.astype(np.uint8)))
    for at in range(20, 300, 30):
        page[at : at + 2] = np.minimum(page[at : at + 2], 170)
        page[:, at : at + 2] = np.minimum(page[:, at : at + 2], 170)
    page[:, 200:] *= 0.5
    found = pictures.find_digit(luminance(page.astype(np.uint8)))
    assert np.abs(np.subtract(found.box, plain.box)).max() <= 4
    assert difference(found, plain.image) < 15


def test_lines_are_found_and_strokes_left():
    ink = np.zeros((200, 300), bool)
    ink[50:52] = True  # level
    ink[np.rint(100 + 0.05 * np.arange(300)).astype(int), np.arange(300)] = True  # leaning
    ink[:, 200:203] = True  # upright
    only_lines = ink.copy()
    ink[40:120, 100:110] = True  # a stroke that crosses two
    ink[60:66, 20:90] = True  # one that goes nowhere near the edges
    found = lines.find_lines(ink)
    assert not (found & ~only_lines).any()
    assert (found & only_lines).sum() > 0.95 * only_lines.sum()
    assert not lines.find_lines(ink & ~only_lines).any()


def test_the_digits_of_a_line_come_from_left_to_right():
    chosen = DIGITS[[3, 1, 4, 1, 5]]
    found = pictures.find_digits(luminance(on_page(chosen, size=80)))
    assert len(found) == 5
    assert sorted(one.box for one in found) == [one.box for one in found]
    for one, digit in zip(found, chosen, strict=True):
        assert difference(one, digit) < 15
    single = pictures.find_digits(luminance(DIGITS[7]))
    np.testing.assert_array_equal(single[0].image, DIGITS[7])


def test_centring_is_that_of_mnist(originals_dir):
    """Every tenth test image is placed where MNIST's makers did, from its bounding box alone."""
    content = gzip.decompress((originals_dir / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)[::10]
    for image in images:
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.testing.assert_array_equal(framing.centred(box), image)


def test_a_seed_decides_a_simulated_photo():
    """And the finder sees the digit in one of each kind of paper."""
    kinds = {}
    for seed in range(12):
        photo = photo_simulation.take_photo(DIGITS[:1], np.random.default_rng(seed))
        kinds[photo.paper] = seed, photo.content
    assert set(kinds) == {"plain", "ruled", "checked", "board"}
    for paper, (seed, content) in kinds.items():
        again = photo_simulation.take_photo(DIGITS[:1], np.random.default_rng(seed))
        assert again.content == content
        found = pictures.find_digit(pictures.read_picture(content))
        assert found.background == ("dark" if paper == "board" else "light")
        assert found.image[14, 14] < 60 < found.image.max()  # the hole of a zero


def test_what_is_no_digit_is_drawn_as_digits_are_framed():
    rng = np.random.default_rng(0)
    for drawn in (
        other_shapes.draw_letters(3, "report", rng),
        other_shapes.draw_scribbles(3, rng),
        other_shapes.draw_shapes(3, rng),
        other_shapes.draw_noise(3, rng),
    ):
        assert drawn.shape == (3, 28, 28)
        assert (drawn.max(axis=(1, 2)) > 100).all()
