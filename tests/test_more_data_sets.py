"""EMNIST and QMNIST, in small files of exactly their formats: nobody here has the real ones."""

import concurrent.futures
import dataclasses
import gzip
import hashlib
import logging
import struct
import zipfile

import numpy as np
import pytest
from tensorflow_datasets.image_classification import mnist as tfds_mnist

import mnist_lib
from mnist_lib import locks
from mnist_lib.datasets import (
    archives,
    catalog,
    downloads,
    idx,
    original_formats,
    originals,
    preparation,
)
from mnist_lib.inspection import figures, predictions
from mnist_lib.studies import compare

LETTERS = catalog.CATALOG["emnist/letters"]
NUM_TRAIN, NUM_TEST = 780, 260


def _upright_letters(num_images: int, seed: int, is_sorted: bool) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar per class, upright, with noise; labels from 0, mixed or as in the alphabet."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_images) % 26).astype(np.uint8)
    if is_sorted:
        labels.sort()
    images = rng.integers(0, 40, (num_images, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label : label + 2, 3:25] += 180
    return images, labels


TRAIN = _upright_letters(NUM_TRAIN, 1, is_sorted=False)
TEST = _upright_letters(NUM_TEST, 2, is_sorted=True)  # as the file of test letters is said to be


def _letter_files() -> dict[str, bytes]:
    """As NIST has them: transposed, counted from 1."""
    contents = []
    for images, labels in (TRAIN, TEST):
        contents += [idx.to_idx(images.swapaxes(1, 2)), idx.to_idx(labels + 1)]
    return {file.name: content for file, content in zip(LETTERS.files, contents, strict=True)}


def _write_zip(path, files: dict[str, bytes]) -> catalog.SourceFile:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"gzip/{name}", gzip.compress(content, mtime=0))
        archive.writestr("gzip/emnist-byclass-train-images-idx3-ubyte.gz", b"of another part")
    content = path.read_bytes()
    return catalog.SourceFile("gzip.zip", len(content), hashlib.sha256(content).hexdigest())


