"""Reads files in threads, some of them before they are asked for."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mnist_lib import errors
from mnist_lib.serving import inputs

_AHEAD = 32  # files that are read ahead, per thread
_File = str | os.PathLike[str]
_Image = TypeVar("_Image")


def read_ahead(
    files: Iterable[_File], read: Callable[[pathlib.Path], Iterator[_Image]]
) -> Iterator[tuple[str, _Image | errors.MnistLibError]]:
    """Yields the name of each file with each image in it, or with what is wrong with it.

    Args:
      files: files, and folders of pictures.
      read: yields what a file holds; may raise an error of ours, before or after that.
    """

    def begin(
        name: str, path: pathlib.Path | errors.MnistLibError
    ) -> tuple[str, Iterator[_Image | errors.MnistLibError]]:
        """Reads the first image, in a thread; the others when they are asked for."""
        found = iter([path]) if isinstance(path, errors.MnistLibError) else _images(path, read)
        return name, itertools.chain(list(itertools.islice(found, 1)), found)

    num_threads = len(os.sched_getaffinity(0))
    pending: collections.deque = collections.deque()
    names = _each_file(files)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        while True:
            for name, path in itertools.islice(names, num_threads * _AHEAD - len(pending)):
                pending.append(pool.submit(begin, name, path))
            if not pending:
                return
            name, images = pending.popleft().result()
            for image in images:
                yield name, image


def _images(
    path: pathlib.Path, read: Callable[[pathlib.Path], Iterator[_Image]]
) -> Iterator[_Image | errors.MnistLibError]:
    try:
        yield from read(path)
    except errors.MnistLibError as error:
        yield error


def _each_file(files: Iterable[_File]) -> Iterator[tuple[str, pathlib.Path | errors.MnistLibError]]:
    for file in files:
        try:
            for path in inputs.files_of(file):
                yield str(path), path
        except errors.MnistLibError as error:
            yield os.fsdecode(file), error
