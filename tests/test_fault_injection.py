"""Some minutes of `make faults`, whose page has all of it."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.fault_injection import disks, tracing

_ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")
def test_faults_at_system_calls_lose_nothing():
    """Those there is time for, in an order that a seed chooses."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fault_injection", "--seconds=200", "--kills=5"),
            *("--scenario=run", "--scenario=resume"),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (total,) = re.findall(r"^\| \*\*all\*\* .*$", done.stdout, re.M)
    _, _, _, _, injected, same, refused, lost, _ = (cell.strip() for cell in total.split("|"))
    assert int(injected) == int(same) + int(refused) >= 20
    assert lost == "0"


def _hex(text):
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def _recorded(tmp_path, lines):
    """Returns a recording of calls as strace writes them, in the folder `/f`."""
    log = tmp_path / "trace"
    text = re.sub(r"`([^`]*)`", lambda match: _hex(match[1]), "\n".join(lines))
    log.write_text("".join(f"7  {line}\n" for line in text.splitlines()))
    calls = list(tracing.calls(log, 7))
    return disks.Recording(calls, pathlib.Path("/f"), {"/f": None, "/f/old": b"old"})


_REPLACED = [
    'openat(AT_FDCWD<`/`>, "`/f/new`", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3<`/f/new`>',
    'write(3<`/f/new`>, "`content`", 7) = 7',
    "fsync(3<`/f/new`>) = 0",
    'rename("`/f/new`", "`/f/old`") = 0',
]


def test_a_power_loss_after_a_durable_replacement_leaves_the_old_file_or_the_new(tmp_path):
    states = list(_recorded(tmp_path, _REPLACED).states())
    assert {state.files["/f/old"] for state in states} == {b"old", b"content"}


def test_a_power_loss_after_a_replacement_without_fsync_is_found_out(tmp_path):
    without = [line for line in _REPLACED if "fsync" not in line]
    states = list(_recorded(tmp_path, without).states())
    assert {state.files["/f/old"] for state in states} == {b"old", b"content", b""}


def test_names_are_lost_with_a_folder_that_nobody_waited_for(tmp_path):
    synced = [*_REPLACED, "fsync(4<`/f`>) = 0"]
    for calls, finds_old in ((_REPLACED, True), (synced, False)):
        at_end = _recorded(tmp_path, calls).states_after(len(calls))
        assert any(state.files["/f/old"] == b"old" for state in at_end) == finds_old


def test_a_name_that_was_waited_for_does_not_hang_on_a_former_one(tmp_path):
    calls = [line.replace("/f/new", "/f/sub/new") for line in _REPLACED]
    calls = ['mkdir("`/f/sub`", 0777) = 0', *calls, "fsync(4<`/f`>) = 0"]
    for state in _recorded(tmp_path, calls).states_after(len(calls)):
        assert state.files["/f/old"] == b"content"


@pytest.mark.parametrize("waits", [True, False])
def test_names_in_a_folder_that_moved_are_safe_when_it_was_waited_for_there(tmp_path, waits):
    made = [line.replace("/f/new", "/f/sub/new") for line in _REPLACED[:3]]
    calls = ['mkdir("`/f/sub`", 0777) = 0', *made, 'rename("`/f/sub`", "`/f/moved`") = 0']
    calls += ["fsync(4<`/f/moved`>) = 0"] * waits
    calls += ["fsync(4<`/f`>) = 0"]
    at_end = list(_recorded(tmp_path, calls).states_after(len(calls)))
    assert all("/f/moved/new" in state.files for state in at_end) == waits


def test_nothing_is_left_in_a_folder_that_is_gone(tmp_path):
    made = [line.replace("/f/new", "/f/sub/new") for line in _REPLACED[:3]]
    removed = ['unlink("`/f/sub/new`") = 0', 'rmdir("`/f/sub`") = 0']
    calls = ['mkdir("`/f/sub`", 0777) = 0', *made, *removed]
    for state in _recorded(tmp_path, calls).states_after(len(calls)):
        assert "/f/sub/new" not in state.files or "/f/sub" in state.files


def test_calls_of_several_threads_are_told_apart(tmp_path):
    log = tmp_path / "trace"
    log.write_text(
        f'7  unlink("{_hex("/f/a")}" <unfinished ...>\n'
        f'8  unlink("{_hex("/f/b")}") = 0\n'
        "7  <... unlink resumed>) = -1 EIO (Input/output error) (INJECTED)\n"
    )
    (call,) = tracing.calls(log, 7)
    assert (call.name, call.number, call.result, call.is_injected) == ("unlink", 1, -1, True)
    assert call.paths() == ["/f/a"]
    assert call.changes(pathlib.Path("/f"))


def test_a_file_that_is_made_changes_its_folder(tmp_path):
    log = tmp_path / "trace"
    log.write_text(
        f'7  openat(AT_FDCWD<{_hex("/home")}>, "{_hex("/f/a")}", O_WRONLY|O_CREAT, 0666) = 3\n'
        f'7  openat(5<{_hex("/f")}>, "{_hex("b")}", O_RDONLY) = 4\n'
        f'7  unlinkat(5<{_hex("/f")}>, "{_hex("b")}", 0) = 0\n'
    )
    calls = list(tracing.calls(log, 7))
    assert [call.paths() for call in calls] == [["/f/a"], ["/f/b"], ["/f/b"]]
    assert [call.changes(pathlib.Path("/f")) for call in calls] == [True, False, True]
    assert [call.number for call in calls] == [1, 2, 1]
