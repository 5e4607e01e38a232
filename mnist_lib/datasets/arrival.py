"""What arrives from a host: piece by piece, and not slower than is waited for."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator

import requests
import urllib3

_PIECE_BYTES = 1 << 16
# A modem of 1998 is as fast.
PATIENCE_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 5000.0

_Piece = bytes | Exception | None  # None: it was the last


def receive(url: str) -> Generator[bytes, None, None]:
    """Yields what a host has under an address, as it is stored there.

    Another thread waits for it: the time limit of a socket begins anew with every byte, and
    none covers the resolution of names.

    Raises:
      requests.RequestException: it fails, or comes slower than `SLOWEST_BYTES_PER_SECOND`
        after the first `PATIENCE_SECONDS`.
    """
    pieces: queue.Queue[_Piece] = queue.Queue(maxsize=4)
    is_over = threading.Event()
    threading.Thread(target=_receive, args=(url, pieces, is_over), daemon=True).start()
    begun, received = time.monotonic(), 0
    try:
        while True:
            allowed = PATIENCE_SECONDS + received / SLOWEST_BYTES_PER_SECOND
            try:
                piece = pieces.get(timeout=max(0.0, begun + allowed - time.monotonic()))
            except queue.Empty:
                raise requests.Timeout(f"only {received} bytes came in {allowed:.0f} s") from None
            if piece is None:
                return
            if isinstance(piece, Exception):
                raise piece
            received += len(piece)
            yield piece
    finally:
        is_over.set()


def _receive(url: str, pieces: queue.Queue[_Piece], is_over: threading.Event) -> None:
    """Puts what arrives, and last what went wrong, or None, until nobody wants it."""

    def put(piece: _Piece) -> None:
        while not is_over.is_set():
            with contextlib.suppress(queue.Full):
                return pieces.put(piece, timeout=0.5)

    # Not packed for the way: what is unpacked may be of any size.
    headers = {"Accept-Encoding": "identity"}
    try:
        with requests.get(url, stream=True, timeout=(5, 30), headers=headers) as response:
            response.raise_for_status()
            while not is_over.is_set() and (piece := response.raw.read1(_PIECE_BYTES)):
                put(piece)
        put(None)
    except requests.RequestException as error:
        put(error)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        put(requests.ConnectionError(str(error)))
