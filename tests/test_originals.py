"""Original files: found in each form, downloaded, and wrong ones named; rows 12 to 17."""

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import http.server
import threading
import time

import numpy as np
import pytest

import mnist_lib
from mnist_lib import bounded
from mnist_lib.datasets import arrival, catalog, downloads, idx, originals

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


def _write_gzip(path, content: bytes):
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))


def _write(folder) -> catalog.DatasetInfo:
    """Writes four right files; returns a catalogue entry that describes them."""
    folder.mkdir(exist_ok=True)
    files = []
    for name, array in _arrays().items():
        content = idx.to_idx(array)
        _write_gzip(folder / name, content)
        compressed = (folder / name).read_bytes()
        hashes = [hashlib.sha256(data).hexdigest() for data in (compressed, content)]
        files.append(catalog.SourceFile(name, len(compressed), *hashes))
    return dataclasses.replace(catalog.MNIST, num_train=600, num_test=100, files=tuple(files))


def _collect(info, folder, tmp_path):
    staging = tmp_path / "staging"
    staging.mkdir(exist_ok=True)
    return originals.collect_originals(info, folder, staging)


def _contents(folder) -> dict[str, bytes]:
    return {name: gzip.decompress((folder / name).read_bytes()) for name in NAMES}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "originals"


def test_gzip_files_are_used_where_they_are(tmp_path, folder):
    info = _write(folder)
    assert _collect(info, folder, tmp_path) == folder


def _as_plain_files(folder):
    for name in NAMES:
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name.removesuffix(".gz")).write_bytes(content)
        (folder / name).unlink()


def _as_npz(folder):
    for name in NAMES:
        (folder / name).unlink()
    x_train, y_train, x_test, y_test = _arrays().values()
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez_compressed(folder / "mnist.npz", **arrays)


def _as_dotted_names(folder):
    for name in NAMES:
        (folder / name).rename(folder / name.replace("-idx", ".idx"))


def _as_nested_folders(folder):
    """As Kaggle's archive unpacks: a folder of the file's name that holds the file."""
    _as_plain_files(folder)
    for name in NAMES:
        plain = name.removesuffix(".gz")
        (folder / plain).rename(folder / "held")
        (folder / plain).mkdir()
        (folder / "held").rename(folder / plain / plain)


def _as_nested_dotted_folders(folder):
    _as_nested_folders(folder)
    for name in NAMES:
        plain = name.removesuffix(".gz")
        dotted = plain.replace("-idx", ".idx")
        (folder / plain / plain).rename(folder / plain / dotted)
        (folder / plain).rename(folder / dotted)


def _as_torchvision(folder):
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for name in NAMES:
        (folder / name).rename(folder / "MNIST" / "raw" / name)


def _as_torchvision_from_below(folder):
    (folder / "raw").mkdir(parents=True)
    for name in NAMES:
        (folder / name).rename(folder / "raw" / name)


def _with_one_unpacked(folder):
    path = folder / TEST_LABELS
    (folder / TEST_LABELS.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()


def _packed_again(folder):
    for name in NAMES:
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name).write_bytes(gzip.compress(content, compresslevel=9))


def _unpacked_under_the_packed_name(folder):
    for name in NAMES:
        (folder / name).write_bytes(gzip.decompress((folder / name).read_bytes()))


def _packed_under_the_unpacked_name(folder):
    for name in NAMES:
        (folder / name).rename(folder / name.removesuffix(".gz"))


@pytest.mark.parametrize(
    "convert",
    [
        _as_plain_files,
        _as_npz,
        _as_dotted_names,
        _as_nested_folders,
        _as_nested_dotted_folders,
        _as_torchvision,
        _as_torchvision_from_below,
        _with_one_unpacked,
        _packed_again,
        _unpacked_under_the_packed_name,
        _packed_under_the_unpacked_name,
    ],
)
def test_other_forms_are_converted(tmp_path, folder, convert):
    info = _write(folder)
    expected = _contents(folder)
    convert(folder)
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert _contents(_collect(info, folder, tmp_path)) == expected
    assert before == {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_an_npz_may_be_given_by_its_own_path(tmp_path, folder):
    info = _write(folder)
    expected = _contents(folder)
    _as_npz(folder)
    path = (folder / "mnist.npz").rename(folder / "mnist (1).npz")
    assert _contents(_collect(info, path, tmp_path)) == expected
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=r"; it has mnist \(1\).npz. Pass"):
        _collect(info, folder, tmp_path)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match="cannot be read without unpickling"
    ):
        _collect(info, _plain_file(tmp_path), tmp_path)


