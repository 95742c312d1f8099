"""Asking a TSA over HTTP (RFC 3161, section 3.4), bounded in time and size whatever it answers.

Only a digest and a nonce are sent. Answers are signed and checked elsewhere, so plain HTTP serves as well. Redirects are not
followed and proxies are not used: whoever needs one names a relay as the TSA. How long the look-up of a name takes is the system's
business.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from anchoring.errors import AnchoringError, TsaUnavailable
from anchoring.token import MAX_BYTES

SECONDS = 10.0
_MAX_URL = 500
_TYPE = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


def check_url(url: str) -> None:
    """Raise AnchoringError unless this is an http or https URL that holds no user and no password: settings hold no secret."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or len(url) > _MAX_URL:
        raise AnchoringError("a TSA is named by its address, http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AnchoringError("the address of a TSA must hold no user, no password and no fragment")


def ask(url: str, request: bytes, seconds: float = SECONDS) -> bytes:
    """What the TSA answers to a DER request: at most MAX_BYTES, within `seconds`. TsaUnavailable otherwise."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = str(parts.hostname), parts.port or (443 if secure else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = time.monotonic() + seconds
    try:
        with _connected(host, port, secure, deadline) as connection:
            plain = (HTTPSConnection if secure else HTTPConnection)(host, port)
            plain.sock = connection
            plain.request("POST", target, request, _TYPE)
            answer = plain.getresponse()
            if answer.status != 200:
                words = "it leads elsewhere, which is not followed" if 300 <= answer.status < 400 else "it answers with an error"
                raise TsaUnavailable(f"{words} (HTTP {answer.status})")
            data = answer.read(MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        if time.monotonic() >= deadline:
            raise TsaUnavailable(f"no answer within {seconds:.0f} s") from error
        if isinstance(error, ssl.SSLError):
            raise TsaUnavailable("its TLS certificate is not trusted, or it speaks no TLS") from error
        if isinstance(error, OSError):
            raise TsaUnavailable(f"it cannot be reached: {error.strerror or 'it broke off'}") from error
        raise TsaUnavailable("it speaks no HTTP") from error
    if time.monotonic() >= deadline:
        raise TsaUnavailable(f"no answer within {seconds:.0f} s")
    if len(data) > MAX_BYTES:
        raise TsaUnavailable(f"its answer has more than {MAX_BYTES} bytes")
    return data


@contextmanager
def _connected(host: str, port: int, secure: bool, deadline: float) -> Iterator[socket.socket]:
    """A connection that is cut at the deadline: a timeout for each read alone would let a TSA drip for ever."""
    with ExitStack() as stack:
        connection = stack.enter_context(_dialled(host, port, deadline))
        spare = stack.enter_context(socket.socket(fileno=os.dup(connection.fileno())))
        watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [spare])
        watchdog.daemon = True
        watchdog.start()
        stack.callback(watchdog.join)
        stack.callback(watchdog.cancel)
        if secure:
            connection = stack.enter_context(ssl.create_default_context().wrap_socket(connection, server_hostname=host))
        yield connection


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _dialled(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the first of the host's addresses that answers. OSError where none does in time."""
    failed: OSError = TimeoutError()
    for family, kind, protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left)
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            failed = error
    raise failed
