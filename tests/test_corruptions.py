"""Corruptions: pinned to the bit, functions of (seed, index), and what their names say."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

import mnist_lib
from mnist_lib import errors
from mnist_lib.datasets import synthetic_digits
from mnist_lib.robustness import corruptions, exact_images, noises
from mnist_lib.robustness.corruptions import CORRUPTIONS, corrupt

STRENGTHS = range(1, corruptions.NUM_STRENGTHS + 1)
# Of 50 synthetic digits at all strengths. The same with NumPy 1.26.4, SciPy 1.13.1 and Pillow
# 11.0.0 as with NumPy 2.4.6, SciPy 1.17.1 and Pillow 13.0.0; JPEG's is that of the
# libjpeg-turbo in Pillow's wheels.
PINNED = {
    "shot_noise": "c03b6d77a8d6256a",
    "impulse_noise": "39820a0fce531749",
    "gaussian_noise": "cedc35f27afc256f",
    "glass_blur": "2d6e59b257d01b24",
    "motion_blur": "37c22d285b7c29ae",
    "gaussian_blur": "741a4f85bad2ec3f",
    "shear": "548f6d3f35ea3ef0",
    "scale": "1cefcfcd45b01361",
    "rotate": "1d6ced9b08c72e90",
    "translate": "96d5392f65864386",
    "brightness": "26812460c92e219c",
    "contrast": "1df3066232655b5e",
    "stripe": "ff5012fa8d74cdc5",
    "fog": "7fe4501e6bc761ad",
    "spatter": "b10c7fcaa177d3d5",
    "dotted_line": "513849835f2f78ac",
    "zigzag": "d6e9514cf799d06e",
    "canny_edges": "dea567c996131f0d",
    "jpeg": "166a6bbcfa53ed1a",
}
# Of the first 100 test images of MNIST, all corruptions at all strengths.
PINNED_OF_MNIST = "5e8a3b04b530f7f9e88dede32e1b4d9bcb1ec5ddedac8e78e6b546d5a3fed861"
# Where a level is that of no corruption.
NEUTRAL = {
    **dict.fromkeys(("gaussian_noise", "impulse_noise", "motion_blur", "shear", "rotate"), 0),
    **dict.fromkeys(("translate", "brightness", "stripe", "fog", "dotted_line", "zigzag"), 0),
    "scale": 1.0,
    "contrast": 100,
    "canny_edges": 0,
    "gaussian_blur": 0.05,
}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return synthetic_digits.draw_digits(50, seed=0)[0]


def _sha256(images: np.ndarray, name: str) -> str:
    parts = [corrupt(images, name, strength).tobytes() for strength in STRENGTHS]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _drawn(images: np.ndarray, name: str, level: float) -> np.ndarray:
    words = exact_images.random_words(0, name, 0, len(images), CORRUPTIONS[name].num_words)
    return CORRUPTIONS[name].draw(images[..., 0].astype(np.int64), words, level)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_digits_are_the_same_everywhere(name, digits):
    assert _sha256(digits, name)[:16] == PINNED[name]


def test_corrupted_images_of_mnist_are_the_same_everywhere(prepared_mnist_dir):
    _, (images, _) = mnist_lib.load_arrays("mnist", data_dir=prepared_mnist_dir, download=False)
    digest = hashlib.sha256()
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            digest.update(corrupt(images[:100, ..., np.newaxis], name, strength).tobytes())
    assert digest.hexdigest() == PINNED_OF_MNIST


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_s_corruption_is_a_function_of_seed_and_index(name, digits, monkeypatch):
    before = digits.copy()
    whole = corrupt(digits, name, 3, seed=2**64 - 1)
    assert (whole.dtype, whole.shape) == (np.uint8, digits.shape)
    np.testing.assert_array_equal(digits, before)
    monkeypatch.setattr(corruptions, "_BLOCK_SIZE", 7)
    np.testing.assert_array_equal(corrupt(digits, name, 3, seed=2**64 - 1), whole)
    one = corrupt(digits[33:34], name, 3, seed=2**64 - 1, first_index=33)
    np.testing.assert_array_equal(one, whole[33:34])
    is_random = name not in (
        "gaussian_blur",
        "scale",
        "brightness",
        "contrast",
        "canny_edges",
        "jpeg",
    )
    assert (corrupt(digits, name, 3, seed=1) != whole).any() == is_random
    if is_random:  # and images that are alike become different ones
        alike = corrupt(np.repeat(digits[:1], 20, axis=0), name, 3)
        assert len({image.tobytes() for image in alike}) > 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_greater_strength_is_farther_from_the_image(name, digits):
    distances = [
        np.abs(corrupt(digits, name, strength).astype(int) - digits).mean()
        for strength in STRENGTHS
    ]
    assert distances[0] > 1
    assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_level_of_nothing_leaves_the_image(name, digits):
    np.testing.assert_array_equal(_drawn(digits, name, NEUTRAL[name]), digits[..., 0])


def test_noises_have_the_moments_that_they_are_named_after():
    grey = np.full((200, 28, 28, 1), 102, np.uint8)
    sensor = _drawn(grey, "gaussian_noise", 50) - 102
    assert sensor.mean() == pytest.approx(0, abs=0.5)
    assert sensor.std() == pytest.approx(50, rel=0.01)
    counts = _drawn(grey, "shot_noise", 10) * 10 / 255  # 102 / 255 of 10 photons
    assert counts.mean() == pytest.approx(4, rel=0.01)
    assert counts.var() == pytest.approx(4, rel=0.02)
    broken = _drawn(grey, "impulse_noise", 20)
    assert np.mean(broken == 0) == pytest.approx(0.1, abs=0.003)
    assert np.mean(broken == 255) == pytest.approx(0.1, abs=0.003)
    assert np.mean(_drawn(grey, "spatter", 20) != 102) == pytest.approx(0.2, abs=0.003)


def test_the_poisson_table_covers_the_brightest_pixel():
    for photons in CORRUPTIONS["shot_noise"].levels:
        table, num_counts = noises._poisson_table(photons)
        assert (np.diff(table) >= 0).all()
        assert table[-1] - 255 * 65_537 == 65_536  # of the highest count, all
        assert len(table) == 256 * num_counts


def test_blurs_and_warps_are_those_of_scipy(digits):
    images = digits[..., 0].astype(np.float64)
    for radius in CORRUPTIONS["gaussian_blur"].levels:
        reach = int(np.ceil(3 * radius))
        expected = ndimage.gaussian_filter(
            images, (0, radius, radius), mode="constant", radius=(0, reach, reach)
        )
        assert np.abs(_drawn(digits, "gaussian_blur", radius) - expected).max() < 1
    turned = _drawn(digits, "rotate", 30)
    for image, ours in zip(images, turned, strict=True):
        both = [
            ndimage.rotate(image, angle, reshape=False, order=1, mode="grid-constant")
            for angle in (30, -30)
        ]
        assert min(np.abs(one - ours).max() for one in both) < 1.5
    smaller = _drawn(digits, "scale", 0.5)
    middle = 13.5 * (1 - 2)
    for image, ours in zip(images, smaller, strict=True):
        expected = ndimage.affine_transform(image, [2, 2], middle, order=1, mode="grid-constant")
        assert np.abs(expected - ours).max() < 1


def test_translation_is_that_far_in_many_directions():
    square = np.zeros((100, 28, 28, 1), np.uint8)
    square[:, 8:20, 8:20] = 255
    ends = [ndimage.center_of_mass(image) for image in _drawn(square, "translate", 3)]
    way = np.array(ends) - 13.5
    assert np.hypot(*way.T) == pytest.approx(3, abs=0.05)
    assert len({tuple(np.sign(np.rint(one)).tolist()) for one in way}) == 8


def test_motion_blurs_along_a_line_and_keeps_the_ink():
    dot = np.zeros((60, 28, 28, 1), np.uint8)
    dot[:, 14, 14] = 255
    for smeared in _drawn(dot, "motion_blur", 4):
        assert smeared.sum() == pytest.approx(255, abs=12)  # each pixel is rounded
        at = np.argwhere(smeared > 0) - 14
        assert np.abs(at).max() in (3, 4)
        # All of it near one line through the middle: the lesser axis is short.
        assert np.linalg.svd(at.astype(float))[1][1] / np.sqrt(len(at)) < 0.7


def test_edges_are_where_a_square_ends():
    square = np.zeros((1, 28, 28, 1), np.uint8)
    square[0, 8:20, 8:20] = 255
    edges = corrupt(square, "canny_edges", 5)[0, ..., 0]
    assert set(np.unique(edges)) == {0, 255}
    assert (edges[12:16] > 0).sum(axis=1).tolist() == [2] * 4  # thin: a pixel on either side
    assert (edges[:, 12:16] > 0).sum(axis=0).tolist() == [2] * 4
    assert not edges[11:17, 11:17].any()
    assert not edges[:6].any()
    faint = square // 20
    assert not corrupt(faint, "canny_edges", 5).any()


def test_what_cannot_be_corrupted_is_refused(digits):
    for images, name, strength, seed, words in (
        (digits, "rain", 1, 0, "corruption: 'rain' is not one of shot_noise, "),
        (digits, "fog", 0, 0, "strength: 0 is not from 1 to 5"),
        (digits, "fog", 6, 0, "strength: 6 is not from 1 to 5"),
        (digits, "fog", 1, -1, "suite_seed: -1 is not in"),
        (digits, "fog", 1, 2**64, "suite_seed: 18446744073709551616 is not in"),
        (digits / 255, "fog", 1, 0, r"images: are float64 \[50, 28, 28, 1\]; uint8"),
        (digits[:, :20], "fog", 1, 0, r"images: are uint8 \[50, 20, 28, 1\]; uint8"),
    ):
        with pytest.raises(errors.ConfigError, match=words):
            corrupt(images, name, strength, seed=seed)
    assert corrupt(digits[:0], "fog", 1).shape == (0, 28, 28, 1)
