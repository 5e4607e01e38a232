"""Prepared data read into memory: the decoded copy, arrays, splits of the right size."""

import dataclasses
import gzip
import logging
import os
import shutil

import numpy as np
import pytest
from tensorflow_datasets.core import hashing

import mnist_lib
from mnist_lib.datasets import (
    catalog,
    decoded,
    idx,
    loading,
    original_order,
    splits,
    synthetic_digits,
)


def _load(copy):
    data_dir = copy.directory.parent.parent
    return mnist_lib.load_dataset(copy.info.name, data_dir=data_dir, download=False)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def test_the_decoded_copy_is_what_was_decoded(prepared):
    images, labels = loading.read_prepared(prepared, "test")
    copied_images, copied_labels = decoded.read(prepared, "test")
    np.testing.assert_array_equal(copied_images, images)
    np.testing.assert_array_equal(copied_labels, labels)


def test_a_damaged_copy_is_made_again(prepared_copy, caplog):
    expected = _load(prepared_copy).test.sha256
    (path,) = (prepared_copy.directory / "decoded").glob("test-*.bin")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert _load(prepared_copy).test.sha256 == expected
    assert f"{path}: not used (its checksum is wrong); it is made again" in caplog.text
    for damaged in (content[:-1], b""):
        path.write_bytes(damaged)
        assert _load(prepared_copy).test.sha256 == expected
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(), "others may read it"
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_a_copy_of_other_shards_is_not_used(prepared_copy):
    """A shard that changes in size and content has another name for its copy."""
    before = {path.name for path in (prepared_copy.directory / "decoded").iterdir()}
    shard = prepared_copy.shards["train"][0].path
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="damaged after example"):
        _load(prepared_copy)
    assert {path.name for path in (prepared_copy.directory / "decoded").iterdir()} == before


def test_a_folder_that_cannot_hold_the_copy_is_no_error(prepared_copy):
    shutil.rmtree(prepared_copy.directory / "decoded")
    (prepared_copy.directory / "decoded").write_text("in the way")
    assert len(_load(prepared_copy).train) == 55_000


def test_the_manifest_is_what_the_labels_give(prepared):
    _, labels = loading.read_prepared(prepared, "train")
    name = prepared.info.name
    assert splits.manifest()[name] == splits.manifest_entry(labels)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=f"{name}: its training labels are not"
    ):
        splits.split_indices(np.sort(labels), 5000, name)


def test_arrays_in_keras_shape(prepared_data):
    name, options = prepared_data.name, {"data_dir": prepared_data.data_dir, "download": False}
    (x_train, y_train), (x_test, y_test) = mnist_lib.load_arrays(name, **options)
    assert (x_train.shape, x_train.dtype) == ((60_000, 28, 28), np.uint8)
    assert (y_train.shape, y_train.dtype) == ((60_000,), np.uint8)
    assert (x_test.shape, y_test.shape) == ((10_000, 28, 28), (10_000,))
    (flat, encoded), _ = mnist_lib.load_arrays(name, flat=True, one_hot=True, **options)
    np.testing.assert_array_equal(flat.reshape(-1, 28, 28), x_train)
    assert (encoded.shape, encoded.dtype) == ((60_000, 10), np.float32)
    np.testing.assert_array_equal(encoded.argmax(-1), y_train)


def _originals(prepared, request) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The images `[N, 28, 28]` and labels of the original files, or those that are drawn."""
    if prepared.info.name != "mnist":
        return {"test": synthetic_digits.draw_digits(10_000, seed=2)}
    folder = request.getfixturevalue("originals_dir")
    arrays = [
        idx.parse_idx(gzip.decompress((folder / file.name).read_bytes()), num_dims)
        for file, num_dims in zip(catalog.MNIST.files, (3, 1, 3, 1), strict=True)
    ]
    return {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}


def test_arrays_are_in_the_order_of_the_original_files(prepared, prepared_data, request):
    train, test = mnist_lib.load_arrays(
        prepared_data.name, data_dir=prepared_data.data_dir, download=False
    )
    for split, (images, labels) in _originals(prepared, request).items():
        found_images, found_labels = {"train": train, "test": test}[split]
        np.testing.assert_array_equal(found_images, images.reshape(-1, 28, 28))
        np.testing.assert_array_equal(found_labels, labels)
    if prepared.info.name == "mnist":
        assert train[1][:15].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1]


def test_every_image_knows_its_number_in_the_original_files(prepared_data):
    options = {"data_dir": prepared_data.data_dir, "download": False}
    data = mnist_lib.load_dataset(prepared_data.name, **options)
    train, test = mnist_lib.load_arrays(prepared_data.name, **options)
    small = data.train.subset(100)
    for split, (images, labels) in (
        (data.train, train),
        (data.validation, train),
        (small, train),
        (data.test, test),
    ):
        assert split.numbers.dtype == np.int64
        np.testing.assert_array_equal(split.images[..., 0], images[split.numbers])
        np.testing.assert_array_equal(split.labels, labels[split.numbers])
    both = np.concatenate([data.train.numbers, data.validation.numbers])
    np.testing.assert_array_equal(np.sort(both), np.arange(60_000))
    assert data.test.images.flags.writeable


@pytest.mark.parametrize("split", ["train", "test"])
def test_tfds_still_orders_by_hasher(split):
    numbers = original_order.numbers_as_stored(catalog.MNIST, split)
    hasher = hashing.Hasher(split)
    assert numbers.tolist() == sorted(range(len(numbers)), key=hasher.hash_key)


def test_prepared_images_that_are_not_the_published_ones_are_refused(prepared):
    """What is published is replaced: all checksums of TFDS are right."""
    other = catalog.SourceFile("t10k-images-idx3-ubyte.gz", 1, "", content_sha256="0" * 64)
    info = dataclasses.replace(prepared.info, files=(other, other, other, other))
    published = dataclasses.replace(prepared, info=info)
    images, labels = loading.read_prepared(prepared, "test")
    message = r"its test split is not that of .*Pass another --data_dir, .* is left as it is"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message):
        original_order.check(published, "test", images, labels)


def test_splits_have_their_sizes_and_train_size_is_stratified_and_nested(prepared_data):
    def load(size):
        return mnist_lib.load_dataset(
            prepared_data.name, data_dir=prepared_data.data_dir, download=False, train_size=size
        )

    data = load(None)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    small, large = load(100).train, load(1000).train
    assert np.bincount(small.labels).min() >= 8
    assert {image.tobytes() for image in small.images} < {image.tobytes() for image in large.images}
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"train_size: 55001 is not in \[1, 55000\]"
    ):
        load(55_001)
