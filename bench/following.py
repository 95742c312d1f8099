"""A follower's speed over a real chain, and its memory over a long one. Run as a program, this is the process whose memory is measured."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account

from bench.figure import Figure
from bench.memory import own_peak
from bench.workspace import Workspace, say
from node import header
from node.confirmation import Trust
from node.embedded import EmbeddedChain
from node.engines import ENGINES
from node.exported import genesis_of
from node.follow import Followed, Follower, opened
from node.header import Header, from_rpc
from node.http_rpc import Listener
from node.json_rpc import JsonRpc
from node.peer import Peer
from node.proof_files import ProofFiles
from node.rpc import ReadRpc

FIXTURE = Path(__file__).parents[1] / "tests" / "vectors" / "qbft" / "chain-4.json.gz"
_KEY, _CHAIN = b"\7" * 32, 4242


def following(space: Workspace) -> list[Figure]:
    """Gas per second of which every seal, transaction and root is verified and stored; peak memory of a long chain against a short one."""
    chain = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    blocks: list[dict[str, Any]] = chain["blocks"]
    gas, rates = sum(int(block["gasUsed"], 16) for block in blocks), []
    say(f"following a real chain of QBFT: {len(blocks)} blocks, {gas / 1e6:.1f} Mgas")
    with _served(
        JsonRpc({"eth_blockNumber": lambda: hex(len(blocks) - 1), "eth_getBlockByNumber": lambda number, full: blocks[int(number, 16)]})
    ) as url:
        for run in range(space.sizes.repeats):
            start = time.perf_counter()
            _follow(
                space.folder / f"followed-{run}", url, "qbft", chain["genesis"]["config"]["chainId"], from_rpc(blocks[0]), chain["genesis"]
            )
            rates.append(gas / 1e6 / (time.perf_counter() - start))
    counts = 200, 200 * space.sizes.few
    peaks = [_peak(space.folder / f"long-{count}", count) for count in counts]
    return [
        Figure("follower", tuple(rates), "Mgas/s", "wall clock: fetched over HTTP, verified, re-executed, stored, one process", limit=25),
        Figure("follower, memory", (peaks[1] / peaks[0],), "x",
               f"peak resident memory after {counts[1]:,} blocks of a transaction each, against {counts[0]}", "at most", 1.2),
    ]  # fmt: skip


@contextmanager
def _served(rpc: JsonRpc | ReadRpc) -> Iterator[str]:
    listener = Listener(rpc.handle_bytes, "127.0.0.1", 0)
    listener.start()
    try:
        yield listener.url
    finally:
        listener.close()


def _follow(folder: Path, url: str, engine: str, chain_id: int, first: Header, genesis: dict[str, Any] | None) -> None:
    settings = ENGINES[engine]
    peer, trust = Peer(url), Trust(0, settings.block_hash(first), (), 1, 30_000)
    with opened(folder, engine, chain_id, trust, [peer], genesis) as chain:
        follower = Follower(chain, trust, [Followed(peer)], ProofFiles(folder / "proofs"), time.time)
        while follower.round():
            pass
        assert not follower.behind, follower.peers[0].state


def _peak(folder: Path, count: int) -> float:
    """Peak resident memory, in bytes, of a process that follows a chain of so many blocks."""
    say(f"following a chain of {count:,} blocks")
    now = [1_700_000_000.0]
    with EmbeddedChain.create(folder / "chain", _CHAIN, _KEY, lambda: now[0]) as chain:
        for number in range(count):
            now[0] += 1
            account = Account.from_key((number + 1).to_bytes(32, "big"))
            sent = {"nonce": 0, "to": "0x" + "11" * 20, "value": 0, "gas": 21_000, "gasPrice": 0, "chainId": _CHAIN}
            chain.submit(bytes(account.sign_transaction(sent).raw_transaction))
            chain.seal()
        with _served(ReadRpc(chain)) as url:
            asked = [sys.executable, "-m", "bench.following", str(folder / "followed"), url, header.encode(chain.genesis).hex()]
            done = subprocess.run(asked, check=True, capture_output=True)
            return float(done.stdout)


if __name__ == "__main__":
    _first = header.decode(bytes.fromhex(sys.argv[3]))
    _follow(Path(sys.argv[1]), sys.argv[2], "clique", _CHAIN, _first, genesis_of(_first, "clique", _CHAIN, 1, 30_000))
    print(own_peak())
