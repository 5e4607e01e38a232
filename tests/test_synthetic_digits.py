"""The embedded data set: the same bytes everywhere, balanced, and learnable."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import mnist_lib
from mnist_lib.datasets import loading, splits, synthetic_digits

# SHA-256 of the image bytes; a change of any pixel makes this another data set, and
# then needs another version in the catalogue.
FIRST_1000 = "bd54e7630833e1b919fb7945b0f619b4940da0d405c7c1ae3396bb94669c7fb4"
# SHA-256 of the image bytes and the label bytes of the built splits.
BUILT = {
    "train": "8d9b751ae7a1b1937132946b0a145ec329a2f5b40b6ed4228066ba1676c3f51b",
    "test": "8c4c06b5d02ba6eda5c6cdfb0ea6bb5aa09baa49bb46024a10b554c1ab6b0951",
}


def _sha256(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_images_are_pinned():
    images, labels = synthetic_digits.draw_digits(1000, seed=0)
    assert (images.shape, images.dtype) == ((1000, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(labels, np.arange(1000) % 10)
    assert _sha256(images) == FIRST_1000


def test_they_are_the_same_on_one_core():
    code = (
        "import os, hashlib; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from mnist_lib.datasets.synthetic_digits import draw_digits;"
        "print(hashlib.sha256(draw_digits(1000, seed=0)[0].tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == FIRST_1000


def test_an_image_is_the_same_in_whatever_range_it_is_drawn():
    images, labels = synthetic_digits.draw_digits(4100, seed=3)
    part, part_labels = synthetic_digits.draw_digits(2050, seed=3, first_index=2037)
    np.testing.assert_array_equal(part, images[2037:4087])
    np.testing.assert_array_equal(part_labels, labels[2037:4087])
    other, _ = synthetic_digits.draw_digits(10, seed=4)
    assert not np.array_equal(other, images[:10])


def test_they_are_formatted_as_mnist():
    """Within the middle 20x20 give or take the centring; ink profile; centre of mass."""
    images, _ = synthetic_digits.draw_digits(2000, seed=0)
    pixels = images[..., 0].astype(float)
    assert pixels.max() == 255
    axis = np.arange(28)
    mass = pixels.sum((1, 2))
    for axes in (1, 2):
        centre = (pixels.sum(axes) @ axis) / mass
        assert np.abs(centre - 13.5).max() <= 1.0
    # MNIST's training images: 19.1 % of the pixels are not background, mean value 33.3.
    assert 0.15 < (pixels > 0).mean() < 0.23
    assert 27 < pixels.mean() < 40


@pytest.mark.slow
@pytest.mark.parametrize("num_cores", [1, 2])
def test_every_build_is_the_pinned_data_set(num_cores, tmp_path):
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[:num_cores]))
    try:
        folder = tmp_path / "data"
        prepared = mnist_lib.prepare_dataset("synthetic_digits", data_dir=folder)
        assert prepared.source == "generated"
        for split, expected in BUILT.items():
            images, labels = loading.read_prepared(prepared, split)
            assert _sha256(images, labels.astype(np.uint8)) == expected
            if split == "train":
                assert splits.manifest()["synthetic_digits"] == splits.manifest_entry(labels)
    finally:
        os.sched_setaffinity(0, cores)