def _small_letters(archive: catalog.SourceFile) -> catalog.DatasetInfo:
    return dataclasses.replace(LETTERS, num_train=NUM_TRAIN, num_test=NUM_TEST, archive=archive)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """The small archive, and the catalogue that knows it."""
    folder = tmp_path_factory.mktemp("letters")
    info = _small_letters(_write_zip(folder / "emnist.zip", _letter_files()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.CATALOG, info.name, info)
        yield info, folder


@pytest.fixture(scope="module")
def letters_dir(letters, tmp_path_factory):
    """Prepared by TFDS out of the archive."""
    data_dir = tmp_path_factory.mktemp("data")
    prepared = mnist_lib.prepare_dataset(
        "emnist/letters", data_dir=data_dir, manual_dir=letters[1] / "emnist.zip"
    )
    assert prepared.directory == data_dir / "emnist" / "letters" / "4.0.0"
    assert prepared.source == "manual_dir"
    return data_dir


def test_letters_are_upright_and_counted_from_0(letters_dir):
    for _ in range(2):  # decoded, and then from the decoded copy
        train, test = mnist_lib.load_arrays("emnist/letters", data_dir=letters_dir)
        for found, expected in zip((train, test), (TRAIN, TEST), strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    data = mnist_lib.load_dataset("emnist/letters", data_dir=letters_dir, validation_size=52)
    assert data.class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert np.bincount(data.validation.labels).tolist() == [2] * 26
    first = np.flatnonzero(data.test.numbers == 7)
    np.testing.assert_array_equal(data.test.images[first[0], ..., 0], TEST[0][7])
    beside = {path.name for path in letters_dir.iterdir()}
    assert beside == {"emnist", ".emnist.lock"}


def test_26_classes_go_all_the_way(letters_dir, tmp_path):
    """Trained, evaluated, predicted, drawn, exported and compared."""
    runs = []
    for seed in (0, 1):
        config = mnist_lib.recipe(
            "linear",
            dataset="emnist/letters",
            data_dir=str(letters_dir),
            validation_size=52,
            train_steps=60,
            batch_size=52,
            learning_rate=0.01,
            summaries="none",
            seed=seed,
        )
        runs.append(tmp_path / str(seed))
        results = mnist_lib.train_and_evaluate(config, runs[-1])
        assert results["class_names"][:3] == ["A", "B", "C"]
        assert results["test"]["accuracy"] > 0.8
        assert np.shape(results["test"]["confusion_matrix"]) == (26, 26)
    metrics = mnist_lib.evaluate(runs[0])
    assert (metrics.num_examples, metrics.confusion_matrix.shape) == (NUM_TEST, (26, 26))
    probabilities = mnist_lib.predict(runs[0], TEST[0])
    assert probabilities.shape == (NUM_TEST, 26)
    assert (probabilities.argmax(-1) == TEST[1]).mean() > 0.8
    np.save(tmp_path / "images.npy", TEST[0][:3])
    found = list(mnist_lib.predict_files(runs[0], [tmp_path / "images.npy"]))
    assert [one.label for one in found] == [
        LETTERS.class_names[label] for label in probabilities[:3].argmax(-1)
    ]
    data = mnist_lib.load_dataset("emnist/letters", data_dir=letters_dir, validation_size=52)
    said = predictions.predict_split(
        mnist_lib.load_model(runs[0]), data.test, data.class_names, data.name
    )
    drawn = figures.draw_confusion(said)
    texts = {text.get_text() for axes in drawn.axes for text in axes.get_xticklabels()}
    assert texts >= {"A", "Z"}
    page = mnist_lib.export(runs[0], "html", tmp_path / "page.html", data=data)
    assert page["class_names"] == list(LETTERS.class_names)
    compared = compare.compare_runs(runs)
    assert compared.dataset == "emnist/letters"
    assert compared.runs[0].undisputed is None


def test_parts_of_emnist_wait_for_each_other(letters, tmp_path):
    """They share an archive and the folder in which they are built, whatever their versions."""
    lock = locks.acquire(tmp_path / ".emnist.lock", "data_dir")
    info, _ = letters
    for part in (info, catalog.CATALOG["emnist/digits"]):
        preparing = preparation._preparation_lock(tmp_path, part)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            entered = pool.submit(preparing.__enter__)
            with pytest.raises(TimeoutError):
                entered.result(timeout=0.5)
            lock.release()
            entered.result(timeout=60)
            preparing.__exit__(None, None, None)
        lock = locks.acquire(tmp_path / ".emnist.lock", "data_dir")
    lock.release()


def _as_files(folder, pack):
    folder.mkdir(parents=True)
    for name, content in _letter_files().items():
        packed = gzip.compress(content) if pack else content
        (folder / (name if pack else name.removesuffix(".gz"))).write_bytes(packed)


@pytest.mark.parametrize("below", [".", "gzip", "EMNIST/raw"])
def test_files_without_their_archive_are_checked_for_format(letters, tmp_path, caplog, below):
    info, _ = letters
    staging = tmp_path / "staging"
    staging.mkdir()
    _as_files(tmp_path / "mine" / below, pack=below == "gzip")
    with caplog.at_level(logging.WARNING):
        assert originals.collect_originals(info, tmp_path / "mine", staging) == staging
    assert caplog.text.count("no checksum is published for it; only its format is checked") == 4
    with zipfile.ZipFile(staging / "gzip.zip") as archive:
        assert archive.namelist() == [f"gzip/{file.name}" for file in info.files]
        found = {name: gzip.decompress(archive.read(f"gzip/{name}")) for name in _letter_files()}
    assert found == _letter_files()


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (1, lambda labels: labels - 1, r"label 0 at index \d+ is not in \[1, 26\]"),
        (1, lambda labels: labels + 1, r"label 27 at index \d+ is not in \[1, 26\]"),
        (1, lambda labels: labels[:520], "holds 520 examples, expected 780"),
        (0, lambda images: images[:, :27], "images are 27x28, expected 28x28"),
    ],
)
def test_wrong_files_of_letters_are_named(letters, tmp_path, number, change, message):
    info, _ = letters
    _as_files(tmp_path / "mine", pack=False)
    path = tmp_path / "mine" / info.files[number].name.removesuffix(".gz")
    array = idx.parse_idx(path.read_bytes(), num_dims=1 if number else 3)
    path.write_bytes(idx.to_idx(change(array)))
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message) as caught:
        originals.collect_originals(info, tmp_path / "mine", tmp_path)
    assert str(caught.value).startswith(str(path))


