"""A node that lies: a JSON-RPC proxy in front of the real one, which counts what it is asked and alters answers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


def truth(method, params, answer):
    return answer


class LyingNode:
    """`lie` gets method, parameters and the true response, and returns what is answered; `ask` asks the real node.

    `instead` gets method and parameters, and what it answers keeps the request from the real node; None passes it on.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream, self.url, self.lie = upstream, "", truth
        self.instead = lambda method, params: None
        self.asked: Counter[str] = Counter()

    def ask(self, method: str, params: list) -> dict:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return requests.post(self.upstream, json=body, timeout=20).json()

    def answer(self, asked: dict) -> dict:
        method, params = asked["method"], asked.get("params", [])
        self.asked[method] += 1
        answer = self.instead(method, params) or self.lie(method, params, self.ask(method, params))
        return {"jsonrpc": "2.0"} | answer | {"id": asked["id"]}


@contextmanager
def lying(upstream: str):
    """A LyingNode in front of the node at `upstream`, on loopback, that tells the truth until it gets a `lie`."""
    node = LyingNode(upstream)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers = [node.answer(one) for one in asked] if isinstance(asked, list) else node.answer(asked)
            body = json.dumps(answers).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