def _plain_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no data")
    return path


def _known(monkeypatch, folder) -> catalog.DatasetInfo:
    """Makes the small files those of MNIST in the catalogue; returns another data set."""
    monkeypatch.setitem(catalog.CATALOG, "mnist", _write(folder))
    files = tuple(
        dataclasses.replace(file, sha256="0" * 64, content_sha256=None)
        for file in catalog.CATALOG["mnist"].files
    )
    return dataclasses.replace(catalog.KMNIST, num_train=600, num_test=100, files=files)


@pytest.mark.parametrize(
    "convert", [lambda _: None, _as_plain_files, _packed_again, _as_torchvision]
)
def test_files_of_mnist_are_not_taken_for_another_data_set(tmp_path, folder, monkeypatch, convert):
    kmnist = _known(monkeypatch, folder)
    convert(folder)
    if convert is _as_torchvision:
        (folder / "MNIST").rename(folder / "KMNIST")
    message = f"is {TRAIN_IMAGES} of mnist, not {TRAIN_IMAGES} of kmnist. .* or --dataset=mnist"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message):
        _collect(kmnist, folder, tmp_path)


def test_keras_npz_of_mnist_is_not_taken_for_another_data_set(tmp_path, folder, monkeypatch):
    kmnist = _known(monkeypatch, folder)
    _as_npz(folder)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=f"is {TRAIN_IMAGES} of mnist"):
        _collect(kmnist, folder / "mnist.npz", tmp_path)


def test_files_of_another_data_set_are_named(tmp_path, folder, monkeypatch):
    """By the published checksum of their packed form."""
    info = _write(folder)
    packed = (folder / TEST_LABELS).read_bytes()
    theirs = dataclasses.replace(info.files[3], sha256=hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(
        catalog.CATALOG, "kmnist", dataclasses.replace(catalog.KMNIST, files=(theirs,))
    )
    files = (*info.files[:3], catalog.MNIST.files[3])
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=f"is {TEST_LABELS} of kmnist, not {TEST_LABELS} of"
    ):
        _collect(dataclasses.replace(info, files=files), folder, tmp_path)


def test_one_of_the_files_under_the_name_of_another_is_named(tmp_path, folder, monkeypatch):
    info = _write(folder)
    monkeypatch.setitem(catalog.CATALOG, "mnist", info)
    (folder / TEST_IMAGES).write_bytes((folder / TRAIN_IMAGES).read_bytes())
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=f"is {TRAIN_IMAGES} of mnist, not {TEST_IMAGES} of"
    ):
        _collect(info, folder, tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, folder, monkeypatch):
    info = _write(folder)

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(bounded, "read_file", refuse)
    with pytest.raises(
        mnist_lib.errors.DataNotFoundError,
        match=rf"{TRAIN_IMAGES}: cannot be read \(Permission denied\). Pass a --manual_dir",
    ):
        _collect(info, folder, tmp_path)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def _html(path):
    path.write_text("<!DOCTYPE html><html><body>Sign in to the proxy</body></html>")


def _flip_a_byte(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    _write_gzip(path, bytes(content))


def _wrong_magic(path):
    content = idx.to_idx(_arrays()[path.name])
    _write_gzip(path, b"\x00\x00\x0d\x03" + content[4:])


def _short_labels(path):
    _write_gzip(path, idx.to_idx(_arrays()[path.name][:-100]))


def _label_ten(path):
    labels = _arrays()[path.name]
    labels[37] = 10
    _write_gzip(path, idx.to_idx(labels))


def _narrow_images(path):
    _write_gzip(path, idx.to_idx(_arrays()[path.name][:, :27]))


def _trailing_bytes(path):
    _write_gzip(path, idx.to_idx(_arrays()[path.name]) + b"\0\0\0")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (TRAIN_IMAGES, _truncate, "not a complete gzip file"),
        (TRAIN_LABELS, _html, r"not a complete gzip file .* begins with b'<!DOCTYPE html>"),
        (TEST_IMAGES, _flip_a_byte, "it is another file"),
        (TRAIN_IMAGES, _wrong_magic, r"IDX magic number is 3331, expected 2051 \(images\)"),
        (TRAIN_LABELS, _short_labels, "holds 500 examples, expected 600"),
        (TEST_LABELS, _label_ten, r"label 10 at index 37 is not in \[0, 9\]"),
        (TRAIN_IMAGES, _narrow_images, "images are 27x28, expected 28x28"),
        (TEST_IMAGES, _trailing_bytes, r"78419 bytes after decompression, .* calls for 78416"),
    ],
)
def test_wrong_files_are_named(tmp_path, folder, name, damage, message):
    info = _write(folder)
    damage(folder / name)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message) as caught:
        _collect(info, folder, tmp_path)
    text = str(caught.value)
    assert text.startswith(str(folder / name))
    file = info.files[NAMES.index(name)]
    actual = (folder / name).read_bytes()
    assert f"{hashlib.sha256(actual).hexdigest()} ({len(actual)} bytes)" in text
    assert f"expected {file.sha256} ({file.num_bytes} bytes). Get the original" in text
    assert caught.value.exit_code == 65


