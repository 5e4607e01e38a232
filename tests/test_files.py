import os
import resource

import pytest

from mnist_lib import files


def test_the_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        files.replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    files.replace_file(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.replace_file(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_has_left_is_removed_by_the_next_write(tmp_path):
    path = tmp_path / "file"
    old, of_another, new = (
        tmp_path / f".{name}.{'0' * 16}" for name in ("file", "other", "file.x")
    )
    at_work = tmp_path / f".file.{'1' * 16}"
    for left in (old, of_another, new, at_work):
        left.write_bytes(b"half")
        if left is not at_work:
            os.utime(left, (0, 0))
    files.replace_file(path, b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, of_another, new, at_work])
    assert files.is_left_over(old)
    assert not files.is_left_over(path)
    files.remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    files.remove_left_overs(tmp_path / "none")


def test_what_a_folder_holds_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    built, name = tmp_path / "aside" / "built", tmp_path / "a" / "name"
    (built / "sub").mkdir(parents=True)
    (built / "sub" / "file").write_bytes(b"content")
    calls = []
    monkeypatch.setattr(files, "sync", lambda path: calls.append((path, name.exists())))
    files.publish_folder(built, name, tmp_path)
    before = {path for path, is_named in calls if not is_named}
    assert {built / "sub" / "file", built / "sub", built} <= before
    assert [path for path, is_named in calls if is_named] == [tmp_path / "a", tmp_path]
    assert (name / "sub" / "file").read_bytes() == b"content"
