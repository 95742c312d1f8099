"""JSON-RPC over HTTP: where a chain, or a node behind a gateway, is asked.

Loopback only, unless told otherwise. Web pages cannot use it: a request needs a JSON content type, which browsers send
across origins only with a permission that is never given, and a Host that is an address or localhost, which defeats
DNS rebinding.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from node.errors import ChainError
from node.json_rpc import MAX_REQUEST

MAX_CONNECTIONS = 64
IDLE_SECONDS = 30.0

log = logging.getLogger(__name__)


class Listener:
    """Answers requests with `answer`, which takes and gives encoded JSON-RPC and is called from many threads. `url` is where.

    ChainError for an address that may or can not be served. It listens from the start and answers after `start`.
    """

    def __init__(self, answer: Callable[[bytes], bytes], host: str, port: int, *, allow_remote: bool = False) -> None:
        if not _is_loopback(host) and not allow_remote:
            raise ChainError(f"refusing to serve on {host}: anyone who reaches it could use it; use 127.0.0.1")
        try:
            self._http = _Http((host, port), answer, ":" in host)
        except OSError as error:
            raise ChainError(f"cannot listen on {host} port {port} ({error.strerror}); choose another port") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name="rpc", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening; requests that are being answered may end without an answer."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[bytes], bytes], ipv6: bool) -> None:
        self.address_family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self.answer = answer
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a connection ended early", exc_info=log.isEnabledFor(logging.DEBUG))


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    server_version = "careseal"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # one segment per answer

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not _host_is_safe(self.headers.get("Host", "")):
            self._refuse(403, "the Host header names neither an address nor localhost")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(415, "the content type must be application/json")
        elif self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            self._refuse(411, "a Content-Length is needed")
        elif len(length) > 9 or int(length) > MAX_REQUEST:
            self._refuse(413, f"a request has at most {MAX_REQUEST} bytes")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._answer(200, self.server.answer(body))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # http.server asks for do_<METHOD>
            return lambda: self._refuse(405, "use POST")
        raise AttributeError(name)

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True  # what follows on this connection was not read
        self._answer(status, json.dumps({"error": reason}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s", format % args)


def _host_is_safe(host: str) -> bool:
    """Whether a Host header is an IP literal or localhost; a name could point here by DNS rebinding."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
    name = name.removeprefix("[").removesuffix("]")
    return name.lower() == "localhost" or _address(name) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