def test_a_wrong_plain_file_is_named(tmp_path, folder):
    info = _write(folder)
    _flip_a_byte(folder / TRAIN_IMAGES)
    _as_plain_files(folder)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match="SHA-256 of train-images-idx3-ubyte is"
    ):
        _collect(info, folder, tmp_path)


class _Malicious:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


def _npz_arrays() -> dict:
    return dict(zip(("x_train", "y_train", "x_test", "y_test"), _arrays().values(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.array([_Malicious()], dtype=object)}, "cannot be read without unpickling"),
        ({"y_test": None}, "has x_train, y_train, x_test, not y_test"),
        ({"x_test": np.zeros((100, 28, 28), np.float32)}, r"x_test is float32 .* expected uint8"),
        ({"x_test": np.full((100, 28, 28), np.nan)}, r"x_test is float64 .* expected uint8"),
        (
            {"y_train": np.zeros((600, 1), np.uint8)},
            r"y_train is uint8 \[600, 1\]",
        ),
        ({"x_train": np.zeros((600, 27, 28), np.uint8)}, "images are 27x28, expected 28x28"),
        ({"x_train": np.zeros((600, 28, 28), np.uint8)}, "SHA-256 of train-images-idx3-ubyte is"),
    ],
)
def test_wrong_npz_files_are_refused(tmp_path, folder, change, message):
    info = _write(folder)
    for name in NAMES:
        (folder / name).unlink()
    arrays = {key: value for key, value in (_npz_arrays() | change).items() if value is not None}
    np.savez(folder / "mnist.npz", **arrays)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=message) as caught:
        _collect(info, folder, tmp_path)
    assert str(caught.value).startswith(str(folder / "mnist.npz"))


def test_an_npz_that_is_no_npz_is_refused(tmp_path, folder):
    info = _write(folder)
    _as_npz(folder)
    _html(folder / "mnist.npz")
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=r"mnist.npz: cannot be read"):
        _collect(info, folder, tmp_path)
    with (folder / "mnist.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=r"mnist.npz: cannot be read"):
        _collect(info, folder, tmp_path)


def test_missing_files_are_named(tmp_path, folder):
    info = _write(folder)
    (folder / TEST_LABELS).unlink()
    with pytest.raises(
        mnist_lib.errors.DataNotFoundError, match=f"{TEST_LABELS} missing"
    ) as caught:
        _collect(info, folder, tmp_path)
    assert caught.value.exit_code == 66
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match="no such directory"):
        _collect(info, folder / "nowhere", tmp_path)


