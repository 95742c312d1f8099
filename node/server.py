"""Serving the embedded chain to other processes, and the thread that seals while it is served."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from careseal import read_json
from node import header
from node.embedded import EmbeddedChain
from node.errors import ChainError, NodeError
from node.http_rpc import Listener
from node.rpc import Rpc

ENDPOINT = "rpc.json"
MAX_PAUSE = 30.0

log = logging.getLogger(__name__)


class Server:
    """Serves one open chain until it is closed. `url` is where; `failure` is why the last attempt to seal failed, if it did."""

    def __init__(self, chain: EmbeddedChain, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False) -> None:
        self._chain = chain
        self.failure: NodeError | None = None
        self._wake, self._stop = threading.Event(), threading.Event()
        self._listener = Listener(Rpc(chain, self._submitted).handle_bytes, host, port, allow_remote=allow_remote)
        self.url = self._listener.url
        self._sealer = threading.Thread(target=self._seal, name="sealer", daemon=True)
        try:
            self._announce()
        except OSError as error:
            self._listener.close()
            raise ChainError(f"cannot write {self._endpoint} ({error.strerror}); free space or mend permissions") from error
        self._listener.start()
        self._sealer.start()

    def close(self) -> None:
        """Stop listening and sealing, and withdraw the endpoint file. The chain stays open; its pool is lost with it."""
        self._stop.set()
        self._wake.set()
        self._listener.close()
        self._sealer.join()
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
