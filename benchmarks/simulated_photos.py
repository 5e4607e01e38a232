"""Measures predictions of pictures, and writes the table of `docs/predict.md`.

    python -m benchmarks.simulated_photos --workdir=runs/mine --page=docs/predict.md

MNIST's test images as files in several ways, simulated photos of them, lines of five, and what
is no digit. All is drawn with `--seed`; the finder was developed on training images and others.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import io
import multiprocessing
import pathlib
import tempfile
import typing
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import stats

import mnist_lib
from benchmarks import other_shapes, photo_simulation
from mnist_lib import files
from mnist_lib.serving import pictures

if typing.TYPE_CHECKING:  # those who only draw pictures need no TensorFlow
    from mnist_lib.serving.predictor import Predictor

_MARKS = "<!-- measured -->", "<!-- end of measured -->"
_LINE = 5


def _encoded(image: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, file_format, **options)
    return stream.getvalue()


def _off_centre(image: np.ndarray, rng: np.random.Generator) -> bytes:
    page = np.zeros((300, 400), np.uint8)
    size = int(rng.integers(28, 141))
    large = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
    top, left = int(rng.integers(301 - size)), int(rng.integers(401 - size))
    page[top : top + size, left : left + size] = large
    return _encoded(page)


def _turned_by_exif(image: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    return _encoded(np.rot90(image), exif=exif)


VARIANTS: dict[str, Callable[[np.ndarray, np.random.Generator], bytes]] = {
    "as they are": lambda image, rng: _encoded(image),
    "inverted": lambda image, rng: _encoded(255 - image),
    "JPEG, quality 50": lambda image, rng: _encoded(image, "JPEG", quality=50),
    "turned, and EXIF says so": lambda image, rng: _turned_by_exif(image),
    "enlarged 10x": lambda image, rng: _encoded(
        np.asarray(Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC))
    ),
    "28 to 140 pixels on a 400 x 300 page": _off_centre,
}


def _draw(name: str, seed: int, number: int, digits: np.ndarray) -> bytes:
    rng = np.random.default_rng([seed, number])
    if name in VARIANTS:
        return VARIANTS[name](digits[0], rng)
    return photo_simulation.take_photo(digits, rng).content


def write_files(
    name: str, digits: np.ndarray, seed: int, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Draws pictures and writes them; what they are, their first bytes tell.

    Args:
      name: one of `VARIANTS`, or any other for photos.
      digits: uint8 `[N, D, 28, 28]`, D digits for each picture.
      seed: decides what is drawn.
      folder: to write to.
    """
    draw = functools.partial(_draw, name, seed)
    context = multiprocessing.get_context("spawn")
    paths = [folder / f"{number:05d}" for number in range(len(digits))]
    with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
        contents = pool.map(draw, range(len(digits)), digits, chunksize=25)
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
    return paths


def _plain(paths: list[pathlib.Path], inverted: bool) -> np.ndarray:
    """Returns the pictures as a plain resize makes them, uint8 `[N, 28, 28]`."""
    small = []
    for path in paths:
        picture = Image.fromarray(pictures.read_picture(path)).resize((28, 28))
        small.append(np.asarray(picture))
    images = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return 255 - images if inverted else images


def _share(right: np.ndarray) -> str:
    return f"{right.mean():.2%} ({int(right.sum())} of {len(right)})"


