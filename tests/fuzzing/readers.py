"""Each reader of files or variables, what is good for it, and what it may answer to what is not."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import mutations
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from mnist_lib import choices, errors
from mnist_lib.datasets import catalog, idx, originals, prepared
from mnist_lib.inspection import history
from mnist_lib.runs import overview, past_run, provenance, run_directory
from mnist_lib.runs.config import TrainConfig, recipe
from mnist_lib.serving import inputs

_KIND = inputs.ImageKind((28, 28, 1), "uint8", True, "mnist")
_RANDOM = np.random.default_rng(13)
_IMAGES = _RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8)
_LABELS = _RANDOM.integers(0, 10, 30).astype(np.uint8)
_NAMES = [file.name for file in catalog.MNIST.files]


@dataclasses.dataclass(frozen=True)
class Reader:
    """What is tried.

    Attributes:
      inputs: makes what it is given, bytes.
      read: is given them and an empty folder; raises an error of ours, or AssertionError if
        the answer is wrong.
      good: some that must be taken.
    """

    inputs: Callable[[], st.SearchStrategy[bytes]]
    read: Callable[[bytes, pathlib.Path], None]
    good: Callable[[], list[bytes]]


def _digit() -> np.ndarray:
    picture = np.full((60, 60), 255, np.uint8)
    picture[10:50, 28:33] = 0
    return picture


def _picture(form: str, mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_digit()).convert(mode).save(stream, form)
    return stream.getvalue()


def _read_images(content: bytes, folder: pathlib.Path, name: str) -> list[np.ndarray]:
    path = folder / name
    path.write_bytes(content)
    found = list(inputs.read_images(path, _KIND, several=False, background="auto"))
    for one in found:
        assert one.image.shape == (28, 28, 1)
        assert one.image.dtype == np.uint8
    return [one.image for one in found]


# --- files with many images, and pictures


def _idx_files() -> list[bytes]:
    plain = idx.to_idx(_IMAGES)
    return [plain, gzip.compress(plain, mtime=0), idx.to_idx(_IMAGES[:0])]


def _read_idx(content: bytes, folder: pathlib.Path) -> None:
    found = _read_images(content, folder, "images-idx3-ubyte")
    if content.startswith(b"\0\0\x08\x03"):
        assert b"".join(map(np.ndarray.tobytes, found)) == content[16:]


def _npy_files() -> list[bytes]:
    contents = []
    for array in (_IMAGES, np.asfortranarray(_IMAGES), _IMAGES[0], _IMAGES.astype(np.float32)):
        stream = io.BytesIO()
        np.save(stream, array)
        contents.append(stream.getvalue())
    return contents


def _npy_inputs() -> st.SearchStrategy[bytes]:
    headers = st.builds(
        lambda descr, order, shape: repr(
            {"descr": descr, "fortran_order": order, "shape": shape}
        ).encode(),
        st.sampled_from(("|u1", "<f4", "|O", "V4294967295", ">u2", "|S0", [("a", "u1")], 7)),
        st.sampled_from((False, True, 1, "x")),
        st.one_of(
            st.lists(st.sampled_from((0, 1, 28, -1, 2**31, 2**62, 10**30)), max_size=5).map(tuple),
            st.sampled_from((None, 5, "x", (1.5,), (True, 28, 28))),
        ),
    )
    damaged_headers = st.one_of(headers, mutations.damaged([b"{'descr': '|u1'}", b"(" * 5000]))
    versions = st.sampled_from(((1, 0), (2, 0), (3, 0), (9, 9)))

    def whole(header: bytes, version: tuple[int, int], rest: bytes) -> bytes:
        size = 2 if version == (1, 0) else 4
        head = len(header).to_bytes(size, "little")
        return b"\x93NUMPY" + bytes(version) + head + header + rest

    built = st.builds(whole, damaged_headers, versions, st.binary(max_size=100))
    return st.one_of(mutations.files(_npy_files(), b"\x93NUMPY"), built)


def _picture_inputs() -> st.SearchStrategy[bytes]:
    png, palette = _picture("PNG"), _picture("PNG", "P")
    return st.one_of(
        mutations.changed_png(png),
        mutations.changed_png(palette),
        mutations.files([_picture("JPEG"), png], b"\xff\xd8\xff"),
    )


# --- the originals


def _small_originals() -> tuple[catalog.DatasetInfo, dict[str, bytes]]:
    """A data set of 20 and 10 images, and its four files, packed."""
    arrays = (_IMAGES[:20], _LABELS[:20], _IMAGES[20:], _LABELS[20:])
    packed, files = {}, []
    for name, array in zip(_NAMES, arrays, strict=True):
        content = idx.to_idx(array)
        packed[name] = gzip.compress(content, mtime=0)
        hashes = (hashlib.sha256(part).hexdigest() for part in (packed[name], content))
        files.append(catalog.SourceFile(name, len(packed[name]), *hashes))
    info = dataclasses.replace(
        catalog.MNIST, name="small", num_train=20, num_test=10, files=tuple(files)
    )
    return info, packed


_ORIGINALS, _PACKED = _small_originals()


def _collect(folder: pathlib.Path) -> None:
    staging = folder / "staging"
    staging.mkdir()
    found = originals.collect_originals(_ORIGINALS, folder / "given", staging)
    for name, packed in _PACKED.items():
        assert gzip.decompress((found / name).read_bytes()) == gzip.decompress(packed)


def _read_gzip(content: bytes, folder: pathlib.Path) -> None:
    (folder / "given").mkdir()
    for name, packed in _PACKED.items():
        (folder / "given" / name).write_bytes(content if name == _NAMES[0] else packed)
    _collect(folder)


def _gzip_inputs() -> st.SearchStrategy[bytes]:
    plain = idx.to_idx(_IMAGES[:20])
    repacked = mutations.damaged([plain]).map(lambda content: gzip.compress(content, mtime=0))
    bomb = gzip.compress(bytes(2**26), mtime=0)
    return st.one_of(
        mutations.files([_PACKED[_NAMES[0]], plain], b"\x1f\x8b\x08"), repacked, st.just(bomb)
    )


def _npz_file(**arrays: np.ndarray) -> bytes:
    keras = dict(
        zip(
            ("x_train", "y_train", "x_test", "y_test"),
            (_IMAGES[:20], _LABELS[:20], _IMAGES[20:], _LABELS[20:]),
            strict=True,
        )
    )
    stream = io.BytesIO()
    np.savez_compressed(stream, **(keras | arrays))
    return stream.getvalue()


def _npz_inputs() -> st.SearchStrategy[bytes]:
    def rezipped(member: bytes, method: int) -> bytes:
        stream = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(_npz_file())) as old,
            zipfile.ZipFile(stream, "w", method) as new,
        ):
            for name in old.namelist():
                new.writestr(name, member if name == "x_train.npy" else old.read(name))
        return stream.getvalue()

    methods = st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    members = st.one_of(_npy_inputs(), st.just(bytes(2**26)))
    good = _npz_file()
    encrypted = bytearray(good)
    for begins, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[good.index(begins) + flags] |= 1
    return st.one_of(
        mutations.files([good, bytes(encrypted)], b"PK\x03\x04"),
        st.builds(rezipped, members, methods),
        st.sampled_from((bytes(encrypted), _npz_file(x_train=np.array([None])), good)),
    )


def _read_npz(content: bytes, folder: pathlib.Path) -> None:
    (folder / "given").mkdir()
    (folder / "given" / "small.npz").write_bytes(content)
    _collect(folder)


# --- prepared data


_PREPARED = catalog.DatasetInfo(
    "small", "1.0.0", None, tuple("0123456789"), num_train=20, num_test=10
)


def _records(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    import tensorflow as tf

    found = []
    for image, label in zip(images, labels, strict=True):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        example = tf.train.Example()
        example.features.feature["image"].bytes_list.value.append(stream.getvalue())
        example.features.feature["label"].int64_list.value.append(int(label))
        found.append(example.SerializeToString())
    return found


def _shards() -> dict[str, list[bytes]]:
    return {
        "train": _records(_IMAGES[:20], _LABELS[:20]),
        "test": _records(_IMAGES[20:], _LABELS[20:]),
    }


def _description(sizes: dict[str, int]) -> dict[str, Any]:
    splits = [
        {
            "name": name,
            "shardLengths": [str(count)],
            "numBytes": str(sizes[name] - 16 * count),
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for name, count in (("train", 20), ("test", 10))
    ]
    return {"name": "small", "version": "1.0.0", "fileFormat": "tfrecord", "splits": splits}


def _read_prepared(
    folder: pathlib.Path, contents: dict[str, bytes], description: bytes | None
) -> None:
    from mnist_lib.datasets import stored_splits

    directory = folder / "small" / "1.0.0"
    directory.mkdir(parents=True)
    for name, content in contents.items():
        (directory / f"small-{name}.tfrecord-00000-of-00001").write_bytes(content)
    sizes = {name: len(content) for name, content in contents.items()}
    if description is None:
        description = json.dumps(_description(sizes)).encode()
    (directory / "dataset_info.json").write_bytes(description)
    found = prepared.open_prepared(_PREPARED, directory, "prepared")
    for _ in range(2):  # from the shards, and from the copy
        for split, count in (("train", 20), ("test", 10)):
            images, labels = stored_splits.read_prepared(found, split)
            assert (images.shape, images.dtype) == ((count, 28, 28, 1), np.uint8)
            assert labels.dtype == np.int32
            assert set(labels.tolist()) <= set(range(10))


def _good_shards() -> dict[str, bytes]:
    return {name: b"".join(map(mutations.framed, records)) for name, records in _shards().items()}


def _read_shard(content: bytes, folder: pathlib.Path) -> None:
    _read_prepared(folder, _good_shards() | {"test": content}, None)


def _read_dataset_info(content: bytes, folder: pathlib.Path) -> None:
    _read_prepared(folder, _good_shards(), content)


def _dataset_info() -> dict[str, Any]:
    return _description({name: len(content) for name, content in _good_shards().items()})


# --- what a run has left


_CONFIG = json.loads(recipe("cnn", dataset="mnist").to_json())
_ENTRY = {
    "mnist_lib": "0.1.0",
    "packages": {"tensorflow": "2.21.0"},
    "command": ["train"],
    "devices": ["/device:CPU:0"],
    "dataset": "mnist",
    "own_data": False,
    "stands_in_for": None,
    "class_names": list("0123456789"),
    "image_shape": [28, 28, 1],
    "image_dtype": "uint8",
    "train_sha256": "00",
    "num_train": 55000,
    "own_parts": {"model": {"name": "x"}},
    "averages_weights": False,
}
_OF_SPLIT = {"num_examples": 10, "num_correct": 9, "accuracy": 0.9, "loss": 0.25}
_RESULTS = {
    "dataset": "mnist",
    "class_names": ["0", "1"],
    "model": "cnn",
    "num_parameters": 10,
    "seed": 0,
    "step": 100,
    "num_replicas": 1,
    "train": {"loss": 0.5, "accuracy": 0.75},
    "validation": _OF_SPLIT,
    "test": _OF_SPLIT | {"confusion_matrix": [[4, 1], [0, 5]]},
    "history": {"train": {"loss": [[10, 0.5]]}},
    "timing": {"startup_seconds": 1.0, "train_seconds": 2.0, "images_per_second": 3.0},
}


def _look_at_run(folder: pathlib.Path, **contents: bytes) -> None:
    from mnist_lib.runs import finished_runs

    whole = {
        "config": json.dumps(_CONFIG).encode(),
        "run": json.dumps([_ENTRY]).encode(),
        "results": json.dumps(_RESULTS).encode(),
    } | contents
    for name, content in whole.items():
        (folder / f"{name}.json").write_bytes(content)
    run = run_directory.RunDirectory(folder)
    found = overview.look_at(folder)
    assert str(found)
    json.dumps(dataclasses.asdict(found))
    loaded = past_run.load_run(folder)
    assert loaded._repr_html_()
    assert TrainConfig.from_json(loaded.config.to_json()) == loaded.config
    names = finished_runs.class_names(run, loaded.config)
    assert all(isinstance(name, str) for name in names)
    assert loaded.config.dataset in choices.NAMES["dataset"]
    list(provenance.differences(run.first_facts(), _ENTRY))
    run.check_same_data(_ENTRY | {"validation_sha256": "00"})


def _history_csv() -> bytes:
    return b"step,split,loss,accuracy\n10,train,0.5,0.75\n10,validation,0.5,\n20,test,0.5,1.0\n"


def _read_history(content: bytes, folder: pathlib.Path) -> None:
    (folder / "config.json").write_bytes(json.dumps(_CONFIG).encode())
    (folder / "history.csv").write_bytes(content)
    for curves in history.read_history(folder).values():
        for steps, values in curves.values():
            assert steps.shape == values.shape
            assert (np.diff(steps) > 0).all()


def _events() -> list[bytes]:
    import tensorflow as tf
    from tensorboard.plugins.scalar import summary_v2 as scalar_plugin

    events = [tf.compat.v1.Event(file_version="brain.Event:2", wall_time=1.0)]
    for step in (10, 20, 30):
        event = tf.compat.v1.Event(step=step, wall_time=2.0)
        made = scalar_plugin.scalar_pb("metrics/loss", 0.5).SerializeToString()
        event.summary.ParseFromString(made)
        events.append(event)
    return [event.SerializeToString() for event in events]


def _read_events(content: bytes, folder: pathlib.Path) -> None:
    from mnist_lib.inspection import event_files

    (folder / "train").mkdir()
    (folder / "train" / "events.out.tfevents.1.host").write_bytes(content)
    (folder / "config.json").write_bytes(json.dumps(_CONFIG).encode())
    history.read_history(folder)
    writer = event_files.EventWriter(folder / "train")
    writer.scalars(40, {"metrics/loss": 0.25})
    writer.close()
    assert history.read_history(folder)["train"]["loss"][0].tolist()


# --- checkpoints


class _Checkpoints:
    """A small model's checkpoint, and what becomes of it with one file exchanged."""

    def __init__(self):
        import keras
        import tensorflow as tf

        from mnist_lib.runs import checkpoints, saved_state

        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        optimizer = keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        state = saved_state.RunState(json.dumps({"config": _CONFIG, "train_sha256": "00"}))
        self._checkpoint = checkpoints.checkpoint_of(model, optimizer, state)
        self._variables = [*model.variables, *optimizer.variables]
        folder = pathlib.Path("good_checkpoint")
        checkpoints.CheckpointDirectory(folder, self._checkpoint).save(5)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self._tf = tf

    def inputs(self) -> st.SearchStrategy[bytes]:
        choices_of = []
        for name, content in self.files.items():
            head = f"{name}\n".encode()
            choices_of.append(mutations.files([content]).map(lambda c, head=head: head + c))
            if name.endswith(".index"):
                choices_of.append(self._reindexed(content).map(lambda c, head=head: head + c))
        return st.one_of(choices_of)

    @staticmethod
    def _reindexed(content: bytes) -> st.SearchStrategy[bytes]:
        """The index with another first block, whose checksum is right."""
        meta, shift, at = 0, 0, len(content) - 48
        while True:  # the footer begins with where the block after it is, as a varint
            meta |= (content[at] & 0x7F) << shift
            if content[at] < 0x80:
                break
            shift, at = shift + 7, at + 1
        from mnist_lib.datasets import record_framing

        def closed(block: bytes) -> bytes:
            crc = record_framing.checksum(block + content[meta - 5 : meta - 4])
            kept = (block + bytes(meta))[: meta - 5]
            crc = record_framing.checksum(kept + content[meta - 5 : meta - 4])
            return kept + content[meta - 5 : meta - 4] + crc.to_bytes(4, "little") + content[meta:]

        return mutations.damaged([content[: meta - 5]]).map(closed)

    def read(self, content: bytes, folder: pathlib.Path) -> None:
        from mnist_lib.runs import checkpoints

        name, _, changed = content.partition(b"\n")
        for own, good in self.files.items():
            (folder / own).write_bytes(changed if own.encode() == name else good)
        before = [variable.numpy() for variable in self._variables]
        found = checkpoints.CheckpointDirectory(folder, self._checkpoint)
        step = found.restore_latest()
        assert step == 5
        for variable, value in zip(self._variables, before, strict=True):
            assert variable.numpy().shape == value.shape
        checkpoints.newest_value(folder, "run/best_accuracy")


