"""JSON-RPC: requests and batches taken apart, methods called, answers put together. What the methods do is others' business.

Source: JSON-RPC 2.0; EIP-1474 for error codes.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from node.errors import CallReverted, NodeError, RpcError

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, REVERTED = -32700, -32600, -32601, 3
INVALID_PARAMS, SERVER_ERROR = -32602, -32000
MAX_REQUEST = 4 << 20  # bytes
MAX_CONTAINERS = 5_000  # objects and arrays in one request, which bounds its depth as well
MAX_BATCH = 100

Answer = dict[str, Any]
Method = Callable[..., Any]


class JsonRpc:
    """Answers requests by a table of methods, each called with the positional parameters of its request.

    A method raises RpcError for a code of its own; another NodeError is answered with SERVER_ERROR. A method whose last parameter is
    `*params` takes any number.
    """

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods: dict[str, tuple[Method, int, int]] = {}
        for name, method in methods.items():
            accepted = inspect.signature(method).parameters.values()
            several = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in accepted)
            needed = 0 if several else sum(parameter.default is parameter.empty for parameter in accepted)
            self._methods[name] = (method, needed, MAX_CONTAINERS if several else len(accepted))

    def handle_bytes(self, body: bytes) -> bytes:
        """Answer an encoded request or batch; empty when it holds notifications only. Never raises for what is asked."""
        if len(body) > MAX_REQUEST:
            return _encode(_error(None, INVALID_REQUEST, f"a request has at most {MAX_REQUEST} bytes"))
        if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
            return _encode(_error(None, INVALID_REQUEST, "the request is nested too deep or has too many parts"))
        try:
            request = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _encode(_error(None, PARSE_ERROR, "the request is not JSON"))
        response = self.handle(request)
        return b"" if response is None else _encode(response)

    def handle(self, request: object) -> Answer | list[Answer] | None:
        """Answer a decoded request, or a batch of at most 100; None for notifications, which have no id."""
        if not isinstance(request, list):
            return self._one(request)
        if not 0 < len(request) <= MAX_BATCH:
            return _error(None, INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} requests")
        return [answer for item in request if (answer := self._one(item)) is not None] or None

    def _one(self, request: object) -> Answer | None:
        if not isinstance(request, Mapping):
            return _error(None, INVALID_REQUEST, "a request is an object")
        asked_id = request.get("id")
        if isinstance(asked_id, bool) or not isinstance(asked_id, str | int | float | None) or asked_id in (math.inf, -math.inf):
            return _error(None, INVALID_REQUEST, "an id is a string, a number or null")
        method, params = request.get("method"), request.get("params", [])
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return _error(asked_id, INVALID_REQUEST, 'a request has jsonrpc "2.0" and a method')
        try:
            answer: Answer = {"jsonrpc": "2.0", "id": asked_id, "result": self._call(method, params)}
        except RpcError as error:
            answer = _error(asked_id, error.code, str(error))
            if error.data is not None:
                answer["error"]["data"] = error.data
        except CallReverted as error:
            answer = _error(asked_id, REVERTED, str(error))
            answer["error"]["data"] = "0x" + error.data.hex()
        except NodeError as error:
            answer = _error(asked_id, SERVER_ERROR, str(error))
        return answer if "id" in request else None

    def _call(self, method: str, params: object) -> Any:
        if method not in self._methods:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method[:60]} does not exist or is not available")
        function, needed, accepted = self._methods[method]
        values = [] if params is None else params
        if not isinstance(values, list):
            raise RpcError(INVALID_PARAMS, "invalid params: params is not an array")
        if not needed <= len(values) <= accepted:
            raise RpcError(INVALID_PARAMS, f"invalid params: {len(values)} params, {method} takes {needed} to {accepted}")
        return function(*values)


def _error(asked_id: object, code: int, message: str) -> Answer:
    return {"jsonrpc": "2.0", "id": asked_id, "error": {"code": code, "message": message}}


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _encode(response: Answer | list[Answer]) -> bytes:
    return json.dumps(response, separators=(",", ":")).encode()