def measure_singles(
    name: str, predictor: Predictor, images: np.ndarray, labels: np.ndarray, seed: int
) -> str:
    """Returns a row of the table: pictures of one digit each."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(name, images[:, None], seed, pathlib.Path(folder))
        found = list(predictor.predict_files(paths))
        plain = [
            predictor.predict(_plain(paths, inverted)).argmax(1) == labels
            for inverted in (False, True)
        ]
    right = np.array([one.label == str(label) for one, label in zip(found, labels, strict=True)])
    direct = predictor.predict(images).argmax(1) == labels
    probabilities = [one.probabilities for one in found if one.error is None]
    same = len(probabilities) == len(images) and np.array_equal(
        np.array(probabilities), predictor.predict(images)
    )
    cells = [name, _share(right), f"{direct.mean():.2%}", "yes" if same else "no"]
    return _row([*cells, f"{plain[0].mean():.2%}", f"{plain[1].mean():.2%}"])


def measure_lines(
    predictor: Predictor, images: np.ndarray, labels: np.ndarray, number: int, seed: int
) -> str:
    """Returns a sentence: lines of five digits that are wholly right."""
    rng = np.random.default_rng([seed, 99])
    chosen = rng.choice(len(images), (number, _LINE), replace=False)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files("lines", images[chosen], seed + 1, pathlib.Path(folder))
        read: dict[str, str] = {str(path): "" for path in paths}
        for one in predictor.predict_files(paths, several=True):
            read[one.file] += one.label or "?"
    wanted = ["".join(map(str, labels[row])) for row in chosen]
    right = np.array([a == b for a, b in zip(read.values(), wanted, strict=True)])
    counts = np.array([len(text) == _LINE for text in read.values()])
    direct = predictor.predict(images[chosen.ravel()]).argmax(1) == labels[chosen.ravel()]
    direct = direct.reshape(-1, _LINE).all(1)
    return (
        f"Lines of five digits (`--several`), wholly right: {_share(right)}; the number of digits "
        f"is right in {_share(counts)}. Of the same digits as test images the model reads "
        f"{direct.mean():.2%} of the lines wholly right."
    )


def measure_scores(predictor: Predictor, images: np.ndarray, number: int, seed: int) -> str:
    """Returns a table: how well the digit score tells digits from what is none."""
    from mnist_lib.serving.file_predictions import digit_scores

    rng = np.random.default_rng([seed, 98])
    digits = digit_scores(predictor.predict(images))
    limit = float(np.quantile(digits, 0.05))
    others = {
        "letters in other fonts": other_shapes.draw_letters(number, "report", rng),
        "scribbles": other_shapes.draw_scribbles(number, rng),
        "shapes, shirts": other_shapes.draw_shapes(number, rng),
        "blots of noise": other_shapes.draw_noise(number, rng),
    }
    lines = [
        _row(["test digits against", "AUROC", "others below 95 % of digits"]),
        _row(["---"] * 3),
    ]
    for name, drawn in others.items():
        scores = digit_scores(predictor.predict(drawn))
        wins = stats.mannwhitneyu(digits, scores).statistic / (len(digits) * len(scores))
        lines.append(_row([name, f"{wins:.3f}", f"{(scores < limit).mean():.1%}"]))
    lines += ["", f"Of the test digits 95 % score {limit:.3f} or more with this model."]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measures, prints, and writes the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--page", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--num_images", type=int, default=10_000)
    parser.add_argument("--num_photos", type=int, default=1000)
    parser.add_argument("--num_lines", type=int, default=500)
    options = parser.parse_args()
    _, (images, labels) = mnist_lib.load_arrays("mnist")
    images = images.reshape(-1, 28, 28)
    predictor = mnist_lib.load_predictor(options.workdir)
    config = mnist_lib.load_config(options.workdir)
    headings = ["pictures", "right", "same images, direct", "same to the bit", "plain resize"]
    table = [_row([*headings, "inverted plain resize"]), _row(["---"] * 6)]
    order = np.random.default_rng(options.seed).permutation(len(images))[: options.num_photos]
    table.append(
        measure_singles("simulated photos", predictor, images[order], labels[order], options.seed)
    )
    print(table[-1], flush=True)
    lines = measure_lines(predictor, images, labels, options.num_lines, options.seed)
    print(lines, flush=True)
    scores = measure_scores(predictor, images, options.num_photos, options.seed)
    print(scores, flush=True)
    for name in VARIANTS:
        some = slice(0, options.num_images)
        table.append(measure_singles(name, predictor, images[some], labels[some], options.seed))
        print(table[-1], flush=True)
    if options.page is not None:
        made = f"With a run of `--model={config.model}`, seed {options.seed} of the pictures:"
        text = "\n".join([made, "", *table, "", lines, "", scores])
        page = options.page.read_text()
        before, rest = page.split(_MARKS[0])
        after = rest.split(_MARKS[1])[1]
        whole = f"{before}{_MARKS[0]}\n{text}\n{_MARKS[1]}{after}"
        files.replace_file(options.page, whole.encode())


if __name__ == "__main__":
    main()