# --- the environment and flags


_TF_CONFIG = {
    "cluster": {"chief": ["localhost:23456"], "worker": ["127.0.0.1:23457"]},
    "task": {"type": "worker", "index": 0},
}
_SLURM = {
    "SLURM_PROCID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_ID": "7",
}


def _read_tf_config(content: bytes, folder: pathlib.Path) -> None:
    from mnist_lib.distribution import clusters

    if b"\0" in content:
        return  # no variable can hold it
    os.environ["TF_CONFIG"] = os.fsdecode(content)
    try:
        cluster = clusters.read_cluster()
        assert cluster.describe(cluster.index)
        assert 0 < cluster.port(cluster.index) < 2**16
    finally:
        del os.environ["TF_CONFIG"]


def _slurm_inputs() -> st.SearchStrategy[bytes]:
    good = list(_SLURM.values())
    nodes = (
        "n[1-99999999999]",
        "n[2,10]",
        "[",
        "n[1-2",
        "n[2-1]",
        "n[a-b]",
        "n[0001-2]",
        "a[1][2]",
    )
    changed = st.dictionaries(
        st.sampled_from(list(_SLURM)),
        mutations.texts([*good, *nodes, "1(x99999999999)", "2(x", "(x2)", "1,1", "x"]),
        max_size=3,
    )
    return changed.map(lambda values: json.dumps(_SLURM | values).encode())


