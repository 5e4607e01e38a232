"""Bombs: files that say, or become, much more than they are; row 37 of the faults.

Each group is read in one process of its own, whose memory is looked at afterwards. With the
readers before this test a process took 3 to 9 GB for single ones of them.
"""

import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import mnist_lib
from mnist_lib.datasets import catalog, content_hashes, idx, loading, record_framing

_MOST_MEGABYTES = 1000  # of the whole process, libraries included
_GIGABYTES = 3 * 2**30

_PROLOGUE = """
import pathlib, re, sys
from mnist_lib import errors
def refused(name, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except errors.MnistLibError as error:
        print(name, type(error).__name__, str(error).replace(chr(10), " | "))
    else:
        print(name, "taken")
here = pathlib.Path(sys.argv[1])
"""
_EPILOGUE = """
# Not of getrusage, in which a process has what its parent had, too.
found = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
print("megabytes", int(found[1]) // 1024)
"""


def _run(code: str, folder: pathlib.Path) -> tuple[dict[str, str], int]:
    """Returns what each reader said, and the most memory that the process had, MB."""
    done = subprocess.run(
        [sys.executable, "-c", _PROLOGUE + code + _EPILOGUE, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return lines, int(lines.pop("megabytes"))


def _sparse(path: pathlib.Path, begin: bytes = b"") -> None:
    """Makes a file of 3 GB of zeros that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(begin)
    os.truncate(path, _GIGABYTES)


def _zeros_packed() -> bytes:
    """3 GB of zeros as 3 MB of gzip: members of 64 MB, one after the other."""
    return gzip.compress(bytes(2**26), compresslevel=9, mtime=0) * 48


def test_files_of_images_are_read_no_further_than_they_can_reach(tmp_path):
    names = [file.name for file in catalog.MNIST.files]
    for form, content in {"gzip": _zeros_packed(), "sparse": None}.items():
        for name in names:
            (tmp_path / form).mkdir(exist_ok=True)
            if content is None:
                _sparse(tmp_path / form / name.removesuffix(".gz"), idx.to_idx(np.zeros((1, 1, 1))))
            else:
                (tmp_path / form / name).write_bytes(content)
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "|u1", "fortran_order": False, "shape": (60_000, 224, 224)}
    )
    with zipfile.ZipFile(
        tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive:
        for key, times in {"x_train": 44, "y_train": 0, "x_test": 0, "y_test": 0}.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                stream.write(member.getvalue())
                for _ in range(times):
                    stream.write(bytes(2**26))
    _sparse(tmp_path / "sparse.npz", b"PK\x03\x04")
    _sparse(tmp_path / "sparse-idx3-ubyte", b"\0\0\x08\x03" + b"\0\x40\0\0" + b"\0\0\0\x1c" * 2)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"\0\0\x08\x03") + _zeros_packed())
    _sparse(tmp_path / "header.npy", b"\x93NUMPY\2\0\xff\xff\xff\xbf")
    _sparse(tmp_path / "objects.npy", b"\x93NUMPY\1\0")
    said, megabytes = _run(
        """
from mnist_lib.datasets import catalog, originals
from mnist_lib.serving import inputs
for form in ("gzip", "sparse", "bomb.npz", "sparse.npz"):
    refused(form, originals.collect_originals, catalog.MNIST, here / form, here)
kind = inputs.ImageKind((28, 28, 1), "uint8", True, "mnist")
for name in ("sparse-idx3-ubyte", "packed.gz", "header.npy", "objects.npy"):
    refused(name, lambda: list(
        inputs.read_images(here / name, kind, several=False, background="auto")))
""",
        tmp_path,
    )
    assert len(said) == 8
    assert {line.partition(" ")[0] for line in said.values()} == {"CorruptDataError"}
    assert "unpacks to more than" in said["gzip"]
    assert "has more than" in said["sparse"]
    assert "expected uint8 of at most" in said["bomb.npz"]
    assert megabytes < _MOST_MEGABYTES


def test_a_large_npy_file_is_read_image_by_image(tmp_path):
    begin = io.BytesIO()
    shape = (2**31 // 784, 28, 28)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(begin, header)
    _sparse(tmp_path / "large.npy", begin.getvalue())
    said, megabytes = _run(
        """
import itertools
from mnist_lib.serving import inputs
kind = inputs.ImageKind((28, 28, 1), "uint8", True, "mnist")
images = inputs.read_images(here / "large.npy", kind, several=False, background="auto")
print("count", sum(1 for _ in itertools.islice(images, 300_000)))
""",
        tmp_path,
    )
    assert said == {"count": "300000"}
    assert megabytes < 200


def test_what_a_run_has_left_is_read_no_further_than_it_can_reach(tmp_path):
    config = mnist_lib.recipe("linear", dataset="mnist").to_json()
    for name in ("config.json", "results.json", "run.json", "history.csv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
        _sparse(tmp_path / name / name)
    dense = {
        "lists": "[" + "[]," * (2**22) + "0]",
        "deep": "[" * 100_000,
        "keys": "{" + ",".join(f'"{number:x}":{{}}' for number in range(2**20)) + "}",
    }
    for name, text in dense.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
        (tmp_path / name / "results.json").write_text(text)
    os.mkfifo(tmp_path / "pipe")
    said, megabytes = _run(
        """
from mnist_lib.inspection import history
from mnist_lib.runs import overview
for name in ("config.json", "results.json", "run.json", "lists", "deep", "keys"):
    refused(name, overview.look_at, here / name)
refused("history.csv", history.read_history, here / "history.csv")
from mnist_lib.commands import flag_files
refused("flags", flag_files.check, [f"--flagfile={here / 'config.json' / 'config.json'}"])
refused("pipe", flag_files.check, [f"--flagfile={here / 'pipe'}"])
""",
        tmp_path,
    )
    assert len(said) == 9
    kinds = {line.partition(" ")[0] for line in said.values()}
    assert kinds == {"CorruptDataError", "ConfigError"}
    assert "nested too deep" in said["deep"]
    assert megabytes < _MOST_MEGABYTES


def _record(content: bytes, length: int | None = None) -> bytes:
    header = (len(content) if length is None else length).to_bytes(8, "little")
    crcs = (record_framing.checksum(part).to_bytes(4, "little") for part in (header, content))
    return header + next(crcs) + content + next(crcs)


def _example(image: bytes, label: int) -> bytes:
    import tensorflow as tf

    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(image)
    example.features.feature["label"].int64_list.value.append(label)
    return example.SerializeToString()


def _png(width: int, height: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def test_records_are_not_believed(tmp_path):
    """A length of a terabyte would end the process, an image of any size be decoded."""
    small = _example(_png(28, 28), 3)
    shards = {
        "length": _record(small, 2**40),
        "long": _record(_example(bytes(2**16), 3)),
        "image": _record(_example(_png(3000, 3000), 3)),
        "label": _record(_example(_png(28, 28), 2**32 + 5)),
        "good": _record(small),
    }
    for name, content in shards.items():
        (tmp_path / name).write_bytes(content)
    said, megabytes = _run(
        """
from mnist_lib.datasets import prepared, tfrecords
for name in ("length", "long", "image", "label", "good"):
    refused(name, tfrecords.read_shard, prepared.Shard(here / name, 1), 10)
""",
        tmp_path,
    )
    assert said.pop("good") == "taken"
    assert {line.partition(" ")[0] for line in said.values()} == {"CorruptDataError"}
    assert "1,099,511,627,776 bytes by its length" in said["length"]
    assert "no PNG file of 28 x 28" in said["image"]
    assert f"label {2**32 + 5} of example 0 is not in [0, 9]" in said["label"]
    assert megabytes < _MOST_MEGABYTES


def _replace_image(prepared, split="test"):
    """Writes another image for the first one of a split, all checksums right."""
    (shard,) = prepared.shards[split]
    content = shard.path.read_bytes()
    with shard.path.open("rb") as stream:
        first, second = list(record_framing.records(stream, 0, 2**14))[:2]
        swapped = record_framing.content(stream, second), record_framing.content(stream, first)
    changed = b"".join(map(_record, swapped)) + content[second.end :]
    assert len(changed) == len(content)
    shard.path.write_bytes(changed)


def test_prepared_images_that_were_replaced_are_refused(prepared_copy):
    """Two images change their places: all of TFDS's checksums and sizes are right."""
    images, labels = loading.read_prepared(prepared_copy, "test")
    changed = bytearray(content_hashes.content_of(images, labels))
    _replace_image(prepared_copy)
    with pytest.raises(
        mnist_lib.errors.CorruptDataError, match=r"split (is not that|was replaced)"
    ):
        loading.read_prepared(prepared_copy, "test")
    # A copy that fits the shards, and itself, is not what was prepared either.
    changed[0] ^= 1
    from mnist_lib.datasets import decoded

    decoded.write(prepared_copy, "test", bytes(changed))
    with pytest.raises(mnist_lib.errors.CorruptDataError):
        loading.read_prepared(prepared_copy, "test")


def test_what_another_program_has_prepared_is_noted_and_then_verified(prepared_copy, caplog):
    import dataclasses

    info = dataclasses.replace(prepared_copy.info, stored_sha256={}, files=())
    unknown = dataclasses.replace(prepared_copy, info=info)
    noted = prepared_copy.directory / "content_sha256.json"
    noted.unlink(missing_ok=True)
    with caplog.at_level("INFO"):
        loading.read_prepared(unknown, "test")
    assert "whether the test images are those that were prepared is not known" in caplog.text
    assert list(json.loads(noted.read_text())) == ["test"]
    caplog.clear()
    loading.read_prepared(unknown, "test")
    assert caplog.text == ""
    _replace_image(unknown)
    with pytest.raises(mnist_lib.errors.CorruptDataError, match="its test split was replaced"):
        loading.read_prepared(unknown, "test")
    noted.write_text('{"test": 1}')
    with pytest.raises(mnist_lib.errors.CorruptDataError, match=r"content_sha256.json: cannot be"):
        loading.read_prepared(unknown, "test")
