"""The embedded chain's JSON-RPC over HTTP, and the thread that seals while it is served.

Loopback only, unless told otherwise. Web pages cannot use it: a request needs a JSON content type, which browsers send
across origins only with a permission that is never given, and a Host that is an address or localhost, which defeats
DNS rebinding.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from careseal import read_json
from node import header
from node.embedded import EmbeddedChain
from node.errors import ChainError, NodeError
from node.rpc import MAX_REQUEST, Rpc

ENDPOINT = "rpc.json"
MAX_CONNECTIONS = 64
IDLE_SECONDS = 30.0
MAX_PAUSE = 30.0

log = logging.getLogger(__name__)


class Server:
    """Serves one open chain until it is closed. `url` is where; `failure` is why the last attempt to seal failed, if it did."""

    def __init__(self, chain: EmbeddedChain, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False) -> None:
        if not _is_loopback(host) and not allow_remote:
            raise ChainError(f"refusing to serve on {host}: anyone who reaches it could use it; use 127.0.0.1")
        self._chain = chain
        self.failure: NodeError | None = None
        self._wake, self._stop = threading.Event(), threading.Event()
        try:
            self._http = _Http((host, port), Rpc(chain, self._submitted), ":" in host)
        except OSError as error:
            raise ChainError(f"cannot listen on {host} port {port} ({error.strerror}); choose another port") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._http.server_address[1]}"
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name="rpc", daemon=True),
            threading.Thread(target=self._seal, name="sealer", daemon=True),
        ]
        try:
            self._announce()
        except OSError as error:
            self._http.server_close()
            raise ChainError(f"cannot write {self._endpoint} ({error.strerror}); free space or mend permissions") from error
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop listening and sealing, and withdraw the endpoint file. The chain stays open; its pool is lost with it."""
        self._stop.set()
        self._wake.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()
        if (announced := read_endpoint(self._chain.directory)) and announced.get("url") == self.url:
            with suppress(OSError):
                self._endpoint.unlink()

    @property
    def _endpoint(self) -> Path:
        return self._chain.directory / ENDPOINT

    def _announce(self) -> None:
        genesis = "0x" + header.block_hash(self._chain.genesis).hex()
        temporary = self._endpoint.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump({"url": self.url, "pid": os.getpid(), "genesis": genesis}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._endpoint)

    def _submitted(self) -> None:
        self._wake.set()
        if self.failure is not None:
            raise self.failure  # the transaction waits, but whoever sent it should know why it does

    def _seal(self) -> None:
        try:
            self._seal_until_stopped()
        finally:
            if not self._stop.is_set():  # a fault of the program, whose traceback the thread prints
                self.failure = ChainError("sealing has stopped; stop this node, start it again, and report what it printed")

    def _seal_until_stopped(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._chain.pooled() and not self._stop.is_set():
                try:
                    self._chain.seal()
                    self.failure, failures = None, 0
                except NodeError as error:
                    self.failure, failures = error, failures + 1
                    log.error("sealing failed %d times: %s", failures, error)
                    self._stop.wait(min(2.0**failures, MAX_PAUSE))


@contextmanager
def serve(path: Path, sealer_key: bytes | None, clock: Callable[[], float], *, host: str = "127.0.0.1", port: int = 0,
          allow_remote: bool = False, sleep: Callable[[float], None] = time.sleep) -> Iterator[Server]:
    """Open the chain in the directory `path` and serve it within the context. `port` 0 takes a free one.

    Errors: those of `EmbeddedChain.open`; ChainError for an address that may or can not be served.
    """
    with EmbeddedChain.open(path, sealer_key, clock, sleep=sleep) as chain:
        server = Server(chain, host, port, allow_remote=allow_remote)
        try:
            yield server
        finally:
            server.close()


def read_endpoint(directory: Path) -> dict[str, Any] | None:
    """Return what the endpoint file says, or None when there is none that can be read. It may be left over from a crash."""
    try:
        found = read_json((directory / ENDPOINT).read_bytes()[:4096])
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("url"), str) else None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], rpc: Rpc, ipv6: bool) -> None:
        self.address_family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self.rpc = rpc
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
                self._answer(200, self.server.rpc.handle_bytes(body))

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
