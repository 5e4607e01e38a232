"""Downloads the original files of a data set: whole, verified, or not at all."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import urllib.parse

import requests
import tenacity

from mnist_lib import errors, os_errors
from mnist_lib.datasets import archives, arrival, catalog, original_formats, originals
from mnist_lib.progress import Progress

_PROBE_TIMEOUT_SECONDS = 5.0


def download_originals(info: catalog.DatasetInfo, folder: pathlib.Path) -> pathlib.Path:
    """Downloads what is not yet in `folder`, verifies all of it, and returns `folder`.

    A file appears under its name only when it is whole and verified. Failures that may
    pass are retried with back-off.

    Raises:
      DataNotFoundError: the host cannot be reached or does not have a file.
      CorruptDataError: what arrived is not the original.
      OutputError, StorageError: it cannot be written.
    """
    with os_errors.writing(folder, "Pass a writable --data_dir."):
        folder.mkdir(parents=True, exist_ok=True)
        return _download(info, folder)


def _download(info: catalog.DatasetInfo, folder: pathlib.Path) -> pathlib.Path:
    for file in info.published:
        path = folder / file.name
        if _is_there(info, file, path):
            continue
        most = file.num_bytes or original_formats.most_bytes(info, file)
        partial = path.with_name(file.name + ".part")
        try:
            _fetch(f"{info.url}{file.name}", file, most, partial)
            _verify(info, file, partial)
            partial.replace(path)
        except requests.RequestException as error:
            raise errors.DataNotFoundError(
                f"{info.url}{file.name}: the download failed ({error}). Run again, or "
                f"{originals.how_to_provide(info)}."
            ) from error
        finally:
            partial.unlink(missing_ok=True)
    return folder


def _is_there(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> bool:
    try:
        _verify(info, file, path)
    except (errors.CorruptDataError, FileNotFoundError):
        return False
    return True


def _verify(info: catalog.DatasetInfo, file: catalog.SourceFile, path: pathlib.Path) -> None:
    if file is info.archive:
        archives.verify(file, path)
    else:
        originals.verify_gzip(info, file, path)


def _may_pass(error: BaseException) -> bool:
    """Whether a failure of a download is worth another try."""
    response = getattr(error, "response", None)
    if isinstance(error, requests.HTTPError) and response is not None:
        return response.status_code == 429 or response.status_code >= 500
    return isinstance(error, requests.RequestException)


@tenacity.retry(
    retry=tenacity.retry_if_exception(_may_pass),
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_exponential(multiplier=0.5),
    reraise=True,
)
def _fetch(url: str, file: catalog.SourceFile, most: int, path: pathlib.Path) -> None:
    path.unlink(missing_ok=True)  # also a link, which is not to be followed
    with (
        contextlib.closing(Progress(most // 1000, description=f"{file.name}, kB")) as bar,
        contextlib.closing(arrival.receive(url)) as pieces,
        path.open("xb") as stream,
    ):
        for piece in pieces:
            stream.write(piece)
            bar.update(stream.tell() // 1000)
            if stream.tell() > most:
                raise errors.CorruptDataError(
                    f"{url}: goes on after the {most} bytes that {file.name} can have, and "
                    "is not read further. Run again, or pass the original files as --manual_dir."
                )


def download_problem(info: catalog.DatasetInfo) -> str | None:
    """Asks within five seconds whether a download can work; None: it can.

    In a thread of its own, because no time limit covers the resolution of names.
    """
    url = f"{info.url}{info.published[-1].name}"
    answers: list[str | None] = []

    def ask() -> None:
        try:
            # Some hosts refuse HEAD; of the answer to this nothing is read but its status.
            with requests.get(url, timeout=_PROBE_TIMEOUT_SECONDS, stream=True) as response:
                answers.append(None if response.ok else f"answers {response.status_code}")
        except requests.RequestException as error:
            answers.append(f"cannot be reached ({type(error).__name__})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_TIMEOUT_SECONDS)
    problem = answers[0] if answers else f"has not answered in {_PROBE_TIMEOUT_SECONDS:.0f} s"
    return problem and f"{urllib.parse.urlsplit(url).hostname} {problem}"