class _Server(http.server.ThreadingHTTPServer):
    """Serves a dictionary of paths; counts requests; fails the first few if told to."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.requested: list[str] = []
        self.failures_left = 0
        self.cuts_left = 0
        self.slow_in: str | None = None
        self.encoding: str | None = None


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers no HEAD, as some hosts do not."""

    def do_GET(self):
        self.server.requested.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/"))
        status = 404 if content is None else 200
        if self.server.failures_left:
            self.server.failures_left -= 1
            status = 503
        self.send_response(status)
        content = (content or b"") if status == 200 else b""
        if self.server.encoding:
            self.send_header("Content-Encoding", self.server.encoding)
        if self.server.slow_in == "header":
            self.flush_headers()
            self._trickle(b"X-Slow: " + b"x" * 100)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.cuts_left:
            self.server.cuts_left -= 1
            content = content[:1000]
            self.close_connection = True
        if self.server.slow_in == "body":
            self._trickle(content)
        with contextlib.suppress(ConnectionError):  # who does not read on
            self.wfile.write(content)

    def _trickle(self, content: bytes) -> None:
        for byte in content[:100]:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def log_message(self, *_):
        """Keeps the test's output clean."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def server(folder):
    """A host of the originals on loopback, and the catalogue entry that points to it."""
    info = _write(folder)
    with _Server({name: (folder / name).read_bytes() for name in NAMES}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.info = dataclasses.replace(info, url=f"http://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()


def test_download_verifies_and_does_not_fetch_again(server, tmp_path, folder):
    assert downloads.download_problem(server.info) is None
    target = tmp_path / "downloads"
    downloads.download_originals(server.info, target)
    assert _contents(target) == _contents(folder)
    assert sorted(path.name for path in target.iterdir()) == sorted(NAMES)
    server.requested.clear()
    downloads.download_originals(server.info, target)
    assert server.requested == []


def test_a_cached_file_is_not_trusted_by_name(server, tmp_path, folder):
    target = tmp_path / "downloads"
    downloads.download_originals(server.info, target)
    server.requested.clear()
    _flip_a_byte(target / TEST_IMAGES)
    downloads.download_originals(server.info, target)
    assert server.requested == [f"/{TEST_IMAGES}"]
    assert _contents(target) == _contents(folder)


def test_failures_that_pass_are_retried(server, tmp_path, folder):
    server.failures_left = 2
    target = downloads.download_originals(server.info, tmp_path / "downloads")
    assert _contents(target) == _contents(folder)


def test_a_connection_that_breaks_in_a_file_is_retried(server, tmp_path, folder):
    server.cuts_left = 2
    target = downloads.download_originals(server.info, tmp_path / "downloads")
    assert _contents(target) == _contents(folder)
    assert server.requested.count(f"/{TRAIN_IMAGES}") == 3


def test_what_is_not_the_original_is_not_kept(server, tmp_path):
    server.files[TRAIN_LABELS] = b"<html>Please log in</html>"
    target = tmp_path / "downloads"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="begins with b'<html>"):
        downloads.download_originals(server.info, target)
    assert [path.name for path in target.iterdir()] == [TRAIN_IMAGES]


def test_a_host_without_the_files_is_named(server, tmp_path):
    server.files.clear()
    assert downloads.download_problem(server.info) == "127.0.0.1 answers 404"
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=r"404 .*pass --manual_dir="):
        downloads.download_originals(server.info, tmp_path / "downloads")


def test_a_host_that_cannot_be_reached_is_named():
    unreachable = dataclasses.replace(catalog.MNIST, url="http://127.0.0.1:9/mnist/")
    problem = downloads.download_problem(unreachable)
    assert problem == "127.0.0.1 cannot be reached (ConnectionError)"


def test_a_download_stops_at_the_size_that_is_known(server, tmp_path):
    server.files[TRAIN_IMAGES] += bytes(2**22)
    target = tmp_path / "downloads"
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=r"goes on after the \d+ bytes"):
        downloads.download_originals(server.info, target)
    assert list(target.iterdir()) == []
    assert server.requested == [f"/{TRAIN_IMAGES}"], "no use in trying again"


@pytest.mark.parametrize("slow_in", ["body", "header"])
def test_a_download_that_trickles_ends(server, tmp_path, monkeypatch, slow_in):
    """Each byte comes long before the time limit of the socket."""
    monkeypatch.setattr(arrival, "PATIENCE_SECONDS", 0.3)
    server.slow_in = slow_in
    target = tmp_path / "downloads"
    with pytest.raises(mnist_lib.errors.DataNotFoundError, match=r"only \d+ bytes came in 0 s"):
        downloads.download_originals(server.info, target)
    assert list(target.iterdir()) == []
    deadline = time.monotonic() + 60  # the last may have gone before the server has looked
    while len(server.requested) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.requested) == 4


def test_what_a_host_packs_for_the_way_is_not_unpacked(server, tmp_path, folder):
    """It stores the `.gz` files, and some call them packed contents."""
    server.encoding = "gzip"
    target = downloads.download_originals(server.info, tmp_path / "downloads")
    assert _contents(target) == _contents(folder)
