"""Reads picture files that anybody may have made: bounded, nothing in them is carried out."""

from __future__ import annotations

import concurrent.futures
import io
import os
import pathlib
import typing
import warnings

import numpy as np
from PIL import Image

from mnist_lib import errors, os_errors, paths

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# As large as phones take: their JPEG files are decoded at the size that is used.
MOST_PIXELS = 50_000_000
MOST_BYTES = 100_000_000  # of all pixels, where a decoder has to hold them at once
LONGEST_SIDE = 2048  # of what is returned; larger pictures are averaged down
_LARGE = 4_000_000  # pixels, from which on memory and not speed decides
# One at a time, and in one thread: of what each thread frees, malloc keeps much for it.
_large_ones = concurrent.futures.ThreadPoolExecutor(1, "large-pictures")
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
_ASK = "Save it again as a PNG or JPEG."


def read_picture(source: str | os.PathLike[str] | bytes) -> np.ndarray:
    """Reads a PNG, JPEG, WebP, BMP, TIFF or GIF file as luminance.

    It is turned as its EXIF data says. What is transparent is shown on white, or on black if
    all that is visible is light. Colours become luminance by ITU-R BT.601.

    Args:
      source: the file, or what it holds.

    Returns:
      float32 `[H, W]`, 0 black to 1 white. An 8 bit grey value v gives exactly v / 255. Of
      pictures with a side longer than 2,048 an average, whose longer side is at most that.

    Raises:
      DataNotFoundError: there is no such file, or it cannot be read.
      CorruptDataError: it is no picture, is broken off, has more than 50,000,000 pixels or
        needs more than 100 MB for them (its header tells; nothing is decoded), or several
        frames.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "picture")
    path = paths.local("file", source)
    with os_errors.reading(path, "Pass a picture that is there and that you may read."):
        if path.exists() and not path.is_file():
            kind = "a folder; pass the files in it" if path.is_dir() else "no regular file"
            raise errors.DataNotFoundError(f"{path}: is {kind}.")
        with path.open("rb") as stream:
            return _read(stream, path)


def _read(stream: typing.BinaryIO, name: pathlib.Path | str) -> np.ndarray:
    """Reads a picture from a stream, of which errors call it `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of odd tags
            with Image.open(stream, formats=FORMATS) as image:
                _check_header(image, name)
                if image.width * image.height > _LARGE:
                    return _large_ones.submit(_luminance, image, name).result()
                return _luminance(image, name)
    except errors.MnistLibError:
        raise
    except Image.DecompressionBombError as error:
        raise errors.CorruptDataError(
            f"{name}: has more than {MOST_PIXELS:,} pixels by its header. Make it smaller."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise errors.CorruptDataError(
            f"{name}: is no PNG, JPEG, WebP, BMP, TIFF or GIF file, whatever its name. {_ASK}"
        ) from error
    except Exception as error:  # decoders raise whatever comes to them of broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise errors.CorruptDataError(
            f"{name}: is broken or incomplete ({reason}). {_ASK}"
        ) from error


def _check_header(image: Image.Image, name: pathlib.Path | str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise errors.CorruptDataError(
            f"{name}: has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}. Make it "
            "smaller."
        )
    needed = width * height * _bytes_per_pixel(image)
    if needed > MOST_BYTES:
        raise errors.CorruptDataError(
            f"{name}: has {width:,} x {height:,} pixels that need {needed // 1_000_000:,} MB at "
            f"once, more than {MOST_BYTES // 1_000_000}. Make it smaller, or save it as a JPEG."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # phones keep a preview behind the photo
        raise errors.CorruptDataError(
            f"{name}: has {frames} frames or pages. Save the one that is meant by itself."
        )


def _bytes_per_pixel(image: Image.Image) -> int:
    """Returns how much of memory decoding a picture takes at once."""
    if image.format in ("JPEG", "MPO"):
        # A progressive one comes in passes over all of its coefficients, 16 bits each.
        return 2 * len(image.getbands()) if image.info.get("progressive") else 0
    # Pillow has a byte for a pixel of one 8 bit channel, else 4. Others than these are converted
    # first, and what is transparent is multiplied by its opacity to be averaged.
    return {"1": 1, "L": 1, "RGB": 4, "P": 9, "RGBA": 8}.get(image.mode, 12)


def _luminance(image: Image.Image, name: pathlib.Path | str) -> np.ndarray:
    """Decodes a picture to float32 `[H, W]` in 0..1."""
    if max(image.size) > LONGEST_SIDE:
        image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # of a JPEG decodes only what is used
    image.load()
    orientation = image.getexif().get(0x0112)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _turned(_deep(image, name), orientation)
    has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    wanted = "RGBA" if has_alpha else "L" if image.mode == "L" else "RGB"
    shown = _reduced(image if image.mode == wanted else image.convert(wanted))
    grey = _on_what_contrasts(shown) if has_alpha else shown.convert("L")
    return _turned(np.asarray(grey, np.float32) / np.float32(255), orientation)


def _deep(image: Image.Image, name: pathlib.Path | str) -> np.ndarray:
    """Returns a grey picture of 16 bits, or of numbers from 0 to 1, in 0..1."""
    largest = 1.0 if image.mode == "F" else 65535.0
    values = np.asarray(image)
    # Of NaN every comparison is false.
    if not (values.min() >= 0 and values.max() <= largest):
        raise errors.CorruptDataError(
            f"{name}: has values outside of 0 to {largest:g}. Save it with 8 or 16 bits."
        )
    return np.asarray(_reduced(Image.fromarray(values.astype(np.float32) / np.float32(largest))))


def _reduced(image: Image.Image) -> Image.Image:
    factor = -(-max(image.size) // LONGEST_SIDE)
    return image.reduce(factor) if factor > 1 else image


def _on_what_contrasts(image: Image.Image) -> Image.Image:
    """Shows a picture with transparency on white, or on black if all of its ink is light."""
    grey, alpha = image.convert("L"), image.getchannel("A")
    darkest = np.asarray(grey)[np.asarray(alpha) > 127]
    ground = 0 if darkest.size and darkest.min() > 127 else 255
    if darkest.size < alpha.width * alpha.height:
        return Image.composite(grey, Image.new("L", grey.size, ground), alpha)
    return grey


def _turned(values: np.ndarray, orientation: int | None) -> np.ndarray:
    """Turns a picture as EXIF's tag 0x0112 says how it was taken."""
    turn = {
        2: lambda v: v[:, ::-1],
        3: lambda v: v[::-1, ::-1],
        4: lambda v: v[::-1],
        5: lambda v: v.T,
        6: lambda v: np.rot90(v, -1),
        7: lambda v: v[::-1, ::-1].T,
        8: lambda v: np.rot90(v),
    }.get(orientation or 1)
    return values if turn is None else np.ascontiguousarray(turn(values))
