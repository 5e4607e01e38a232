"""Prepared data: built once, read fast, damage named; rows 12, 15 and 16 of the faults."""

import concurrent.futures
import dataclasses
import errno
import gzip
import hashlib
import inspect
import json
import logging
import os
import pathlib
import re
import shutil
import tempfile
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import extractor
from tensorflow_datasets.core.utils import tqdm_utils

import mnist_lib
from mnist_lib import choices, progress
from mnist_lib.datasets import (
    catalog,
    content_hashes,
    downloads,
    idx,
    loading,
    originals,
    preparation,
    stored_splits,
    synthetic_builder,
    synthetic_digits,
    tfds_internals,
)

FILES = [file.name for file in catalog.MNIST.files]


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


def test_every_name_is_in_the_catalogue_and_no_other():
    assert {choices.AUTO, *catalog.CATALOG} == set(choices.NAMES["dataset"])
    assert catalog.dataset_info(choices.AUTO) is catalog.MNIST
    for name, info in catalog.CATALOG.items():
        assert catalog.dataset_info(name) is info
        assert info.name == name


def test_auto_falls_back_to_synthetic_digits_loudly(tmp_path, monkeypatch, caplog):
    """What would be built is only named; building it is tried elsewhere."""
    monkeypatch.setattr(downloads, "download_problem", lambda info: "the cable is cut")
    monkeypatch.setattr(preparation, "_build_with_tfds", lambda info, root, files: None)
    monkeypatch.setattr(preparation, "open_prepared", lambda info, folder, source: (info, source))
    with caplog.at_level(logging.WARNING):
        found = mnist_lib.prepare_dataset("auto", data_dir=tmp_path)
    assert found == (catalog.SYNTHETIC_DIGITS, "generated")
    assert "THIS IS NOT MNIST" in caplog.text
    assert "the cable is cut" in caplog.text
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match="the cable is cut"):
        mnist_lib.prepare_dataset("mnist", data_dir=tmp_path)
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match="no such directory"):
        mnist_lib.prepare_dataset("auto", data_dir=tmp_path, manual_dir=tmp_path / "typo")


def test_what_is_prepared_is_what_its_source_holds(prepared, request):
    """The images and labels of the IDX files, in another order, or those that are drawn."""
    assert prepared.source == "prepared"
    images, labels = loading.read_prepared(prepared, "test")
    if prepared.info.name == "mnist":
        folder = request.getfixturevalue("originals_dir")
        contents = [gzip.decompress((folder / name).read_bytes()) for name in FILES[2:]]
        expected_images, expected_labels = map(idx.parse_idx, contents, (3, 1))
    else:
        expected_images, expected_labels = synthetic_digits.draw_digits(10_000, seed=2)
    pairs = zip(images, labels, strict=True)
    expected_pairs = zip(expected_images, expected_labels, strict=True)
    assert sorted((image.tobytes(), label) for image, label in pairs) == sorted(
        (image.tobytes(), label) for image, label in expected_pairs
    )


def _load(copy):
    data_dir = copy.directory.parent.parent
    return mnist_lib.load_dataset(copy.info.name, data_dir=data_dir, download=False)


def test_a_flipped_byte_in_a_shard_is_found(prepared_copy):
    shard = prepared_copy.shards["train"][0].path
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0x10
    shard.write_bytes(content)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=rf"{shard}: damaged after example \d+"
    ):
        _load(prepared_copy)


def test_a_shard_cut_at_a_record_boundary_is_found(prepared_copy):
    shard = prepared_copy.shards["test"][0].path
    content = shard.read_bytes()
    first_record = 16 + int.from_bytes(content[:8], "little")
    shard.write_bytes(content[first_record:])
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"test shards have \d+ bytes, expected"
    ):
        _load(prepared_copy)


def test_a_missing_shard_and_a_broken_description_are_found(prepared_copy):
    prepared_copy.shards["test"][0].path.unlink()
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="shard is missing"):
        _load(prepared_copy)
    (prepared_copy.directory / "dataset_info.json").write_text('{"splits": [')
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"dataset_info.json: cannot be read"
    ):
        _load(prepared_copy)


@pytest.mark.parametrize("change", ["format", "template"])
def test_another_format_is_named_and_left_alone(prepared_copy, change):
    path = prepared_copy.directory / "dataset_info.json"
    description = json.loads(path.read_text())
    if change == "format":
        description["fileFormat"] = named = "array_record"
    else:
        named = "{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        description["splits"][0]["filepathTemplate"] = named
    path.write_text(json.dumps(description))
    message = f"data_dir: .* holds .* as {re.escape(named)}, .*--data_dir, .* is left as it is"
    for name in (prepared_copy.info.name, "auto")[: 2 if prepared_copy.info.name == "mnist" else 1]:
        with pytest.raises(mnist_lib.errors.ConfigError, match=message):
            mnist_lib.prepare_dataset(
                name, data_dir=prepared_copy.directory.parent.parent, download=False
            )


