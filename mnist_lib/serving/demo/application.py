"""What the server answers: the page, the list of runs, and what a network makes of a picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from werkzeug import exceptions, wrappers

from mnist_lib import errors
from mnist_lib.serving import pages, pictures
from mnist_lib.serving.demo import addresses
from mnist_lib.serving.demo.run_list import RunList
from mnist_lib.serving.pictures import framing

MOST_BYTES = 32 * 2**20  # of a picture; phones make photos of a third of it
_FILES = {
    "/": ("demo.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/drawing.js": ("drawing.js", "text/javascript"),
    "/outcome.js": ("outcome.js", "text/javascript"),
    "/demo.js": ("demo.js", "text/javascript"),
}
# No request leaves for another host, and no other page has this one inside of it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_logger = logging.getLogger(__name__)


class _LimitedRequest(wrappers.Request):
    """A request whose body is read only up to a limit."""

    max_content_length = MOST_BYTES


class DemoApplication:
    """The WSGI application. Errors are JSON, `{"error": one line}`."""

    def __init__(self, runs: RunList, host: str = "127.0.0.1"):
        """Keeps what it serves.

        Args:
          runs: to choose from.
          host: where it is served; requests to other names are refused.
        """
        self._runs = runs
        self._host = host

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        """Answers a request."""
        response = self._answer(_LimitedRequest(environ))
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response(environ, start_response)

    def _answer(self, request: wrappers.Request) -> wrappers.Response:
        try:
            self._check_source(request)
            return self._served(request)
        except exceptions.RequestEntityTooLarge:
            return _error(413, f"a picture has at most {MOST_BYTES >> 20} MiB; send a smaller one")
        except exceptions.HTTPException as error:
            return _error(error.code or 500, f"{error.description or error.name}")
        except errors.DataNotFoundError as error:
            return _error(404, str(error))
        except errors.MnistLibError as error:
            return _error(422, str(error))
        except Exception as error:
            _logger.exception("%s %s", request.method, request.path)
            first_line = (str(error).splitlines() or [""])[0]
            return _error(500, f"internal: {type(error).__name__}: {first_line}")

    def _check_source(self, request: wrappers.Request) -> None:
        """Refuses what another site's page has sent.

        Raises:
          Forbidden: it has.
        """
        host = request.headers.get("Host", "")
        if not addresses.is_for_us(host, self._host):
            raise exceptions.Forbidden(f"{host!r} is not a name of this server")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            raise exceptions.Forbidden(f"a page of {origin} may not use this server")

    def _served(self, request: wrappers.Request) -> wrappers.Response:
        if request.path == "/look":
            if request.method != "POST":
                raise exceptions.MethodNotAllowed(["POST"], "send a picture with POST")
            return _json(self._look(request))
        if request.path not in ("/runs", *_FILES):
            raise exceptions.NotFound("there is nothing of that name here")
        if request.method not in ("GET", "HEAD"):
            raise exceptions.MethodNotAllowed(["GET", "HEAD"], "this is only read")
        if request.path == "/runs":
            return _json({"runs": self._runs.usable(), "training": self._runs.progress()})
        name, kind = _FILES[request.path]
        return wrappers.Response(pages.read(name), mimetype=kind)

    def _look(self, request: wrappers.Request) -> dict[str, Any]:
        """Returns what a run's network makes of the picture that a request holds."""
        source = request.args.get("source", "photo")
        if source not in ("drawing", "photo"):
            raise exceptions.BadRequest("source is neither drawing nor photo")
        picture = pictures.read_picture(_body(request))
        if source == "photo":
            image = pictures.find_digit(picture).image
        else:
            image = _framed_drawing(picture)
        return self._runs.load(request.args.get("run", "")).look(image)


def _body(request: wrappers.Request) -> bytes:
    """Returns what was sent; unlike `get_data` it refuses a chunked body that is too large."""
    return b"".join(iter(lambda: request.stream.read(2**16), b""))


def _framed_drawing(picture: np.ndarray) -> np.ndarray:
    """Returns a drawing of black on white as an image; all of its ink is of the digit."""
    ink = 1 - picture
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        raise errors.CorruptDataError("drawing: is blank. Draw something.")
    return framing.frame(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _json(value: dict[str, Any], status: int = 200) -> wrappers.Response:
    return wrappers.Response(json.dumps(value), status=status, mimetype="application/json")


def _error(status: int, line: str) -> wrappers.Response:
    return _json({"error": line}, status)
