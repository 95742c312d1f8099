"""What a follower keeps against those who showed it something else than the chain: both versions, each in a file of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from careseal import read_json
from node import header
from node.errors import ChainUnwritable
from node.header import Header

MAX_FILES = 1000  # so that a peer cannot fill the disk
MAX_GIVEN = 4 << 20  # bytes of a block that are kept in full


class ProofFiles:
    """The files in a folder, numbered in the order in which they were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = {number: path for path in self.paths() if (number := _open_block(path)) is not None}

    def paths(self) -> list[Path]:
        """All files, oldest first."""
        return sorted(self.folder.glob("*.json"))

    def lie(self, peer: str, time: float, block: int, reason: str, given: Mapping[str, Any], ours: Mapping[str, Any] | None) -> None:
        """Keep a block that cannot be one of the chain, beside the one that is, once that is known."""
        if len(json.dumps(given)) > MAX_GIVEN:
            given = {**given, "transactions": "too large to be kept"}
        path = self._write({"kind": "lie", "peer": peer, "time": int(time), "block": block, "reason": reason, "given": given, "ours": ours})
        if path is not None and ours is None:
            self._open[block] = path

    def open_lies(self, first: int, last: int) -> list[int]:
        """The numbers of blocks in this range about which a peer lied before they were known."""
        return [number for number in self._open if first <= number <= last]

    def complete(self, block: int, ours: Mapping[str, Any]) -> None:
        """Add the block that is one of the chain to what a peer gave in its place."""
        path = self._open.pop(block)
        _replace(path, read_json(path.read_bytes()) | {"ours": ours})

    def branches(self, kind: str, peer: str, time: float, at: int, ours: Sequence[Header], theirs: Sequence[Header]) -> None:
        """Keep the sealed headers of two branches that both follow block `at`."""
        branches = {name: ["0x" + header.encode(one).hex() for one in branch] for name, branch in (("ours", ours), ("given", theirs))}
        self._write({"kind": kind, "peer": peer, "time": int(time), "block": at + 1, **branches})

    def _write(self, content: Mapping[str, Any]) -> Path | None:
        number = len(self.paths())
        if number >= MAX_FILES:
            return None
        path = self.folder / f"{number:04d}-{content['kind']}.json"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            raise ChainUnwritable(f"cannot write {path} ({error.strerror}); free space or mend permissions") from error
        return path


def _open_block(path: Path) -> int | None:
    """The block of a lie whose file lacks the one of the chain."""
    try:
        kept = read_json(path.read_bytes())
        return kept["block"] if kept["kind"] == "lie" and kept["ours"] is None else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
