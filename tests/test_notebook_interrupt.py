"""An interrupt in a notebook, by a real kernel: the run stops, the kernel stays."""

import importlib.util
import os
import queue
import time

import pytest
from script_runs import ROOT, newest_step

from mnist_lib.runs import run_directory

HAS_JUPYTER = all(importlib.util.find_spec(name) for name in ("jupyter_client", "ipykernel"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_JUPYTER, reason="ipykernel and jupyter_client are not installed"),
]
SECONDS = 300

_TRAIN = """
import mnist_lib
kept = "the user's variable"
config = mnist_lib.TrainConfig(
    model="mlp", dataset={name!r}, data_dir={folder!r}, download=False, batch_size=64,
    train_steps={steps}, steps_per_loop=10, checkpoint_every=50, eval_every={steps},
)
results = mnist_lib.train_and_evaluate(config, {workdir!r})
"""
# A callback of the user's that takes long: the second interrupt ends it.
_TRAIN_WITH_A_SLOW_CALLBACK = """
import dataclasses, time
def wait(progress):
    print("waiting", flush=True)
    time.sleep(600)
mnist_lib.train_and_evaluate(
    dataclasses.replace(config, eval_every=20, train_steps=100), {workdir!r}, callbacks=[wait]
)
"""


@pytest.fixture(scope="module")
def kernel():
    """A kernel, and a client of it."""
    import jupyter_client

    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    manager, client = jupyter_client.manager.start_new_kernel(
        kernel_name="python3", env=os.environ | {"PYTHONPATH": path}
    )
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


class Cell:
    """A cell that is being executed."""

    def __init__(self, client, code: str):
        self._client = client
        self._id = client.execute(code)
        self.printed = ""

    def read(self, timeout_seconds: float) -> None:
        """Reads what it has printed, until nothing comes for some time."""
        try:
            while True:
                message = self._client.get_iopub_msg(timeout=timeout_seconds)
                if message["msg_type"] == "stream":
                    self.printed += message["content"]["text"]
        except queue.Empty:  # no more has come
            return

    def read_until(self, word: str) -> None:
        """Reads until it has printed a word."""
        deadline = time.monotonic() + SECONDS
        while word not in self.printed:
            assert time.monotonic() < deadline, self.printed
            self.read(0.2)

    def reply(self, seconds: float = SECONDS) -> dict | None:
        """Returns what the kernel says at its end; None if it does not come in that time."""
        while True:
            try:
                reply = self._client.get_shell_msg(timeout=seconds)
            except queue.Empty:
                return None
            if reply["parent_header"]["msg_id"] == self._id:  # else of the kernel's start
                return reply["content"]


def _wait_for_step(workdir, step: int, cell: Cell) -> None:
    """Waits until that step, or one after it, is saved: each is kept for three saves only."""
    deadline = time.monotonic() + SECONDS
    while newest_step(workdir) < step:
        if time.monotonic() > deadline:
            cell.read(1)
            raise AssertionError(f"no step {step} in {SECONDS} s:\n{cell.printed}")
        time.sleep(0.02)


def test_an_interrupt_stops_the_run_saved_and_a_second_keeps_the_kernel(
    kernel, prepared_data, tmp_path
):
    manager, client = kernel
    workdir = tmp_path / "run"
    names = {
        "name": prepared_data.name,
        "folder": str(prepared_data.data_dir),
        "workdir": str(workdir),
        "steps": 100_000,
    }
    cell = Cell(client, _TRAIN.format(**names))
    _wait_for_step(workdir, 50, cell)
    manager.interrupt_kernel()
    reply = cell.reply()
    assert (reply["status"], reply["ename"]) == ("error", "RunInterruptedError"), reply
    assert "stopped by SIGINT, saved at step" in reply["evalue"]
    assert manager.is_alive()

    # Twice in a row, as somebody does who sees nothing happen.
    cell = Cell(client, "mnist_lib.train_and_evaluate(config, " + repr(f"{workdir}2") + ")")
    _wait_for_step(tmp_path / "run2", 50, cell)
    manager.interrupt_kernel()
    manager.interrupt_kernel()
    reply = cell.reply()
    assert reply["status"] == "error"
    assert reply["ename"] in ("RunInterruptedError", "KeyboardInterrupt"), reply

    # Inside of what takes too long to wait for.
    cell = Cell(client, _TRAIN_WITH_A_SLOW_CALLBACK.format(workdir=f"{workdir}3"))
    cell.read_until("waiting")
    # Two signals that come before Python has looked are one: again, until it says something.
    while (reply := cell.reply(seconds=3)) is None:
        assert manager.is_alive()
        manager.interrupt_kernel()
    assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt"), reply

    # The kernel, its variables and its interrupts are as they were; the run can go on.
    cell = Cell(client, "import signal; print(kept, signal.getsignal(signal.SIGINT))")
    assert cell.reply()["status"] == "ok"
    cell.read_until("the user's variable <built-in function default_int_handler>")
    cell = Cell(client, "import time; print('asleep', flush=True); time.sleep(600)")
    cell.read_until("asleep")
    manager.interrupt_kernel()
    assert cell.reply()["ename"] == "KeyboardInterrupt"
    assert run_directory.RunDirectory(workdir).read_config() is not None
    assert manager.is_alive()
