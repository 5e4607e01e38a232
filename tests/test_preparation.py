"""Prepared data: built once, read fast, damage named; rows 12, 15 and 16 of the faults."""

import concurrent.futures
import dataclasses
import gzip
import hashlib
import json
import logging
import os
import shutil
import threading

import numpy as np
import pytest

import mnist_lib
from mnist_lib.datasets import catalog, decoded, idx, loading, originals, preparation, splits

TEST_IMAGES, TEST_LABELS = (file.name for file in catalog.MNIST.files[2:])


def test_without_data_and_download_the_steps_to_take_are_named(tmp_path):
    with pytest.raises(
        mnist_lib.errors.DataNotFoundError, match=r"pass --manual_dir=.* --data_dir="
    ):
        mnist_lib.prepare_dataset("mnist", data_dir=tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        mnist_lib.errors.ConfigError, match="dataset: 'cifar10' is not one of auto, mnist"
    ):
        mnist_lib.prepare_dataset("cifar10", data_dir=tmp_path)


def test_auto_falls_back_to_synthetic_digits_loudly(tmp_path, monkeypatch, caplog):
    """What would be built is only named; building it is tried elsewhere."""
    monkeypatch.setattr(originals, "download_problem", lambda info: "the cable is cut")
    monkeypatch.setattr(preparation, "_build_with_tfds", lambda info, root, files: None)
    monkeypatch.setattr(preparation, "_open_prepared", lambda info, folder, source: (info, source))
    with caplog.at_level(logging.WARNING):
        found = mnist_lib.prepare_dataset("auto", data_dir=tmp_path)
    assert found == (catalog.SYNTHETIC_DIGITS, "generated")
    assert "THIS IS NOT MNIST" in caplog.text
    assert "the cable is cut" in caplog.text
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match="the cable is cut"):
        mnist_lib.prepare_dataset("mnist", data_dir=tmp_path)
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match="no such directory"):
        mnist_lib.prepare_dataset("auto", data_dir=tmp_path, manual_dir=tmp_path / "typo")


@pytest.fixture
def prepared(prepared_mnist_dir):
    return mnist_lib.prepare_dataset("mnist", data_dir=prepared_mnist_dir, download=False)


def test_real_mnist_is_prepared_once_and_read(prepared_mnist_dir, originals_dir):
    """Counts, and the same images and labels as the IDX files, in another order."""
    prepared = mnist_lib.prepare_dataset("mnist", data_dir=prepared_mnist_dir, download=False)
    assert prepared.source == "prepared"
    data = mnist_lib.load_dataset("mnist", data_dir=prepared_mnist_dir, download=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    images, labels = loading.read_prepared(prepared, "test")
    original = gzip.decompress((originals_dir / TEST_IMAGES).read_bytes())[16:]
    original_labels = gzip.decompress((originals_dir / TEST_LABELS).read_bytes())[8:]
    found = sorted(
        image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True)
    )
    expected = sorted(
        original[i * 784 : (i + 1) * 784] + original_labels[i : i + 1] for i in range(10_000)
    )
    assert found == expected


@pytest.fixture
def prepared_copy(prepared_mnist_dir, tmp_path):
    """A copy of the prepared data that a test may damage."""
    shutil.copytree(prepared_mnist_dir / "mnist", tmp_path / "mnist")
    return tmp_path / "mnist" / "3.0.1"


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _load(folder):
    return mnist_lib.load_dataset("mnist", data_dir=folder.parent.parent, download=False)


def test_a_flipped_byte_in_a_shard_is_found(prepared_copy):
    shard = prepared_copy / "mnist-train.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[10_000_000] ^= 0x10
    shard.write_bytes(content)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=rf"{shard}: damaged after example \d+"
    ):
        _load(prepared_copy)


def test_a_shard_cut_at_a_record_boundary_is_found(prepared_copy):
    shard = prepared_copy / "mnist-test.tfrecord-00000-of-00001"
    content = shard.read_bytes()
    first_record = 16 + int.from_bytes(content[:8], "little")
    shard.write_bytes(content[first_record:])
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"test shards have \d+ bytes, expected"
    ):
        _load(prepared_copy)


def test_a_missing_shard_and_a_broken_description_are_found(prepared_copy):
    (prepared_copy / "mnist-test.tfrecord-00000-of-00001").unlink()
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="shard is missing"):
        _load(prepared_copy)
    (prepared_copy / "dataset_info.json").write_text('{"splits": [')
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"dataset_info.json: cannot be read"
    ):
        _load(prepared_copy)


def test_wrong_counts_are_found(prepared_copy):
    path = prepared_copy / "dataset_info.json"
    description = json.loads(path.read_text())
    description["splits"][0]["shardLengths"] = ["59999"]
    path.write_text(json.dumps(description))
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="split train has 59999 examples"):
        _load(prepared_copy)


def test_of_several_at_once_one_prepares_and_the_others_wait(tmp_path, monkeypatch):
    """The build is replaced: what is tried here is the lock."""
    built = []

    def build(info, root, originals):
        built.append(threading.get_ident())
        folder = root / info.name / info.version
        folder.mkdir(parents=True)
        folder.joinpath("dataset_info.json").write_text("{}")

    monkeypatch.setattr(preparation, "_build_with_tfds", build)
    monkeypatch.setattr(originals, "collect_originals", lambda *_: tmp_path)
    monkeypatch.setattr(preparation, "_open_prepared", lambda info, folder, source: folder)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        options = {"data_dir": tmp_path / "data", "manual_dir": tmp_path}
        futures = [pool.submit(mnist_lib.prepare_dataset, **options) for _ in range(4)]
    assert {future.result() for future in futures} == {tmp_path / "data" / "mnist" / "3.0.1"}
    assert len(built) == 1