def test_an_archive_that_is_not_the_published_one_is_refused(letters, tmp_path):
    info, folder = letters
    content = (folder / "emnist.zip").read_bytes()
    path = tmp_path / "gzip.zip"
    path.write_bytes(content[:-1])
    size = f"has {len(content) - 1:,} bytes, and that of the published gzip.zip"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=size):
        originals.collect_originals(info, tmp_path, tmp_path)
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"SHA-256 is [0-9a-f]{64}"
    ) as caught:
        originals.collect_originals(info, tmp_path, tmp_path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "There is no item named"),
        ({name: bytes(3_000_000) for name in _letter_files()}, None),  # packed they are small
        (
            {name: np.random.default_rng(0).bytes(3_000_000) for name in _letter_files()},
            r"has more than 1,\d+,\d+ bytes",
        ),
    ],
)
def test_an_archive_is_not_unpacked_beyond_what_its_files_can_have(tmp_path, files, message):
    info = _small_letters(_write_zip(tmp_path / "gzip.zip", files))
    if message is None:
        read = archives.read_files(info, tmp_path / "gzip.zip")
        assert all(len(packed) < 10_000 for packed in read)
        return
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message):
        archives.read_files(info, tmp_path / "gzip.zip")


def test_without_the_archive_it_is_named(letters, tmp_path):
    info, _ = letters
    (tmp_path / "notes.txt").write_text("")
    message = "emnist-letters-train-images.* missing, and there is no gzip.zip; it has notes.txt"
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=message):
        originals.collect_originals(info, tmp_path, tmp_path)
    assert "put gzip.zip (from https://biometrics.nist.gov/" in originals.how_to_provide(info)


def test_the_archive_is_downloaded_once_for_all_parts(letters, tmp_path, monkeypatch):
    """The host is replaced: what is tried here is what is fetched and verified."""
    info, folder = letters
    fetched = []

    def fetch(url, file, most, path):
        fetched.append((url, most))
        path.write_bytes((folder / "emnist.zip").read_bytes())

    monkeypatch.setattr(downloads, "_fetch", fetch)
    for _ in range(2):
        assert downloads.download_originals(info, tmp_path / "d") == tmp_path / "d"
    assert fetched == [
        ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", info.archive.num_bytes)
    ]
    collected = originals.collect_originals(info, tmp_path / "d", tmp_path)
    assert zipfile.is_zipfile(collected / "gzip.zip")


def test_the_four_parts_have_the_counts_of_tfds():
    configurations = tfds_mnist.EMNIST.builder_configs
    url = f"{LETTERS.url}{LETTERS.archive.name}"
    assert url == tfds_mnist.EMNIST.URL
    (known,) = [one for name, one in tfds_mnist.EMNIST.url_infos.items() if name == url]
    assert (LETTERS.archive.num_bytes, LETTERS.archive.sha256) == (known.size, known.checksum)
    for info in catalog.EMNIST_PARTS:
        name = info.name.removeprefix("emnist/")
        if info.name != LETTERS.name:
            described = configurations[name]
            counts = (described.train_examples, described.test_examples, described.class_number)
            assert counts == (info.num_train, info.num_test, len(info.class_names))
        assert len(set(info.class_names)) == len(info.class_names)
    assert str(tfds_mnist.EMNIST.VERSION) == "3.1.0"
    assert len(LETTERS.class_names) == 26
    assert str(tfds_mnist.EMNIST.VERSION) != LETTERS.version  # of TFDS's, which has fewer


def _extended_labels(labels: np.ndarray) -> np.ndarray:
    """Rows of eight, as QMNIST has them; all but the first tell where a digit is from."""
    rows = np.zeros((len(labels), 8), np.int32)
    rows[:, 0], rows[:, 5] = labels, np.arange(len(labels)) + 200_000
    return rows


