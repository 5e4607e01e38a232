"""Data that is missing or wrong, injected with real files; rows 12 to 16 of the faults."""

import dataclasses
import gzip
import hashlib
import json
import shutil
import threading

import idx_files
import numpy as np
import pytest

import mnist_lib
from mnist_lib.datasets import catalog, loading, preparation

NAMES = [file.name for file in catalog.MNIST.files]
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: rng.integers(0, 256, (600, 28, 28)).astype(np.uint8),
        TRAIN_LABELS: rng.integers(0, 10, 600).astype(np.uint8),
        TEST_IMAGES: rng.integers(0, 256, (100, 28, 28)).astype(np.uint8),
        TEST_LABELS: rng.integers(0, 10, 100).astype(np.uint8),
    }


def _write(folder) -> catalog.DatasetInfo:
    """Writes four right files; returns a catalogue entry that describes them."""
    folder.mkdir(exist_ok=True)
    files = []
    for name, array in _arrays().items():
        idx_files.write_gzip(folder / name, idx_files.idx_bytes(array))
        content = (folder / name).read_bytes()
        files.append(catalog.SourceFile(name, hashlib.sha256(content).hexdigest(), len(content)))
    return dataclasses.replace(catalog.MNIST, num_train=600, num_test=100, files=tuple(files))


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def _html(path):
    path.write_text("<!DOCTYPE html><html><body>Sign in to the proxy</body></html>")


def _flip_a_byte(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    idx_files.write_gzip(path, bytes(content))


def _wrong_magic(path):
    idx_files.write_gzip(path, idx_files.idx_bytes(_arrays()[path.name], magic=0x0D03))


def _short_labels(path):
    idx_files.write_gzip(path, idx_files.idx_bytes(_arrays()[path.name][:-100]))


def _label_ten(path):
    labels = _arrays()[path.name]
    labels[37] = 10
    idx_files.write_gzip(path, idx_files.idx_bytes(labels))


def _narrow_images(path):
    idx_files.write_gzip(path, idx_files.idx_bytes(_arrays()[path.name][:, :27]))


def _trailing_bytes(path):
    idx_files.write_gzip(path, idx_files.idx_bytes(_arrays()[path.name]) + b"\0\0\0")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (TRAIN_IMAGES, _truncate, "not a complete gzip file"),
        (TRAIN_LABELS, _html, r"not a complete gzip file .* begins with b'<!DOCTYPE html>"),
        (
            TEST_IMAGES,
            _flip_a_byte,
            r"SHA-256 is [0-9a-f]{64} \(\d+ bytes\), expected [0-9a-f]{64}",
        ),
        (TRAIN_IMAGES, _wrong_magic, r"IDX magic number is 3331, expected 2051 \(images\)"),
        (TRAIN_LABELS, _short_labels, "holds 500 examples, expected 600"),
        (TEST_LABELS, _label_ten, r"label 10 at index 37 is not in \[0, 9\]"),
        (TRAIN_IMAGES, _narrow_images, "images are 27x28, expected 28x28"),
        (TEST_IMAGES, _trailing_bytes, r"78419 bytes after decompression, .* calls for 78416"),
    ],
)
def test_wrong_originals_are_named(tmp_path, name, damage, message):
    info = _write(tmp_path)
    preparation.verify_originals(info, tmp_path)  # right before the damage
    damage(tmp_path / name)
    with pytest.raises(mnist_lib.CorruptDataError, match=message) as caught:
        preparation.verify_originals(info, tmp_path)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "Replace the file with the original" in str(caught.value)
    assert caught.value.exit_code == 65


def test_missing_originals_are_named(tmp_path):
    info = _write(tmp_path)
    (tmp_path / TEST_LABELS).unlink()
    with pytest.raises(mnist_lib.DataNotFoundError, match=f"{TEST_LABELS} missing") as caught:
        preparation.verify_originals(info, tmp_path)
    assert caught.value.exit_code == 66
    with pytest.raises(mnist_lib.DataNotFoundError, match="no such directory"):
        preparation.verify_originals(info, tmp_path / "nowhere")


