"""Reaching a chain through web3.py: by URL, through the process that serves a directory, or by opening the directory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from careseal import MAX_JSON_DEPTH, json_depth
from node.embedded import EmbeddedChain
from node.errors import ChainLocked, NodeError, NodeUnreachable
from node.rpc import Rpc
from node.server import read_endpoint

REQUEST_SECONDS = 30.0
PROBE_SECONDS = 3.0
LOCK_SECONDS = 15.0
Answer = TypeVar("Answer")


@contextmanager
def connect(target: str | Path, sealer_key: Callable[[], bytes] | None, clock: Callable[[], float], *,
            wait: float = LOCK_SECONDS) -> Iterator[Web3]:
    """Yield a web3.py connection to the chain that `target` names: http(s) URLs with commas between them, of which the first that
    answers is asked, or an embedded chain's directory.

    A directory that a process serves is reached through that process. Otherwise it is opened here under its lock, for
    as long as the context lasts, and eth_sendRawTransaction then seals before it returns; `sealer_key` is asked for the
    32-byte key only then, and without it the chain can only be read. `clock` returns UTC seconds. While another process
    holds the lock this waits up to `wait` seconds.

    Errors, here and from every later request: NodeUnreachable for connections; here also those of `EmbeddedChain.open`.
    """
    if isinstance(target, str) and "://" in target:
        urls = target.split(",")
        provider = _Several(urls) if len(urls) > 1 else _reach(target, requests.Session(), None)
        try:
            yield _web3(provider)
        finally:
            provider.close()
        return
    directory = Path(target)
    deadline = time.monotonic() + wait
    key: bytes | None = None
    while True:
        if (served := _served(directory)) is not None:
            try:
                yield _web3(served)
            finally:
                served.close()
            return
        if key is None and sealer_key is not None:
            key = sealer_key()
        try:
            chain = EmbeddedChain.open(directory, key, clock)
        except ChainLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
            continue
        with chain:
            yield _web3(InProcessProvider(chain))
        return


class InProcessProvider(JSONBaseProvider):
    """web3.py's way to a chain that this process has open. A transaction is sealed when its hash is returned."""

    def __init__(self, chain: EmbeddedChain) -> None:
        super().__init__()
        self._chain = chain
        self._rpc = Rpc(chain, self._seal)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return self.decode_rpc_response(self._rpc.handle_bytes(self.encode_rpc_request(method, params)))

    def make_batch_request(self, batch_requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse] | RPCResponse:
        return self.decode_rpc_response(self._rpc.handle_bytes(self.encode_batch_rpc_request(batch_requests)))

    def _seal(self) -> None:
        try:
            self._chain.seal()
        except NodeError:
            self._chain.forget()  # the sender learns of the failure and sends again
            raise


class _Exchange(JSONBaseProvider):
    """web3.py's way to whatever takes encoded requests and gives encoded answers."""

    def __init__(self, send: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._send = send

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return NodeProvider.decode_rpc_response(self._send(self.encode_rpc_request(method, params)))


def over(send: Callable[[bytes], bytes]) -> Web3:
    """A web3.py connection whose encoded requests are answered by `send`; its errors come as they are."""
    return _web3(_Exchange(send))


class NodeProvider(HTTPProvider):
    """web3.py's HTTP provider with failures as NodeUnreachable, one line that names the address without credentials."""

    def __init__(self, url: str, session: requests.Session, seconds: float = REQUEST_SECONDS) -> None:
        super().__init__(url, request_kwargs={"timeout": seconds}, session=session, exception_retry_configuration=None)
        self._session = session
        self._shown = _without_credentials(url)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return super().make_request(method, params)
        except (requests.RequestException, ValueError) as error:
            raise self._unreachable(error) from error

    def make_batch_request(self, batch_requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse] | RPCResponse:
        try:
            return super().make_batch_request(batch_requests)
        except (requests.RequestException, ValueError) as error:
            raise self._unreachable(error) from error

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> RPCResponse:
        """The answer, unless it is nested so deep that reading it would end this process."""
        if json_depth(raw_response.decode()) > MAX_JSON_DEPTH:
            raise ValueError("an answer that is nested too deep")
        return JSONBaseProvider.decode_rpc_response(raw_response)

    def close(self) -> None:
        self._session.close()

    def _unreachable(self, error: Exception) -> NodeUnreachable:
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return NodeUnreachable(f"{self._shown} answers with HTTP status {error.response.status_code}; check the address")
        if isinstance(error, requests.Timeout):
            return NodeUnreachable(f"{self._shown} does not answer in time; check that the node runs, then try again")
        if isinstance(error, requests.ConnectionError):
            return NodeUnreachable(f"{self._shown} cannot be reached; start the node or check the address")
        return NodeUnreachable(f"{self._shown} does not answer as a node does; check the address")


class _Several(JSONBaseProvider):
    """web3.py's way to the first of several nodes that answers. It stays with that one until it does not answer any more."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__()
        self._urls = deque(urls)
        self._chosen: NodeProvider | None = None
        self._ask(lambda provider: None)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return self._ask(lambda provider: provider.make_request(method, params))

    def make_batch_request(self, batch_requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse] | RPCResponse:
        return self._ask(lambda provider: provider.make_batch_request(batch_requests))

    def close(self) -> None:
        if self._chosen is not None:
            self._chosen.close()
        self._chosen = None

    def _ask(self, ask: Callable[[NodeProvider], Answer]) -> Answer:
        """What the chosen node answers, else the next one that does. NodeUnreachable of the last one where none does."""
        left = len(self._urls)
        while True:
            try:
                self._chosen = self._chosen or _reach(self._urls[0], requests.Session(), None)
                return ask(self._chosen)
            except NodeUnreachable:
                self.close()
                self._urls.rotate(-1)
                left -= 1
                if not left:
                    raise


def _reach(url: str, session: requests.Session, genesis: str | None, seconds: float = REQUEST_SECONDS) -> NodeProvider:
    """Return a provider for `url` after it answered; with `genesis` given, only if that is its block 0."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise NodeUnreachable("the chain's address must be http://host:port, https://host:port or a directory")
    probe = NodeProvider(url, session, seconds)
    answer = probe.make_request(RPCEndpoint("eth_chainId"), [])
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), str):
        raise NodeUnreachable(f"{_without_credentials(url)} does not answer as a node does; check the address")
    if genesis is not None:
        first = probe.make_request(RPCEndpoint("eth_getBlockByNumber"), ["0x0", False]).get("result")
        if not isinstance(first, dict) or first.get("hash") != genesis:
            raise NodeUnreachable(f"{_without_credentials(url)} serves another chain; check the address")
    return NodeProvider(url, session)


def _served(directory: Path) -> NodeProvider | None:
    """Return a provider for the process that serves `directory`, or None when none does; a stale endpoint file is none."""
    announced = read_endpoint(directory)
    if announced is None:
        return None
    session = requests.Session()
    session.trust_env = False  # no proxy between a process and its neighbour
    try:
        return _reach(announced["url"], session, str(announced.get("genesis")), PROBE_SECONDS)
    except NodeUnreachable:
        session.close()
        return None


def _web3(provider: JSONBaseProvider) -> Web3:
    connection = Web3(provider)
    connection.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return connection


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