def _read_slurm(content: bytes, folder: pathlib.Path) -> None:
    from mnist_lib.distribution import clusters

    values = {k: v for k, v in json.loads(content).items() if "\0" not in v and "\ud800" not in v}
    os.environ.update(values)
    try:
        cluster = clusters.read_cluster()
        assert cluster.describe(cluster.index)
    finally:
        for name in values:
            del os.environ[name]


def _flags_of_config() -> list[str]:
    return [field.name for field in dataclasses.fields(TrainConfig)]


def _flag_inputs() -> st.SearchStrategy[bytes]:
    names = st.sampled_from([*_flags_of_config(), "workdir", "recipe", "flagfile", "nosuch"])
    values = mutations.texts(["cnn", "mnist", "0.1", "10", "adam", "mirrored", "20:30"])
    forms = st.sampled_from(("--{}={}", "--no{}={}", "-{}={}", "--{}", "--no{}", "{}={}"))
    one = st.builds(lambda form, name, value: form.format(name, value), forms, names, values)
    arguments = st.lists(st.one_of(one, one, values), max_size=4)
    return arguments.map(
        lambda several: "\0".join(text.replace("\0", "") for text in several).encode(
            "utf-8", "replace"
        )
    )


def _flagfile_inputs() -> st.SearchStrategy[bytes]:
    good = b"--model=cnn\n# a comment\n\n--epochs=2\n--noprogress\n"
    deep = b"--flagfile=flags\n"  # itself
    lines = st.lists(_flag_inputs(), max_size=4).map(lambda several: b"\n".join(several))
    return st.one_of(mutations.files([good, deep], b"--"), lines, st.just(deep))