def test_without_data_and_download_the_steps_to_take_are_named(tmp_path):
    with pytest.raises(
        mnist_lib.DataNotFoundError, match=r"pass --manual_dir=.*or pass --data_dir="
    ):
        mnist_lib.prepare_dataset("mnist", data_dir=tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_cannot_be_reached_fails_before_tfds_is_asked(tmp_path, monkeypatch):
    unreachable = dataclasses.replace(catalog.MNIST, url="https://127.0.0.1:9/mnist/")
    monkeypatch.setitem(catalog.CATALOG, "mnist", unreachable)
    monkeypatch.setattr(preparation, "_build_with_tfds", lambda *_: pytest.fail("TFDS was asked"))
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(mnist_lib.DataNotFoundError, match=r"127.0.0.1 cannot be reached"):
        mnist_lib.prepare_dataset("mnist", data_dir=tmp_path)


def test_real_mnist_is_prepared_once_and_read(prepared_data_dir, originals_dir):
    """Counts, and the same images and labels as the IDX files, in another order."""
    prepared = mnist_lib.prepare_dataset("mnist", data_dir=prepared_data_dir, download=False)
    assert prepared.source == "prepared"
    data = mnist_lib.load_dataset("mnist", data_dir=prepared_data_dir, download=False)
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
def prepared_copy(prepared_data_dir, tmp_path):
    """A copy of the prepared data that a test may damage."""
    shutil.copytree(prepared_data_dir / "mnist", tmp_path / "mnist")
    return tmp_path / "mnist" / "3.0.1"


def _load(folder):
    return mnist_lib.load_dataset("mnist", data_dir=folder.parent.parent, download=False)


def test_a_flipped_byte_in_a_shard_is_found(prepared_copy):
    shard = prepared_copy / "mnist-train.tfrecord-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[10_000_000] ^= 0x10
    shard.write_bytes(content)
    with pytest.raises(mnist_lib.CorruptDataError, match=rf"{shard}: damaged after example \d+"):
        _load(prepared_copy)


def test_a_shard_cut_at_a_record_boundary_is_found(prepared_copy):
    shard = prepared_copy / "mnist-test.tfrecord-00000-of-00001"
    content = shard.read_bytes()
    first_record = 16 + int.from_bytes(content[:8], "little")
    shard.write_bytes(content[first_record:])
    with pytest.raises(mnist_lib.CorruptDataError, match=r"test shards have \d+ bytes, expected"):
        _load(prepared_copy)


def test_a_missing_shard_and_a_broken_description_are_found(prepared_copy):
    (prepared_copy / "mnist-test.tfrecord-00000-of-00001").unlink()
    with pytest.raises(mnist_lib.CorruptDataError, match="shard is missing"):
        _load(prepared_copy)
    (prepared_copy / "dataset_info.json").write_text('{"splits": [')
    with pytest.raises(mnist_lib.CorruptDataError, match=r"dataset_info.json: cannot be read"):
        _load(prepared_copy)


def test_wrong_counts_are_found(prepared_copy):
    path = prepared_copy / "dataset_info.json"
    description = json.loads(path.read_text())
    description["splits"][0]["shardLengths"] = ["59999"]
    path.write_text(json.dumps(description))
    with pytest.raises(mnist_lib.CorruptDataError, match="split train has 59999 examples"):
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
    monkeypatch.setattr(preparation, "verify_originals", lambda *_: None)
    monkeypatch.setattr(preparation, "_open_prepared", lambda info, folder, source: folder)
    threads = [
        threading.Thread(
            target=mnist_lib.prepare_dataset,
            kwargs={"data_dir": tmp_path / "data", "manual_dir": tmp_path},
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
