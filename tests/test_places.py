"""Where a run reads and writes: places that are not there, not ours, not files, or odd."""

import ast
import errno
import fcntl
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import warnings

import pytest
import tensorflow as tf

import mnist_lib
from mnist_lib import errors, files, os_errors, paths
from mnist_lib.commands import train
from mnist_lib.datasets import preparation
from mnist_lib.distribution import clusters
from mnist_lib.runs import checkpoints, run_directory

PACKAGE = pathlib.Path(mnist_lib.__file__).parent
ODD_NAMES = [
    b"lr[0.1]",
    b"a*b",
    b"a?b",
    b"a b",
    b"a\nb",
    b"\xff",
    "é".encode(),
    b"{x}",
    b"-dash",
    b"back\\slash",
    b"n" * 200,
]
ADDRESSES = [
    "gs://bucket/x",
    "s3://bucket/x",
    "hdfs://host/x",
    "file:///x",
    pathlib.Path("gs://bucket/x"),
    "S3://bucket",
    "https://host/x",
    "ram://x",
]


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mnist_lib", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(call, *arguments, **options) -> str:
    """Calls; returns the class and the message of the error of ours."""
    try:
        call(*arguments, **options)
    except errors.MnistLibError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was refused")


# Homes.


@pytest.fixture(params=["unset", "empty", "not there"])
def no_home(request, monkeypatch, tmp_path):
    def unknown(_user):
        raise KeyError

    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    if request.param == "unset":
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", "" if request.param == "empty" else f"{tmp_path}/home")