def _parse_flags(arguments: list[str], folder: pathlib.Path) -> None:
    """Parses in a process of its own, since flags are global; the code must be a documented one."""
    process = os.fork()
    if process == 0:
        code = 70
        try:
            os.chdir(folder)
            said = os.open(folder / "said", os.O_RDWR | os.O_CREAT)
            os.dup2(said, 1)
            os.dup2(said, 2)
            from mnist_lib.commands import command_line, flags

            flags.define_train_flags()
            command_line.run(flags.train_config, "Fuzzed.", arguments)
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 70
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    text = (folder / "said").read_text(errors="replace")
    assert code in (0, 64, 65, 66, 73), f"exit code {code}: {text[-2000:]}"
    assert "Traceback" not in text, text[-2000:]
    if code:
        assert text.splitlines()[-1].startswith("error: "), text[-2000:]
        raise errors.ConfigError("flags", text)


def _read_flags(content: bytes, folder: pathlib.Path) -> None:
    _parse_flags([os.fsdecode(part) for part in content.split(b"\0")] if content else [], folder)


def _read_flagfile(content: bytes, folder: pathlib.Path) -> None:
    (folder / "flags").write_bytes(content)
    _parse_flags(["--flagfile=flags"], folder)


def _dumped(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value).encode() for value in values]


