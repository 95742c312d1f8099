"""Asking another institution's node for blocks. Each answer is bounded in time, size and depth, and none is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from careseal import read_json
from node.errors import PeerFailed, WebFailed
from node.web import Server

SECONDS = 15.0
MAX_ANSWER = 16 << 20


class _TooLarge(PeerFailed):
    """An answer has more bytes than are read."""


class Peer:
    """A node's JSON-RPC. PeerFailed from every question that it does not answer as a node does."""

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        try:
            self._server = Server(url, seconds)
        except WebFailed as error:
            raise PeerFailed(f"{error}: check --peer") from error
        self.url = url

    def head(self) -> int:
        """The number of its last block."""
        (answer,) = self._ask([("eth_blockNumber", [])])
        if not isinstance(answer, str) or not re.fullmatch("0x[0-9a-f]{1,15}", answer):
            raise PeerFailed("it does not say which block is its last one")
        return int(answer, 16)

    def blocks(self, numbers: Sequence[int], *, full: bool = True) -> list[dict[str, Any]]:
        """Blocks as it gives them, with their transactions or only their hashes, in this order; the first of them where it has no more, or
        where all would be too large."""
        try:
            answers = self._ask([("eth_getBlockByNumber", [hex(number), full]) for number in numbers])
        except _TooLarge:
            if len(numbers) == 1:
                raise
            return self.blocks(numbers[: len(numbers) // 2], full=full)
        if any(not isinstance(answer, dict) for answer in answers if answer is not None):
            raise PeerFailed("it answers with something else than a block")
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        self._server.close()

    def _ask(self, questions: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """The results of one batch, in the order of the questions."""
        asked = [{"jsonrpc": "2.0", "id": number, "method": method, "params": given} for number, (method, given) in enumerate(questions)]
        try:
            status, data = self._server.ask(
                "POST", self._server.target, MAX_ANSWER, json.dumps(asked).encode(), {"Content-Type": "application/json"}
            )
        except WebFailed as error:
            raise PeerFailed(str(error)) from error
        if len(data) > MAX_ANSWER:
            raise _TooLarge(f"it answers with more than {MAX_ANSWER >> 20} MiB")
        if status != 200:
            raise PeerFailed(f"it answers with HTTP status {status}")
        try:
            answers = {answer["id"]: answer["result"] for answer in read_json(data)}
            return [answers[number] for number in range(len(questions))]
        except (ValueError, KeyError, TypeError) as error:
            raise PeerFailed("it does not answer as a node does") from error
