"""Chromium without a window, to run a page and read what it shows."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

from mnist_lib import errors

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # where /dev/shm is small, as in containers
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--dump-dom",
)


def find_chromium() -> str | None:
    """Returns the program of the first Chromium on the PATH; None if there is none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def shown_by_chromium(page: pathlib.Path, profile: pathlib.Path, seconds: float) -> str:
    """Opens a page of the disk and returns its HTML as it is once its scripts have run.

    Args:
      page: a file.
      profile: a folder, made if need be, for what Chromium keeps.
      seconds: after which it is given up.

    Raises:
      DataNotFoundError: there is no Chromium.
      CorruptDataError: it failed, or took too long.
    """
    program = find_chromium()
    if program is None:
        raise errors.DataNotFoundError(
            f"{_NAMES[0]}: no {', '.join(_NAMES)} on the PATH. Install one, and run again."
        )
    command = [program, *_FLAGS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # for root Chromium has none, and does not start
    with subprocess.Popen(
        [*command, page.absolute().as_uri()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            shown, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise errors.CorruptDataError(
                f"{page.name}: {program} did not end within {seconds:.0f} s. Run again."
            ) from error
        finally:
            with contextlib.suppress(ProcessLookupError):  # its helpers, too
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        last = (said.decode(errors="replace").strip().splitlines() or [""])[-1]
        raise errors.CorruptDataError(
            f"{page.name}: {program} ended with {process.returncode} ({last}). Run again."
        )
    return shown.decode(errors="replace")
