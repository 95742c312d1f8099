"""Asking web servers that nobody vouches for: each request bounded in time and size, whatever the server does.

Redirects are not followed and proxies are not used: whoever needs one names a relay. How long the look-up of a name takes is the system's
business.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from node.errors import WebFailed

_MAX_URL = 500


def is_address(url: str) -> bool:
    """Whether this is an http or https URL of printable ASCII, of bearable length, without user, password and fragment."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    secret = parts.username is not None or parts.password is not None
    return good and url.isascii() and url.isprintable() and " " not in url and len(url) <= _MAX_URL and not secret and not parts.fragment


class Server:
    """The server of an address. Its connection is kept from one request to the next while both sides keep it; one thread asks at a time."""

    def __init__(self, url: str, seconds: float) -> None:
        """`seconds` bounds each request as a whole. WebFailed where `url` is no address that `is_address` takes."""
        if not is_address(url):
            raise WebFailed("an address is http://HOST/PATH or https://HOST/PATH, without a user or password")
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = str(parts.hostname), parts.port or (443 if self._secure else 80)
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._seconds, self._kept = seconds, self._closed()

    def ask(
        self, method: str, target: str, limit: int, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The status and what is answered, of which no more than `limit` + 1 bytes are read. WebFailed where no answer comes in time."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._cut_at(deadline):
                self._kept.request(method, target, body, dict(headers or {}))
                answer = self._kept.getresponse()
                data = answer.read(limit + 1)
                if answer.will_close or not answer.isclosed():
                    self.close()
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise WebFailed(self._reason(error, deadline)) from error
        if time.monotonic() >= deadline:
            self.close()
            raise WebFailed(self._late())
        return answer.status, data

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        self._kept.close()

    def _closed(self) -> HTTPConnection:
        return (HTTPSConnection if self._secure else HTTPConnection)(self._host, self._port)

    def _reason(self, error: Exception, deadline: float) -> str:
        if time.monotonic() >= deadline:
            return self._late()
        if isinstance(error, ssl.SSLError):
            return "its TLS certificate is not trusted, or it speaks no TLS"
        if isinstance(error, OSError):
            return f"it cannot be reached: {error.strerror or 'it broke off'}"
        return "it speaks no HTTP"

    def _late(self) -> str:
        return f"no answer within {self._seconds:.0f} s"

    @contextmanager
    def _cut_at(self, deadline: float) -> Iterator[None]:
        """Whatever happens within is cut at the deadline: a timeout for each read alone would let a server drip for ever."""
        fresh = self._kept.sock is None
        connection = _dialled(self._host, self._port, deadline) if fresh else self._kept.sock
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        with socket.socket(fileno=os.dup(connection.fileno())) as spare:
            watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [spare])
            watchdog.daemon = True
            watchdog.start()
            try:
                if fresh:
                    self._kept.sock = self._wrapped(connection)
                yield
            finally:
                watchdog.cancel()
                watchdog.join()

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        if not self._secure:
            return connection
        try:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=self._host)
        except BaseException:
            connection.close()
            raise


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
            # A request's head and body are sent apart: the body must not wait until the head is acknowledged.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            failed = error
    raise failed