@pytest.mark.slow
def test_keras_npz_gives_the_same_data_set(prepared_mnist_dir, originals_dir, tmp_path):
    """Real MNIST from the gzip files, and from an npz as Keras has it."""
    arrays = {}
    for key, file in zip(
        ("x_train", "y_train", "x_test", "y_test"), catalog.MNIST.files, strict=True
    ):
        content = gzip.decompress((originals_dir / file.name).read_bytes())
        arrays[key] = idx.parse_idx(content, num_dims=3 if key.startswith("x") else 1)
    np.savez(tmp_path / "mnist.npz", **arrays)
    found = mnist_lib.load_dataset("mnist", data_dir=tmp_path / "data", manual_dir=tmp_path)
    expected = mnist_lib.load_dataset("mnist", data_dir=prepared_mnist_dir, download=False)
    for split in ("train", "validation", "test"):
        assert getattr(found, split).sha256 == getattr(expected, split).sha256


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_other_data_sets_take_the_same_way(name, tmp_path, monkeypatch):
    """Random images in files of the right form stand for the real ones."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "originals"
    folder.mkdir()
    info = catalog.CATALOG[name]
    files, arrays = [], {}
    for file, count in zip(info.files, (60_000, 60_000, 10_000, 10_000), strict=True):
        shape = (count, 28, 28) if "images" in file.name else (count,)
        arrays[file.name] = rng.integers(0, 10, shape).astype(np.uint8)
        content = gzip.compress(idx.to_idx(arrays[file.name]), compresslevel=1, mtime=0)
        (folder / file.name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files.append(catalog.SourceFile(file.name, len(content), digest))
    monkeypatch.setitem(catalog.CATALOG, name, dataclasses.replace(info, files=tuple(files)))
    data = mnist_lib.load_dataset(name, data_dir=tmp_path / "data", manual_dir=folder)
    assert (data.name, len(data.train), len(data.validation)) == (name, 55_000, 5_000)
    assert data.class_names == info.class_names
    _, _, images, labels = arrays.values()
    pairs = zip(data.test.images, data.test.labels, strict=True)
    found = {image.tobytes(): label for image, label in pairs}
    assert found == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}


def test_the_decoded_copy_is_what_was_decoded(prepared):
    images, labels = loading.read_prepared(prepared, "test")
    copied_images, copied_labels = decoded.read(prepared, "test")
    np.testing.assert_array_equal(copied_images, images)
    np.testing.assert_array_equal(copied_labels, labels)


def test_a_damaged_copy_is_made_again(prepared_copy, caplog):
    expected = _load(prepared_copy).test.sha256
    (path,) = (prepared_copy / "decoded").glob("test-*.bin")
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
    before = {path.name for path in (prepared_copy / "decoded").iterdir()}
    shard = prepared_copy / "mnist-train.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="damaged after example"):
        _load(prepared_copy)
    assert {path.name for path in (prepared_copy / "decoded").iterdir()} == before


def test_a_folder_that_cannot_hold_the_copy_is_no_error(prepared_copy):
    shutil.rmtree(prepared_copy / "decoded")
    (prepared_copy / "decoded").write_text("in the way")
    assert len(_load(prepared_copy).train) == 55_000


def test_the_manifest_is_what_the_labels_of_mnist_give(prepared):
    _, labels = loading.read_prepared(prepared, "train")
    assert splits.manifest()["mnist"] == splits.manifest_entry(labels)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match="mnist: its training labels are not"
    ):
        splits.split_indices(np.roll(labels, 1), 5000, "mnist")


def test_arrays_in_keras_shape(prepared_mnist_dir):
    options = {"data_dir": prepared_mnist_dir, "download": False}
    (x_train, y_train), (x_test, y_test) = mnist_lib.load_arrays("mnist", **options)
    assert (x_train.shape, x_train.dtype) == ((60_000, 28, 28), np.uint8)
    assert (y_train.shape, y_train.dtype) == ((60_000,), np.uint8)
    assert (x_test.shape, y_test.shape) == ((10_000, 28, 28), (10_000,))
    (flat, encoded), _ = mnist_lib.load_arrays("mnist", flat=True, one_hot=True, **options)
    np.testing.assert_array_equal(flat.reshape(-1, 28, 28), x_train)
    assert (encoded.shape, encoded.dtype) == ((60_000, 10), np.float32)
    np.testing.assert_array_equal(encoded.argmax(-1), y_train)


def test_train_size_is_stratified_and_nested(prepared_mnist_dir):
    def load(size):
        return mnist_lib.load_dataset(
            "mnist", data_dir=prepared_mnist_dir, download=False, train_size=size
        ).train

    small, large = load(100), load(1000)
    assert np.bincount(small.labels).min() >= 8
    assert {image.tobytes() for image in small.images} < {image.tobytes() for image in large.images}
    with pytest.raises(
        mnist_lib.errors.ConfigError, match=r"train_size: 55001 is not in \[1, 55000\]"
    ):
        load(55_001)