def test_without_a_home_directory_nothing_is_made_and_the_path_is_named(no_home, tmp_path):
    text = refused(mnist_lib.prepare_dataset, "synthetic_digits", download=False)
    assert text.startswith("OutputError: ~/tensorflow_datasets: ")
    assert "home directory" in text
    assert "--data_dir" in text
    assert refused(run_directory.RunDirectory, "~/run").startswith("OutputError: ~/run: ")
    text = refused(mnist_lib.prepare_dataset, "mnist", data_dir=tmp_path, manual_dir="~")
    assert text.startswith("DataNotFoundError: ~: ")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_home_is_none(monkeypatch, tmp_path):
    """It is looked up, as if it was not set, and is not the root of the file system."""
    record = pwd.struct_passwd(("me", "x", 1, 1, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: record)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("TFDS_DATA_DIR", "")
    assert preparation.default_data_dir() == tmp_path / "tensorflow_datasets"


@pytest.mark.parametrize("path", ["~nosuchuser/x", "~nosuchuser"])
def test_a_home_of_nobody_is_no_folder_of_that_name(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for text in (
        refused(mnist_lib.prepare_dataset, "synthetic_digits", data_dir=path),
        refused(mnist_lib.prepare_dataset, "mnist", data_dir=tmp_path, manual_dir=path),
        refused(mnist_lib.train_and_evaluate, mnist_lib.recipe("linear"), path),
        refused(mnist_lib.load_model, path),
    ):
        assert f"Error: {path}: there is no home directory, no user nosuchuser" in text
    done = run_command("train", f"--workdir={path}")
    assert done.returncode == os.EX_CANTCREAT
    assert done.stderr.startswith(f"error: {path}: there is no home")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# What others own.


@pytest.fixture
def nobody():
    """Runs Python that becomes a user with no rights; returns what it prints as JSON."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")

    def run(code: str, *arguments: str):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def open_folder():
    """A folder of root's that others can come to, which pytest's are not."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="places-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


OTHERS = """
import json, os, pathlib, sys
from mnist_lib import errors
from mnist_lib.datasets import prepared, preparation, catalog
from mnist_lib.runs import run_directory
os.setgroups([])  # when all is imported, which others may not be allowed to
os.setgid(65534)
os.setuid(65534)
folder = pathlib.Path(sys.argv[1])
answers = {}
def note(name, call):
    try:
        call()
        answers[name] = "done"
    except errors.MnistLibError as error:
        answers[name] = f"{type(error).__name__}: {error}"
def lock(path):
    with run_directory.RunDirectory(path).lock():
        pass
prepare = preparation.prepare_dataset
run = run_directory.RunDirectory
note("closed data_dir", lambda: prepare("mnist", data_dir=folder / "closed", download=False))
note("data_dir in closed", lambda: prepare("mnist", data_dir=folder / "closed/x", download=False))
note("closed file", lambda: prepare("mnist", data_dir=folder / "data", download=False))
note("closed manual_dir", lambda: prepare("mnist", data_dir=folder / "no", manual_dir=
    folder / "closed"))
note("closed original", lambda: prepare("mnist", data_dir=folder / "no", manual_dir=
    folder / "originals"))
note("not ours to write", lambda: prepare("synthetic_digits", data_dir=folder / "new"))
note("closed data lock", lambda: prepare("synthetic_digits", data_dir=folder / "locked"))
note("closed workdir", run(folder / "closed").read_config)
note("closed workdir to train in", run(folder / "closed").check_usable)
note("workdir in closed", run(folder / "closed/x").check_usable)
note("closed config", run(folder / "run").read_config)
note("closed results", run(folder / "run").read_results)
note("closed lock", lambda: lock(folder / "locked"))
note("not ours to write in", lambda: lock(folder / "new"))
note("closed checkpoints", run(folder / "half").check_usable)
print(json.dumps(answers))
"""


def test_what_belongs_to_others_is_named_with_the_cause(nobody, open_folder):
    data = open_folder / "data/mnist/3.0.1"
    for folder in (open_folder / "closed", open_folder / "originals", data):
        folder.mkdir(parents=True)
    for name in ("run", "locked", "half", "half/checkpoints"):
        (open_folder / name).mkdir(mode=0o755)
    (open_folder / "half/config.json").write_text(mnist_lib.recipe("linear").to_json())
    (open_folder / "locked").chmod(0o777)
    (open_folder / "half").chmod(0o777)
    closed = [
        open_folder / "run/config.json",
        open_folder / "run/results.json",
        data / "dataset_info.json",
        open_folder / "originals/train-images-idx3-ubyte.gz",
        open_folder / "locked/.lock",
        open_folder / "locked/.synthetic_digits.lock",
    ]
    for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (open_folder / f"originals/{name}-ubyte.gz").write_bytes(b"x")
    for path in closed:
        path.write_text("{}")
        path.chmod(0)
    (open_folder / "closed").chmod(0o700)
    answers = nobody(OTHERS, str(open_folder))
    reading = {
        "closed data_dir": "closed",
        "data_dir in closed": "closed",
        "closed file": "data/mnist/3.0.1/dataset_info.json",
        "closed manual_dir": "closed",
        "closed original": "originals/train-images-idx3-ubyte.gz",
        "closed workdir": "closed/config.json",
        "closed config": "run/config.json",
        "closed results": "run/results.json",
    }
    for name, path in reading.items():
        assert answers[name].startswith(f"DataNotFoundError: {open_folder}/{path}"), answers
        assert "cannot be read (Permission denied)" in answers[name]
    writing = {
        "not ours to write": "",
        "closed data lock": "/locked/.synthetic_digits",
        "closed workdir to train in": "/closed",
        "workdir in closed": "/closed",
        "closed lock": "/locked/.lock",
        "closed checkpoints": "/half/checkpoints",
        "not ours to write in": "",
    }
    for name, path in writing.items():
        assert answers[name].startswith(f"OutputError: {open_folder}{path}"), answers
        assert "Permission denied" in answers[name] or "not a writable" in answers[name]


@pytest.mark.parametrize(
    ("number", "writes", "expected"),
    [
        (errno.EACCES, False, errors.DataNotFoundError),
        (errno.EPERM, False, errors.DataNotFoundError),
        (errno.ESTALE, False, errors.DataNotFoundError),
        (errno.ELOOP, False, errors.DataNotFoundError),
        (errno.EROFS, True, errors.OutputError),
        (errno.ENOTDIR, True, errors.OutputError),
        (errno.ENAMETOOLONG, True, errors.OutputError),
        (errno.ENOSPC, True, errors.StorageError),
        (errno.EDQUOT, True, errors.StorageError),
        (errno.ESTALE, True, errors.StorageError),
    ],
)
def test_whatever_the_file_system_says_has_a_class_and_the_path(number, writes, expected):
    border = os_errors.writing if writes else os_errors.reading
    with (
        pytest.raises(expected, match=r"^/there: .*\. .*\.$") as caught,
        border(pathlib.Path("/there"), "Pass another."),
    ):
        raise OSError(number, os.strerror(number), None if writes else "/there")
    assert os.strerror(number) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "number", "exit_code"),
    [
        ("missing", errno.ENOENT, os.EX_NOINPUT),
        ("here", errno.EROFS, os.EX_CANTCREAT),
        ("missing", errno.EACCES, os.EX_CANTCREAT),
        ("here", errno.ENOSPC, os.EX_IOERR),
        ("here", errno.ELOOP, os.EX_NOINPUT),
        (None, errno.EIO, os.EX_IOERR),
    ],
)
def test_an_error_of_a_file_that_nobody_foresaw_has_an_exit_code(name, number, exit_code, tmp_path):
    (tmp_path / "here").touch()
    path = None if name is None else str(tmp_path / name)
    known = os_errors.as_error(OSError(number, os.strerror(number), path))
    assert known.exit_code == exit_code
    assert str(known).startswith(path or "output: ")


