"""Bare loops over hashlib that do the unavoidable part of a measured task and nothing else.

They tell how fast the machine is in the same run: the targets in rows, proofs and entries per second were set on another one.
"""

from __future__ import annotations

from hashlib import blake2s, sha256, shake_256
from marshal import dumps

from bench import rows
from bench.figure import seconds

_KEY, _NODE = bytes(32), bytes(65)


def commitments(count: int) -> float:
    """Rows per second of which secret, salts, field digests, their root, row digest and leaf hash are computed, in memory."""
    made = [(dumps(row, 0), [dumps(value, 0) for value in row]) for row in rows.generate(1, count)]

    def loop() -> None:
        for number, (row, fields) in enumerate(made):
            secret = blake2s(number.to_bytes(20, "big"), key=_KEY).digest()
            salts = shake_256(secret).digest(16 * len(fields))
            digests = [sha256(salts[16 * i : 16 * i + 16] + field).digest() for i, field in enumerate(fields)]
            entry = sha256(secret + row).digest() + sha256(b"".join(digests)).digest() + b"".join([d[:4] for d in digests])
            sha256(entry).digest()

    return count / seconds(loop)


def paths(count: int, nodes: int) -> float:
    """Paths per second of which so many nodes of a tree, 65 bytes each, are hashed."""

    def loop() -> None:
        for _ in range(count):
            for _ in range(nodes):
                sha256(_NODE).digest()

    return count / seconds(loop)