@pytest.fixture
def qmnist(tmp_path, monkeypatch):
    """Small files of QMNIST, 60 to train on and 90 to test on, of which 30 are MNIST's."""
    rng = np.random.default_rng(5)
    arrays, files = [], []
    folder = tmp_path / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    for file, count in zip(catalog.QMNIST.files, (60, 60, 90, 90), strict=True):
        if "images" in file.name:
            arrays.append(rng.integers(0, 256, (count, 28, 28)).astype(np.uint8))
            content = idx.to_idx(arrays[-1])
        else:
            arrays.append(rng.integers(0, 10, count).astype(np.uint8))
            content = idx.to_idx(_extended_labels(arrays[-1]), np.int32)
        packed = gzip.compress(content, mtime=0)
        (folder / file.name).write_bytes(packed)
        files.append(dataclasses.replace(file, md5=hashlib.md5(packed).hexdigest()))
    info = dataclasses.replace(
        catalog.QMNIST,
        files=tuple(files),
        num_train=60,
        num_test=60,
        num_in_files=(60, 90),
        first_test=30,
    )
    monkeypatch.setattr(catalog, "QMNIST", info)
    monkeypatch.setitem(catalog.CATALOG, "qmnist", info)
    return info, arrays, folder


def test_qmnist_tests_on_what_is_not_in_mnist(qmnist, tmp_path):
    _, arrays, _ = qmnist
    options = {"data_dir": tmp_path / "data", "manual_dir": tmp_path}
    train, test = mnist_lib.load_arrays("qmnist", **options)
    np.testing.assert_array_equal(train[0], arrays[0])
    np.testing.assert_array_equal(train[1], arrays[1])
    np.testing.assert_array_equal(test[0], arrays[2][30:])
    np.testing.assert_array_equal(test[1], arrays[3][30:])
    data = mnist_lib.load_dataset("qmnist", **options, validation_size=10)
    assert sorted(data.test.numbers) == list(range(30, 90))
    for image, number in zip(data.test.images[:5], data.test.numbers, strict=False):
        np.testing.assert_array_equal(image[..., 0], arrays[2][number])
    prepared = preparation.prepare_dataset("qmnist", **options)
    assert prepared.directory == tmp_path / "data" / "qmnist" / "1.0.0"


def test_files_of_qmnist_are_known_by_their_md5(qmnist, tmp_path, caplog):
    info, arrays, folder = qmnist
    assert originals.collect_originals(info, folder, tmp_path) == folder
    assert caplog.text == ""
    path = folder / info.files[3].name
    rows = _extended_labels(arrays[3])
    rows[8, 0] = 10
    path.write_bytes(gzip.compress(idx.to_idx(rows, np.int32)))
    message = r"label 10 at index 8 is not in \[0, 9\]. SHA-256 is .*, MD5 \w{32}, expected \w{32}"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message):
        originals.collect_originals(info, folder, tmp_path)
    path.write_bytes(gzip.compress(idx.to_idx(rows[:, :7], np.int32)))
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="labels are 7, expected 8"):
        originals.collect_originals(info, folder, tmp_path)
    path.write_bytes(gzip.compress(idx.to_idx(arrays[3])))
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match="magic number is 2049, expected 3074"
    ):
        originals.collect_originals(info, folder, tmp_path)


def test_idx_of_int32_is_big_endian():
    """The bytes of QMNIST's description: magic 0x0c02, rows, columns, data in row-major order."""
    content = idx.to_idx(np.array([[7, -1], [258, 0]]), np.int32)
    assert content == struct.pack(">III4i", 0x0C02, 2, 2, 7, -1, 258, 0)
    found = idx.parse_idx(content, num_dims=2, dtype=np.int32)
    assert found.tolist() == [[7, -1], [258, 0]]
    assert found.dtype == np.int32
    with pytest.raises(ValueError, match="magic number is 3074, expected 2050"):
        idx.parse_idx(content, num_dims=2)
    with pytest.raises(ValueError, match=r"27 bytes after decompression, .* calls for 28"):
        idx.parse_idx(content[:-1], num_dims=2, dtype=np.int32)


def test_sizes_follow_from_the_formats():
    images, labels = catalog.QMNIST.files[2:]
    assert original_formats.unpacked_size(catalog.QMNIST, images) == 16 + 60_000 * 784
    assert original_formats.unpacked_size(catalog.QMNIST, labels) == 12 + 60_000 * 8 * 4
    assert LETTERS.shape_in(LETTERS.files[0]) == (124_800, 28, 28)
    assert LETTERS.shape_in(LETTERS.files[3]) == (20_800,)