def test_an_error_of_no_file_stays_an_internal_one():
    assert os_errors.as_error(OSError(errno.ECONNREFUSED, "refused")) is None
    assert os_errors.as_error(OSError("of somebody's own")) is None


def test_no_temporary_folder_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    text = refused(mnist_lib.prepare_dataset, "mnist", data_dir=tmp_path, manual_dir=tmp_path)
    assert text.startswith("OutputError: no temporary folder can be written (No usable")
    assert "Set TMPDIR" in text
    with pytest.raises(FileNotFoundError) as caught:  # as while TensorFlow is imported
        tempfile.gettempdir()
    assert os_errors.as_error(caught.value).exit_code == os.EX_CANTCREAT


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    code = "import os, sys; os.rmdir(os.getcwd()); from mnist_lib.commands import train; "
    code += "train.run(['--workdir=x'])"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "gone",
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (os.EX_NOINPUT, os.EX_CANTCREAT)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


# Addresses and empty names.


@pytest.mark.parametrize("address", [*ADDRESSES, "", "a\0b"], ids=repr)
def test_an_address_is_no_path(address, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = mnist_lib.recipe("linear")
    calls = {
        "data_dir": [
            lambda: mnist_lib.TrainConfig(data_dir=address),
            lambda: mnist_lib.prepare_dataset("synthetic_digits", data_dir=address),
            lambda: mnist_lib.load_dataset("synthetic_digits", data_dir=address),
            lambda: mnist_lib.load_arrays("synthetic_digits", data_dir=address),
        ],
        "manual_dir": [
            lambda: mnist_lib.TrainConfig(manual_dir=address),
            lambda: mnist_lib.prepare_dataset("mnist", manual_dir=address),
        ],
        "workdir": [
            lambda: mnist_lib.train_and_evaluate(config, address),
            lambda: mnist_lib.load_config(address),
            lambda: mnist_lib.load_model(address),
            lambda: mnist_lib.evaluate(address),
            lambda: mnist_lib.predict(address, []),
        ],
    }
    for field, of_field in calls.items():
        for call in of_field:
            with pytest.raises(errors.ConfigError) as caught:
                call()
            assert caught.value.field == field
            assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_address_in_the_environment_is_no_path_either(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket")
    with pytest.raises(errors.ConfigError, match=r"^TFDS_DATA_DIR: gs://bucket is an address"):
        preparation.default_data_dir()


def test_a_file_address_is_told_as_a_path():
    with pytest.raises(errors.ConfigError, match=r"pass /data/x$"):
        paths.check("workdir", "file:///data/x")
    with pytest.raises(errors.ConfigError, match="mounted folder"):
        paths.check("workdir", "file://host/data/x")
    for local in ("/a/gs:/x", "./gs:/x", "a:b/c", "C:/x", "x/y://z"):
        paths.check("workdir", local)


@pytest.mark.parametrize("flag", ["--workdir=", "--data_dir=", "--manual_dir=", "--workdir=gs://b"])
def test_flags_refuse_them_before_tensorflow_starts(flag, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mnist_lib", "train", flag],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == os.EX_USAGE
    assert done.stderr.startswith(f"error: {flag.partition('=')[0]}: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# Odd names.


@pytest.mark.parametrize("name", ODD_NAMES, ids=bytes.hex)
def test_checkpoints_are_kept_under_any_name(name, tmp_path, caplog):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (tmp_path / "axb").mkdir()  # which `a*b` and `a?b` may mean, too
    state = tf.Module()
    state.best = tf.Variable(1.0)
    directory = checkpoints.CheckpointDirectory(folder, tf.train.Checkpoint(run=state), 2)
    for step in (1, 2, 3):
        state.best.assign(float(step))
        directory.save(step)
    state.best.assign(-1.0)
    assert directory.restore_latest() == 3
    assert state.best.numpy() == 3.0
    assert caplog.text == ""
    assert checkpoints.newest_value(folder, "run/best") == 3.0
    (folder / "ckpt-3.data-00000-of-00001").write_bytes(b"")
    assert directory.restore_latest() == 2
    assert "fd" not in caplog.text
    assert list((tmp_path / "axb").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "summaries"),
    [(b"lr[0.1]", "full"), (b"a\nb\xff", "full")],
    ids=["pattern", "bytes"],
)
def test_a_run_is_trained_and_used_under_any_name(name, summaries, tmp_path, small_dataset):
    workdir = tmp_path / os.fsdecode(name) / "a*b"
    config = mnist_lib.recipe(
        "linear", train_steps=4, batch_size=48, checkpoint_every=2, summaries=summaries
    )
    results = mnist_lib.train_and_evaluate(config, workdir, data=small_dataset)
    (workdir / "results.json").unlink()
    again = mnist_lib.train_and_evaluate(config, workdir, data=small_dataset)
    assert again["test"] == results["test"]
    metrics = mnist_lib.evaluate(workdir, data=small_dataset, checkpoint="best")
    assert metrics.num_examples == 203
    assert mnist_lib.predict(workdir, small_dataset.test.images[:2]).shape == (2, 10)


@pytest.mark.parametrize("name", [b"lr[0.1]", b"a?\nb\xff", b"back\\slash"], ids=bytes.hex)
def test_prepared_data_is_read_under_any_name(name, prepared, tmp_path):
    root = tmp_path / os.fsdecode(name)
    ignored = shutil.ignore_patterns("decoded")
    shutil.copytree(
        prepared.directory, root / prepared.info.name / prepared.info.version, ignore=ignored
    )
    arrays = mnist_lib.load_arrays(prepared.info.name, data_dir=root, download=False)
    assert len(arrays[1][0]) == prepared.info.num_test


@pytest.mark.slow
def test_data_is_prepared_under_any_name(originals_dir, tmp_path):
    root = tmp_path / os.fsdecode(b"a?[\n\xff")
    manual_dir = tmp_path / os.fsdecode(b"[\xff]")
    shutil.copytree(originals_dir, manual_dir)
    found = mnist_lib.prepare_dataset("mnist", data_dir=root, manual_dir=manual_dir, download=False)
    assert found.source == "manual_dir"
    assert found.directory == root / "mnist" / "3.0.1"


@pytest.mark.parametrize("path", ["n" * 300, "/".join(["n" * 200] * 25)])
def test_what_the_file_system_cannot_name_is_refused_before_anything_is_made(path, tmp_path):
    for call in (
        lambda: mnist_lib.train_and_evaluate(mnist_lib.recipe("linear"), tmp_path / path),
        lambda: mnist_lib.prepare_dataset("synthetic_digits", data_dir=tmp_path / path),
    ):
        text = refused(call)
        assert text.startswith(("OutputError: ", "DataNotFoundError: "))
        assert "File name too long" in text
    assert list(tmp_path.iterdir()) == []


def test_odd_names_without_a_way_round_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "_OPEN_FOLDERS", pathlib.Path("/nonexistent"))
    text = refused(run_directory.RunDirectory(tmp_path / "lr[0.1]").check_usable)
    assert "lr[0.1]: has characters that TensorFlow takes for a pattern" in text
    run_directory.RunDirectory(tmp_path / "lr0.1").check_usable()


@pytest.mark.parametrize("make", ["file", "link"])
def test_a_run_that_no_folder_can_be_made_for_is_refused(make, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if make == "file":
        pathlib.Path("runs").touch()
    else:
        pathlib.Path("runs").symlink_to("/nowhere/at/all")
    text = refused(run_directory.new_workdir, "mnist", "cnn")
    assert text.startswith("OutputError: runs/")
    assert "cannot be written" in text


def test_a_flag_file_that_is_none_is_refused(tmp_path):
    for path in (sys.executable, tmp_path, tmp_path / "nowhere"):
        done = run_command("train", f"--flagfile={path}")
        assert done.returncode == os.EX_USAGE
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_a_name_with_a_dash_is_no_flag_of_the_next_commands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("-run").mkdir()
    run_directory.RunDirectory("-run").write_config(mnist_lib.recipe("linear"))
    evaluate, tensorboard, _ = train._next_commands("-run")
    assert evaluate.endswith("evaluate --workdir=-run")
    assert tensorboard.endswith("tensorboard --logdir ./-run")


# Locks and links.


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_said(number, monkeypatch, tmp_path):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    run = run_directory.RunDirectory(tmp_path / "run")
    text = refused(run.lock().__enter__)
    assert text.startswith(f"OutputError: {run.path}: its file system has no locks")
    assert os.strerror(number) in text
    assert "--workdir on another" in text
    text = refused(mnist_lib.prepare_dataset, "synthetic_digits", data_dir=tmp_path / "data")
    assert text.startswith(f"OutputError: {tmp_path}/data: its file system has no locks")
    assert "--data_dir on another" in text


def test_a_system_without_flock_is_said_or_gets_another_lock(monkeypatch, tmp_path):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    run = run_directory.RunDirectory(tmp_path / "run")
    with warnings.catch_warnings(action="ignore"):
        try:
            with run.lock():
                assert "in use by pid" in refused(run.lock().__enter__)
        except errors.OutputError as error:
            message = str(error)
        else:
            message = "its file system has no locks, and did without"
    assert "has no locks" in message


def test_the_host_of_an_owner_is_named(tmp_path, monkeypatch):
    run = run_directory.RunDirectory(tmp_path / "run")
    with run.lock():
        here = refused(run.lock().__enter__)
        monkeypatch.setattr(run_directory.socket, "gethostname", lambda: "elsewhere")
        there = refused(run.lock().__enter__)
        (run.path / ".lock-owner").write_text("")
        assert "in use by pid unknown. " in refused(run.lock().__enter__)
    host = os.uname().nodename
    assert f"in use by pid {os.getpid()} on {host}. Wait" in here
    assert f"on {host} (look on {host} whether it still runs). Wait" in there


def test_links_that_others_have_laid_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    run = run_directory.RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    for link in (
        run.path / ".lock-owner",
        run.config_path,
        run.results_path,
        run.provenance_path,
        run.checkpoints / "checkpoint",
        run.checkpoints / "checkpoint.tmp",
    ):
        link.symlink_to(victim)
    with run.lock():
        run.write_config(mnist_lib.recipe("linear"))
        run.write_results({})
        state = tf.Module()
        state.best = tf.Variable(1.0)
        checkpoints.CheckpointDirectory(run.checkpoints, tf.train.Checkpoint(run=state)).save(1)
    (run.path / ".lock").unlink()
    (run.path / ".lock").symlink_to(victim)
    refused(run.lock().__enter__)
    assert victim.read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make links of other users")
def test_a_folder_that_another_user_leads_elsewhere_is_refused(tmp_path):
    run, elsewhere = run_directory.RunDirectory(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    run.path.mkdir()
    run.write_config(mnist_lib.recipe("linear"))
    link = run.path / "train"
    link.symlink_to(elsewhere)
    run.check_usable()  # one's own
    os.lchown(link, 65534, 65534)
    assert "a symbolic link of another user" in refused(run.check_usable)


def test_a_name_that_is_to_be_written_first_is_not_guessed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".file.{os.getpid()}").symlink_to(victim)
    files.replace_file(tmp_path / "file", b"new")
    assert victim.read_text() == "precious"


# Streams.


@pytest.mark.parametrize(
    "line",
    [
        "{ours} train --help | head -0",
        "{ours} --help 2>&1 | head -0",
        "{ours} --help >&-",
        "{ours} --help 2>&-",
        "{ours} --help <&-",
        "{ours} --help >&- 2>&- <&-",
        "{ours} --help > /dev/full",
        "{ours} nonsense 2>&-",
        "{ours} nonsense 2> /dev/full",
        "{ours} nonsense 2>&1 | head -0",
        "{ours} train --workdir=/dev/null/x >&- 2>&-",
        "{ours} launch -- sh -c 'for i in 1 2 3; do echo $i; sleep 0.1; done' | head -0",
        "{ours} launch -- sh -c 'echo 1 >&2; exit 3' 2>&1 | head -0",
        "{ours} launch -- sh -c 'echo 1 >&2' 2>&-",
    ],
)
def test_closed_and_broken_streams_get_no_traceback(line, tmp_path):
    ours = f"PYTHONPATH={PACKAGE.parent} {sys.executable} -m mnist_lib"
    line = "set -o pipefail; " + line.format(ours=ours)
    # Python's streams hold back what they could not write, but where it is told not to.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    listed = (0, os.EX_USAGE, os.EX_CANTCREAT, os.EX_IOERR, 3)
    assert done.returncode in listed, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_opened_next_does_not_get_the_messages(tmp_path):
    """A closed standard error would give its number to the next file."""
    code = """
import os, sys
from mnist_lib.commands import command_line
def main():
    with open("file", "w") as stream:
        os.write(2, b"a message")
    raise ValueError("a fault")
command_line.run(main, "", [])
"""
    done = subprocess.run(
        ["bash", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        check=False,
    )
    assert done.returncode == os.EX_SOFTWARE
    assert (tmp_path / "file").read_bytes() == b""


def test_an_error_is_one_line_and_a_path_is_printed_as_it_is(tmp_path):
    code = """
import sys
from mnist_lib.commands import command_line
from mnist_lib import errors
def main():
    print(sys.argv[1])
    raise errors.OutputError(f"{sys.argv[1]}: é cannot be made")
command_line.run(main, "", [])
"""
    name = b"a\nb\xff"
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-c", code.encode(), name],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent), "PYTHONUTF8": "1"},
        capture_output=True,
        check=False,
    )
    assert done.stdout == name + b"\n"
    assert done.stderr == "error: a\\nb\\udcff: é cannot be made\n".encode()


# Words and surroundings.


def test_no_message_advises_to_delete_what_somebody_else_made():
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, documented)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.lower().replace("`", " ").split()
                advice = {"delete", "remove", "rm", "erase", "unlink"} & set(words)
                assert node.value in docstrings or not advice, f"{path}: {node.value}"


@pytest.fixture
def foreign_cluster(monkeypatch):
    """What a scheduler says to all it starts."""
    others = {"worker": ["10.0.0.1:1", "10.0.0.2:1"], "ps": ["10.0.0.3:1"]}
    task = {"type": "ps", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": others, "task": task}))
    for name, value in (("PROCID", "7"), ("STEP_NUM_TASKS", "8"), ("STEP_NODELIST", "n[1-8]")):
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.parametrize("strategy", ["default", "one_device", "mirrored"])
def test_a_cluster_does_not_matter_to_one_process(strategy, foreign_cluster):
    made = mnist_lib.create_strategy(strategy, 2 if strategy == "mirrored" else 0)
    assert made.num_replicas_in_sync == (2 if strategy == "mirrored" else 1)
    assert clusters.cluster_of(made) is None


def test_a_cluster_does_not_matter_to_mirrored_on_the_real_devices(foreign_cluster):
    made = mnist_lib.create_strategy("mirrored")
    assert clusters.cluster_of(made) is None
    assert all("worker" not in device for device in made.extended.worker_devices)


def test_empty_variables_are_not_set(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.setenv(name, "")
    with pytest.raises(errors.ConfigError, match="needs the environment variable TF_CONFIG"):
        clusters.read_cluster()


@pytest.mark.parametrize("is_listed", [False, True])
def test_an_evaluator_is_refused_by_name(is_listed, monkeypatch):
    jobs = {"chief": ["127.0.0.1:1201"], "worker": ["127.0.0.1:1202"]}
    if is_listed:
        jobs["evaluator"] = ["127.0.0.1:1203"]
    task = {"type": "evaluator", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
    with pytest.raises(errors.ConfigError, match=r"^TF_CONFIG: its task is evaluator, which"):
        clusters.read_cluster()
