import numpy as np
import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import choices
from mnist_lib.training import augmentation

RNG = np.random.default_rng(0)
IMAGES = np.zeros((32, 28, 28, 1), np.uint8)
IMAGES[:, 8:20, 8:20] = RNG.integers(100, 256, (32, 12, 12, 1))


def _named(name, seed=0):
    return augmentation.named_augmentation(name, seed)


@pytest.mark.parametrize("name", ["affine", "elastic", "cutout", "full"])
def test_an_image_depends_on_its_position_alone(name):
    """Not on the batch it is in: so not on replicas, nor on where a run was resumed."""
    augment = tf.function(_named(name))
    whole = augment(IMAGES, 1000).numpy()
    assert (whole.shape, whole.dtype) == (IMAGES.shape, np.uint8)
    for first, size in ((0, 7), (7, 20), (27, 5)):
        part = augment(IMAGES[first : first + size], 1000 + first)
        np.testing.assert_array_equal(part, whole[first : first + size])
    assert not np.array_equal(augment(IMAGES, 2000), whole)
    assert not np.array_equal(_named(name, seed=1)(IMAGES, 1000), whole)
    assert not np.array_equal(whole, IMAGES)


def test_nothing_asked_changes_nothing():
    np.testing.assert_array_equal(mnist_lib.Augmentation()(IMAGES, 0), IMAGES)
    assert _named("none") is None


def test_translation_moves_the_centre_of_mass():
    augment = mnist_lib.Augmentation(translation_pixels=3)
    moved = augment(IMAGES, 0).numpy().astype(float)[..., 0]
    shifts = augment.transforms(32, 0).numpy()[:, [2, 5]]
    assert np.abs(shifts).max() <= 3
    axis = np.arange(28)
    for image, original, (shift_x, shift_y) in zip(moved, IMAGES[..., 0], shifts, strict=True):
        found = [(image.sum(k) @ axis) / image.sum() for k in (0, 1)]
        before = [(original.sum(k) @ axis) / original.sum() for k in (0, 1)]
        # The output shows what lies at +shift: the ink moves by -shift.
        np.testing.assert_allclose(np.subtract(found, before), [-shift_x, -shift_y], atol=0.1)


def test_bounds_of_rotation_scale_and_shear():
    def linear_part(**options):
        transforms = mnist_lib.Augmentation(**options).transforms(2000, 0).numpy()
        return transforms[:, [0, 1, 3, 4]].reshape(-1, 2, 2)

    rotation = linear_part(rotation_degrees=15)
    angles = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    assert 14 < np.abs(angles).max() <= 15
    np.testing.assert_allclose(np.linalg.det(rotation), 1, rtol=1e-5)
    size = 1 / np.sqrt(np.linalg.det(linear_part(scale=0.2)))
    assert 0.8 <= size.min() < 0.81
    assert 1.19 < size.max() <= 1.2001
    slants = np.degrees(np.arctan(linear_part(shear_degrees=20)[:, 0, 1]))
    assert 19 < np.abs(slants).max() <= 20.001


@pytest.mark.parametrize("name", ["affine", "full"])
def test_there_are_no_flips(name):
    """A mirrored 2 reads as an S and a mirrored 5 as a 2: orientation must be kept."""
    transforms = _named(name).transforms(5000, 0).numpy()
    linear = transforms[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
    assert np.linalg.det(linear).min() > 0.5
    fields = {field.name for field in augmentation.dataclasses.fields(mnist_lib.Augmentation)}
    assert not any("flip" in field for field in fields)


def test_elastic_deformation_is_smooth_and_bounded():
    augment = mnist_lib.Augmentation(elastic_pixels=2)
    field = augment._displacements(64, tf.constant(0, tf.int64)).numpy()
    assert 1.5 < np.abs(field).max() < 3.5  # bicubic interpolation overshoots a little
    assert np.abs(np.diff(field, axis=1)).max() < 1.2
    assert 0.3 < field.std() < 1.5


def test_warp_by_nothing_is_the_identity():
    still = tf.constant([[1.0, 0, 0, 0, 1, 0]] * 32)
    np.testing.assert_array_equal(
        augmentation._warp(IMAGES, still, tf.zeros([32, 28, 28, 2])), IMAGES
    )


def test_warp_agrees_with_the_projective_transform():
    transforms = mnist_lib.Augmentation(rotation_degrees=20, translation_pixels=3).transforms(32, 0)
    warped = augmentation._warp(IMAGES, transforms, tf.zeros([32, 28, 28, 2]))
    expected = mnist_lib.Augmentation(rotation_degrees=20, translation_pixels=3)(IMAGES, 0)
    np.testing.assert_allclose(tf.round(warped), tf.cast(expected, tf.float32), atol=1)


def test_cutout_blanks_one_square():
    white = np.full((200, 28, 28, 1), 255, np.uint8)
    cut = mnist_lib.Augmentation(cutout_pixels=8)(white, 0).numpy()[..., 0] == 0
    sizes = cut.sum((1, 2))
    assert sizes.max() == 64
    assert sizes.min() >= 16  # at a corner a quarter remains
    for mask in cut:
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum(), "a rectangle"


def test_names_are_those_of_the_configuration():
    for name in choices.NAMES["augmentation"]:
        _named(name)
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="augmentation: 'mixup' is not one of none"
    ):
        _named("mixup")
    with pytest.raises(mnist_lib.errors.ConfigError, match=r"scale: 1 is not in \[0, 1\)"):
        mnist_lib.Augmentation(scale=1)


def test_replicas_train_on_the_same_pixels(small_dataset):
    def losses(num_replicas):
        strategy = mnist_lib.create_strategy("mirrored", num_replicas)
        with strategy.scope():
            model = mnist_lib.build_model("linear")
            optimizer = mnist_lib.build_optimizer("sgd", 0.1)
        trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy, augment=_named("full"))
        batches = iter(trainer.distribute(mnist_lib.train_batches(small_dataset.train, 48)))
        return [trainer.train(batches, 1).loss for _ in range(4)]

    np.testing.assert_allclose(losses(3), losses(1), rtol=1e-5)
