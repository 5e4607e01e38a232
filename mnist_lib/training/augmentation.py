"""Random changes of training images: batched, in the graph, stateless.

    augment = Augmentation(rotation_degrees=10, translation_pixels=2, seed=0)
    images = augment(images, first_position)

What happens to an image is a function of (seed, its position in the run), position p
being the p-th image that the run trains on. One and several replicas and a resumed
run therefore see the same pixels. There are no flips: they change what a digit says.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from mnist_lib import choices, errors
from mnist_lib.models import philox

_SIZE = 28
_CENTRE = (_SIZE - 1) / 2
_GRID = 5  # Elastic displacements are drawn on a grid of 5x5 points and interpolated.
# Streams of random numbers, so that switching one change on leaves the others alone.
_AFFINE_STREAM, _ELASTIC_STREAM, _CUTOUT_STREAM = range(3)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images may be changed. Each image draws uniformly within the bounds.

    Attributes:
      rotation_degrees: at most this far, either way, in [0, 180).
      translation_pixels: at most this far, along each axis.
      scale: size is multiplied by a factor in [1 - scale, 1 + scale], scale in [0, 1).
      shear_degrees: the vertical is slanted by at most this, in [0, 90).
      elastic_pixels: largest displacement at the points of a coarse grid, between
        which it varies smoothly (after Simard et al. 2003, section 2).
      cutout_pixels: side of a square that is blanked (DeVries and Taylor 2017).
      seed: chooses the changes; any integer in [0, 2**31).
    """

    rotation_degrees: float = 0.0
    translation_pixels: float = 0.0
    scale: float = 0.0
    shear_degrees: float = 0.0
    elastic_pixels: float = 0.0
    cutout_pixels: int = 0
    seed: int = 0

    def __post_init__(self):
        bounds = {
            "rotation_degrees": 180,
            "translation_pixels": _SIZE,
            "scale": 1,
            "shear_degrees": 90,
            "elastic_pixels": _SIZE,
            "cutout_pixels": _SIZE,
        }
        for field, bound in bounds.items():
            if not 0 <= getattr(self, field) < bound:
                raise errors.ConfigError(field, f"{getattr(self, field)} is not in [0, {bound})")

    def __call__(self, images: tf.Tensor, first_position: tf.Tensor | int) -> tf.Tensor:
        """Changes a batch of images.

        Args:
          images: uint8 `[b, 28, 28, 1]`.
          first_position: int64 scalar, the position of the first; the others follow it.

        Returns:
          uint8 `[b, 28, 28, 1]`. What comes in from outside the image is background, 0.
        """
        first_position = tf.convert_to_tensor(first_position, tf.int64)
        num_images = tf.shape(images)[0]
        transforms = self.transforms(num_images, first_position)
        if self.elastic_pixels:
            warped = _warp(images, transforms, self._displacements(num_images, first_position))
        elif self._moves:
            warped = tf.raw_ops.ImageProjectiveTransformV3(
                images=tf.cast(images, tf.float32),
                transforms=tf.pad(transforms, [[0, 0], [0, 2]]),
                output_shape=[_SIZE, _SIZE],
                interpolation="BILINEAR",
                fill_mode="CONSTANT",
                fill_value=0.0,
            )
        else:
            warped = images
        if self.cutout_pixels:
            visible = self._visible(num_images, first_position)
            warped = tf.where(visible, warped, tf.zeros([], warped.dtype))
        if warped.dtype != tf.uint8:
            warped = tf.cast(tf.clip_by_value(tf.round(warped), 0.0, 255.0), tf.uint8)
        return tf.ensure_shape(warped, images.shape)

    @property
    def _moves(self) -> bool:
        return any((self.rotation_degrees, self.translation_pixels, self.scale, self.shear_degrees))

    def transforms(self, num_images: tf.Tensor | int, first_position: tf.Tensor | int) -> tf.Tensor:
        """Returns the affine maps from output to input pixels.

        Returns:
          float32 `[num_images, 6]`, rows (a, b, c, d, e, f): output pixel (x, y) shows
          what is at (a x + b y + c, d x + e y + f).
        """
        draws = self._uniform(num_images, first_position, 5, _AFFINE_STREAM)
        angle, slant, size, shift_x, shift_y = tf.unstack(draws, axis=1)
        angle *= math.radians(self.rotation_degrees)
        slant = tf.tan(slant * math.radians(self.shear_degrees))
        size = 1 / (1 + self.scale * size)
        # Input = size * R(angle) * (1, slant; 0, 1) * (output - centre) + centre + shift.
        cos, sin = size * tf.cos(angle), size * tf.sin(angle)
        a, b = cos, cos * slant - sin
        d, e = sin, sin * slant + cos
        c = _CENTRE - (a + b) * _CENTRE + self.translation_pixels * shift_x
        f = _CENTRE - (d + e) * _CENTRE + self.translation_pixels * shift_y
        return tf.stack([a, b, c, d, e, f], axis=1)

    def _displacements(self, num_images: tf.Tensor, first_position: tf.Tensor) -> tf.Tensor:
        """Returns where each output pixel is displaced to, float32 `[b, 28, 28, 2]`."""
        draws = self._uniform(num_images, first_position, _GRID * _GRID * 2, _ELASTIC_STREAM)
        coarse = tf.reshape(draws, [-1, _GRID, _GRID, 2]) * self.elastic_pixels
        return tf.image.resize(coarse, [_SIZE, _SIZE], method="bicubic")

    def _visible(self, num_images: tf.Tensor, first_position: tf.Tensor) -> tf.Tensor:
        """Returns False within each image's square, bool `[b, 28, 28, 1]`."""
        draws = self._uniform(num_images, first_position, 2, _CUTOUT_STREAM)
        # The centre is any pixel, so the square may stick out, as in the paper.
        first = tf.floor((draws + 1) / 2 * _SIZE) - self.cutout_pixels // 2
        offset = tf.range(_SIZE, dtype=tf.float32) - first[:, :, tf.newaxis]
        within = (offset >= 0) & (offset < self.cutout_pixels)
        square = within[:, 0, :, tf.newaxis] & within[:, 1, tf.newaxis, :]
        return tf.logical_not(square)[..., tf.newaxis]

    def _uniform(self, num_images, first_position, num_values: int, stream: int) -> tf.Tensor:
        """Returns float32 `[b, num_values]` in [-1, 1), a function of (seed, position)."""
        draws = philox.rows(
            num_images,
            num_values,
            key=tf.constant([self.seed], tf.uint64),
            stream=tf.constant(stream, tf.uint64),
            first_row=first_position,
            dtype=tf.float32,
        )
        return 2 * draws - 1