def test_nobody_is_told_to_delete_anything():
    """A folder that cannot be read here may be what another program works with."""
    for path in pathlib.Path(preparation.__file__).parent.glob("*.py"):
        assert not re.search(r"\b[Dd]elete|\b[Rr]emove (it|the)|\brm -", path.read_text()), path


def test_wrong_counts_are_found(prepared_copy):
    path = prepared_copy.directory / "dataset_info.json"
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
    monkeypatch.setattr(preparation, "open_prepared", lambda info, folder, source: folder)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        options = {"data_dir": tmp_path / "data", "manual_dir": tmp_path}
        futures = [pool.submit(mnist_lib.prepare_dataset, **options) for _ in range(4)]
    assert {future.result() for future in futures} == {tmp_path / "data" / "mnist" / "3.0.1"}
    assert len(built) == 1


@pytest.mark.slow
def test_keras_npz_gives_the_same_data_set(prepared_mnist_dir, originals_dir, tmp_path):
    """Real MNIST from the gzip files, and from an npz as Keras has it."""
    arrays = {}
    for key, name in zip(("x_train", "y_train", "x_test", "y_test"), FILES, strict=True):
        content = gzip.decompress((originals_dir / name).read_bytes())
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


@pytest.fixture
def forty_digits(monkeypatch):
    """Makes `synthetic_digits` a data set that is built in an instant: 30 and 10 images."""
    small = dataclasses.replace(catalog.SYNTHETIC_DIGITS, num_train=30, num_test=10)
    monkeypatch.setattr(catalog, "SYNTHETIC_DIGITS", small)
    monkeypatch.setitem(catalog.CATALOG, "synthetic_digits", small)


@pytest.mark.usefixtures("forty_digits")
def test_preparing_shows_our_progress_and_nothing_of_tfds(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)
    first, *between, last = caplog.messages
    assert first == f"Preparing synthetic_digits in {tmp_path}/synthetic_digits/1.0.0, once"
    assert between == [f"Preparing synthetic_digits {n} of 40" for n in range(1, 41)]
    assert re.fullmatch(r"Prepared synthetic_digits in \d+ s", last)
    assert "ataset" not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("forty_digits")
def test_nothing_is_left_beside_what_was_prepared(tmp_path, monkeypatch):
    """Nor what a killed process has left, which may be a link of somebody else."""
    temporary, data, outside = (tmp_path / name for name in ("tmp", "data", "outside"))
    for folder in (temporary, data, outside):
        folder.mkdir()
    (outside / "kept").write_text("")
    (data / ".unpacked-synthetic_digits-killed" / "tmp12345tfds").mkdir(parents=True)
    (data / ".unpacked-synthetic_digits-link").symlink_to(outside)
    (data / ".unpacked-mnist-of_another").mkdir()
    at_work = data / "synthetic_digits" / "incomplete.ABC123_1.0.0"  # as TFDS names what it builds
    at_work.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    prepared = mnist_lib.prepare_dataset("synthetic_digits", data_dir=data)
    assert list(temporary.iterdir()) == []
    assert tempfile.tempdir == str(temporary)
    assert {path.name for path in data.iterdir()} == {
        "synthetic_digits",
        ".synthetic_digits.lock",
        ".unpacked-mnist-of_another",
    }
    assert (outside / "kept").exists()
    assert at_work.exists()
    noted = json.loads((prepared.directory / "content_sha256.json").read_text())
    assert set(noted) == {"train", "test"}
    copies = list((prepared.directory / "decoded").iterdir())
    assert sorted(noted.values()) == sorted(path.read_bytes()[-32:].hex() for path in copies)


