"""Flag files: one that is none, that names itself, or many."""

import pytest

import mnist_lib
from mnist_lib.commands import flag_files


def _refused(*arguments):
    with pytest.raises(mnist_lib.errors.ConfigError) as caught:
        flag_files.check(arguments)
    return str(caught.value)


def test_flag_files_that_cannot_be_used_are_named(tmp_path):
    binary, long = tmp_path / "binary", tmp_path / "long"
    binary.write_bytes(b"\xff\xfe--model=cnn")
    long.write_bytes(b"#" * (2**20 + 1))
    assert f"{binary} cannot be used ('utf-8' codec" in _refused(f"--flagfile={binary}")
    assert "it has more than 1,048,576 bytes" in _refused("-flagfile", str(long))
    assert "No such file" in _refused(f"--flagfile={tmp_path / 'nowhere'}")
    assert "no regular file" in _refused("--flagfile=/dev/zero")


def test_files_that_name_each_other_come_to_an_end(tmp_path):
    """Each names the next twice: absl would read the last one a million times."""
    for number in range(20):
        line = f"--flagfile={tmp_path / str(number + 1)}\n"
        (tmp_path / str(number)).write_text(2 * line)
    (tmp_path / "20").write_text("--model=cnn\n")
    assert "names more than 100 files" in _refused(f"--flagfile={tmp_path / '0'}")
    flag_files.check([f"--flagfile={tmp_path / '17'}"])
    flag_files.check(["--", f"--flagfile={tmp_path / 'nowhere'}"])