def named_augmentation(name: str, seed: int) -> Augmentation | None:
    """Returns one of the augmentations that have a name; None for `"none"`.

    Raises:
      ConfigError: there is none of that name.
    """
    affine = {
        "rotation_degrees": 10.0,
        "translation_pixels": 2.0,
        "scale": 0.1,
        "shear_degrees": 10.0,
    }
    named: dict[str, dict | None] = {
        "none": None,
        "affine": affine,
        "elastic": {"elastic_pixels": 2.0},
        "cutout": {"cutout_pixels": 8},
        # That of An et al. 2020 (arXiv:2008.10400): 20 degrees, a fifth of the image.
        "rotate_shift": {"rotation_degrees": 20.0, "translation_pixels": 5.6},
        "full": {**affine, "elastic_pixels": 1.5, "cutout_pixels": 6},
    }
    choices.check("augmentation", name)
    options = named[name]
    return None if options is None else Augmentation(**options, seed=seed)


def _warp(images: tf.Tensor, transforms: tf.Tensor, displacements: tf.Tensor) -> tf.Tensor:
    """Shows at each pixel what is at its transformed, displaced place (bilinear).

    Args:
      images: uint8 `[b, 28, 28, 1]`.
      transforms: as `Augmentation.transforms` returns.
      displacements: float32 `[b, 28, 28, 2]`, x and y, in pixels.

    Returns:
      float32 `[b, 28, 28, 1]`.
    """
    axis = tf.range(_SIZE, dtype=tf.float32)
    x, y = tf.meshgrid(axis, axis)
    a, b, c, d, e, f = tf.unstack(transforms[:, tf.newaxis, tf.newaxis, :], axis=-1)
    # A border of two pixels of background stands for all that lies outside.
    source_x = tf.clip_by_value(a * x + b * y + c + displacements[..., 0], -2.0, _SIZE) + 2
    source_y = tf.clip_by_value(d * x + e * y + f + displacements[..., 1], -2.0, _SIZE) + 2
    width = _SIZE + 4
    flat = tf.reshape(tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]]), [-1, width * width])
    left, top = tf.floor(source_x), tf.floor(source_y)
    right_part, lower_part = source_x - left, source_y - top
    corner = tf.cast(top, tf.int32) * width + tf.cast(left, tf.int32)

    def pixels(offset: int) -> tf.Tensor:
        return tf.cast(tf.gather(flat, corner + offset, batch_dims=1), tf.float32)

    upper = pixels(0) * (1 - right_part) + pixels(1) * right_part
    lower = pixels(width) * (1 - right_part) + pixels(width + 1) * right_part
    return (upper * (1 - lower_part) + lower * lower_part)[..., tf.newaxis]