@pytest.mark.usefixtures("forty_digits")
@pytest.mark.parametrize("name", [".synthetic_digits.lock", "synthetic_digits", "decoded"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    outside.mkdir()
    if name == "decoded":
        prepared = mnist_lib.prepare_dataset("synthetic_digits", data_dir=data)
        shutil.rmtree(prepared.directory / name)
        (prepared.directory / name).symlink_to(outside)
        stored_splits.read_prepared(prepared, "test")
    else:
        (data / name).symlink_to(outside / "lock" if name.endswith("lock") else outside)
        with pytest.raises(mnist_lib.errors.OutputError, match=f"{name}: is a symbolic link"):
            mnist_lib.prepare_dataset("synthetic_digits", data_dir=data)
    assert list(outside.iterdir()) == []


def test_the_content_of_mnist_is_known(prepared):
    """What the catalogue says is what the originals give, in the order of TFDS."""
    for split, known in prepared.info.stored_sha256.items():
        images, labels = stored_splits.read_prepared(prepared, split)
        content = content_hashes.content_of(images, labels)
        assert hashlib.sha256(content).hexdigest() == known


@pytest.mark.usefixtures("forty_digits")
def test_a_disk_that_fills_up_leaves_nothing_that_is_used(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(synthetic_digits, "draw_digits", fail)
        with pytest.raises(
            mnist_lib.errors.StorageError, match=r"preparing synthetic_digits failed .*No space"
        ):
            mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)
    assert not list(tmp_path.glob("**/dataset_info.json"))
    assert mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path).source == "generated"


@pytest.mark.usefixtures("forty_digits")
@pytest.mark.parametrize(
    ("failure", "known"),
    [
        (tf.errors.ResourceExhaustedError, mnist_lib.errors.StorageError),
        (tf.errors.UnknownError, mnist_lib.errors.StorageError),  # as EIO
        (tf.errors.PermissionDeniedError, mnist_lib.errors.OutputError),  # as EACCES, EROFS
    ],
)
def test_a_shard_that_cannot_be_written_is_said(failure, known, tmp_path, monkeypatch):
    def fail(*_):
        raise failure(None, None, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.TFRecordWriter, "write", fail)
        with pytest.raises(known, match=r"preparing synthetic_digits failed .*Disk quota"):
            mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)
    assert mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path).source == "generated"


@pytest.mark.usefixtures("forty_digits")
def test_a_folder_that_may_not_be_removed_does_not_hide_what_failed(tmp_path, monkeypatch, caplog):
    def deny(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", deny)
        patch.setattr(os, "rename", deny)
        with pytest.raises(mnist_lib.errors.OutputError, match="Permission denied"):
            mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)
    assert "could not be removed" in caplog.text
    mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)
    assert not [*tmp_path.glob(".unpacked-*"), *tmp_path.glob("*/incomplete*")]


@pytest.mark.usefixtures("forty_digits")
def test_a_folder_that_is_not_whole_is_refused_before_anything_is_built(tmp_path, monkeypatch):
    directory = tmp_path / "synthetic_digits" / catalog.SYNTHETIC_DIGITS.version
    directory.mkdir(parents=True)
    (directory / "features.json").write_text("{}")
    monkeypatch.setattr(preparation, "_build_with_tfds", lambda *_: pytest.fail("was built"))
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"without dataset_info.json\. Move"
    ):
        mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path)


@pytest.fixture
def builder(tmp_path):
    return tfds.builder("mnist:3.0.1", data_dir=tmp_path)


def test_tfds_still_has_make_download_manager(builder):
    parameters = inspect.signature(builder._make_download_manager).parameters
    assert set(parameters) == {"download_dir", "download_config"}


def test_tfds_still_has_register_or_validate_checksums(builder, tmp_path):
    """Arguments as TFDS passes them: a wrong checksum is refused, and then accepted."""
    url = next(iter(builder.url_infos))
    wrong = dataclasses.replace(builder.url_infos[url], checksum="0" * 64)

    def compare():
        options = {"download_dir": tmp_path, "download_config": tfds.download.DownloadConfig()}
        manager = builder._make_download_manager(**options)
        manager._register_or_validate_checksums(url=url, url_info=wrong, path=tmp_path)

    with pytest.raises(Exception, match="has wrong checksum"):
        compare()
    tfds_internals.accept_verified_files(builder)
    compare()


@pytest.mark.usefixtures("forty_digits")
def test_tfds_still_has_generate_examples(tmp_path):
    builder, seen = synthetic_builder.SyntheticDigits(data_dir=tmp_path), []
    tfds_internals.watch_examples(builder, seen.append)
    splits_of_tfds = builder._split_generators(None)
    assert [len(list(splits_of_tfds[name])) for name in ("train", "test")] == [30, 10]
    assert seen == list(range(1, 41))


def test_tfds_still_has_active_bars(capfd):
    assert tqdm_utils._active is True
    with tfds_internals.silence():
        assert tqdm_utils._active is False
        print(list(tqdm_utils.tqdm(range(3))))
    assert tqdm_utils._active is True
    assert "".join(capfd.readouterr()) == ""


def test_tfds_still_has_extract_error(tmp_path):
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"this is no gzip file")
    unpacker, method = extractor.get_extractor(), tfds.download.ExtractMethod.GZIP
    with tfds_internals.silence(), unpacker.tqdm(), pytest.raises(tfds_internals.extract_error()):
        unpacker.extract(broken, method, tmp_path / "unpacked").get()
