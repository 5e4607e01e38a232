"""Where the page is served, and which requests are meant for it; no TensorFlow."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import urllib.parse

from mnist_lib import errors, os_errors

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Args:
      host: a name or an address of this machine.
      port: 0 for any that is free.

    Raises:
      ConfigError: there is no such host or port.
      OutputError: the port is in use, or not to be had.
    """
    if not 0 <= port <= 65535:
        raise errors.ConfigError("port", f"{port} is not in 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise errors.ConfigError("host", f"{host!r} is not known here ({error})") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise errors.ConfigError("host", f"{host} is not of this machine") from error
        raise errors.OutputError(
            f"port {port} of {host} cannot be had ({os_errors.cause(error)}). Pass another --port, "
            "or --port=0 for any that is free."
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Returns the address that a browser opens."""
    host, port, *_ = listening.getsockname()
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_for_us(asked: str, host: str) -> bool:
    """Whether the `Host` of a request is a name of this server.

    A page of another site can have its own name lead to 127.0.0.1 (DNS rebinding), and
    then reads what is served there; its requests still say that name.

    Args:
      asked: the header, a name with or without a port.
      host: where the server listens. On every address, any address is one of its names.
    """
    try:
        name = urllib.parse.urlsplit(f"//{asked}").hostname or ""
    except ValueError:
        return False
    if name in (*_LOOPBACK, host.lower()):
        return True
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name)) and ipaddress.ip_address(host).is_unspecified
    return False