def _run_file(name: str) -> Callable[[bytes, pathlib.Path], None]:
    return lambda content, folder: _look_at_run(folder, **{name: content})


def make(name: str) -> Reader:
    """Returns the reader of a name in `NAMES`; what it needs is made here and now."""
    if name == "checkpoint":
        made = _Checkpoints()
        goods = [f"{one}\n".encode() + content for one, content in made.files.items()]
        return Reader(made.inputs, made.read, lambda: goods)
    return _READERS[name]


def _shard_inputs() -> st.SearchStrategy[bytes]:
    records = _shards()["test"]
    return st.one_of(mutations.reframed([records]), mutations.files([_good_shards()["test"]]))


def _event_inputs() -> st.SearchStrategy[bytes]:
    events = _events()
    whole = b"".join(map(mutations.framed, events))
    return st.one_of(mutations.reframed([events]), mutations.files([whole]))


def _iterate(reader: Callable[[bytes, pathlib.Path, str], Any], name: str):
    return lambda content, folder: reader(content, folder, name)


_READERS = {
    "idx": Reader(
        lambda: mutations.files(_idx_files(), b"\0\0\x08\x03"), _read_idx, lambda: _idx_files()[:2]
    ),
    "gzip": Reader(_gzip_inputs, _read_gzip, lambda: [_PACKED[_NAMES[0]]]),
    "npz": Reader(_npz_inputs, _read_npz, lambda: [_npz_file()]),
    "npy": Reader(_npy_inputs, _iterate(_read_images, "x.npy"), lambda: _npy_files()[:3]),
    "png_jpeg": Reader(
        _picture_inputs,
        _iterate(_read_images, "picture"),
        lambda: [_picture("PNG"), _picture("JPEG")],
    ),
    "shard": Reader(_shard_inputs, _read_shard, lambda: [_good_shards()["test"]]),
    "dataset_info": Reader(
        lambda: mutations.json_files(_dataset_info()),
        _read_dataset_info,
        lambda: _dumped(_dataset_info())(),
    ),
    "config": Reader(lambda: mutations.json_files(_CONFIG), _run_file("config"), _dumped(_CONFIG)),
    "results": Reader(
        lambda: mutations.json_files(_RESULTS), _run_file("results"), _dumped(_RESULTS)
    ),
    "run": Reader(lambda: mutations.json_files([_ENTRY]), _run_file("run"), _dumped([_ENTRY])),
    "history": Reader(
        lambda: mutations.files([_history_csv()], b"step,split,"),
        _read_history,
        lambda: [_history_csv()],
    ),
    "events": Reader(
        _event_inputs, _read_events, lambda: [b"".join(map(mutations.framed, _events()))]
    ),
    "tf_config": Reader(
        lambda: mutations.json_files(_TF_CONFIG), _read_tf_config, _dumped(_TF_CONFIG)
    ),
    "slurm": Reader(_slurm_inputs, _read_slurm, _dumped(_SLURM)),
    "flags": Reader(_flag_inputs, _read_flags, lambda: [b"--model=cnn\0--epochs=2"]),
    "flagfile": Reader(_flagfile_inputs, _read_flagfile, lambda: [b"--model=cnn\n--epochs=2\n"]),
}
# Those that fork come first, before TensorFlow has threads.
NAMES = ("flags", "flagfile", *(name for name in _READERS if "flag" not in name), "checkpoint")
