"""A live chain of QBFT, sealed by validators whose keys are all at hand: it stands for a network of nodes."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import coincurve
import forked
from shown_chains import FORKS

from node import clique, execution, qbft, strict_rlp, transactions
from node.execution import Surroundings
from node.followed import FollowedChain
from node.header import EMPTY_UNCLES_HASH, Header
from node.http_rpc import Listener
from node.pool import Pool
from node.rpc import ReadRpc
from node.rpc_params import address, data
from node.walk import Step

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
CHAIN_ID, GAS_LIMIT, PERIOD = 31337, 30_000_000, 1


class LiveQbft(ReadRpc):
    """Validators seal a block where transactions wait, or `seal` is called. `clock` gives UTC seconds."""

    def __init__(self, folder: Path, clock=time.time, keys=KEYS[:4]) -> None:
        self.keys = {clique.address_of(key): key for key in KEYS}
        self.validators, self.clock, self.vote = sorted(clique.address_of(key) for key in keys), clock, []
        settings = {"blockperiodseconds": PERIOD, "epochlength": 30_000, "requesttimeoutseconds": 4}
        self.genesis = {
            "config": {"chainId": CHAIN_ID, **{f"{fork}Block": 0 for fork in FORKS}, "qbft": settings}, "difficulty": "0x1",
            "gasLimit": hex(GAS_LIMIT), "extraData": "0x" + self._extra(0, []).hex(), "timestamp": hex(int(clock()) - 10),
            "mixHash": "0x" + qbft.MIX_HASH.hex(), "alloc": {},
        }  # fmt: skip
        self.chain = FollowedChain.create(folder, "qbft", self.genesis)
        self.pool, self.lock, self.paused = Pool(), threading.RLock(), False
        super().__init__(self.chain)

    def _table(self):
        return super()._table() | {"eth_sendRawTransaction": self._send, "qbft_proposeValidatorVote": self._propose}

    def _propose(self, account: str, add: bool) -> bool:
        """As if all validators proposed it: their next blocks carry the vote until it is carried out."""
        self.change(bytes.fromhex(account[2:]), add=add)
        return True

    def handle_bytes(self, body: bytes) -> bytes:
        with self.lock:
            return super().handle_bytes(body)

    def _nonce(self, who, block="latest"):
        sealed = int(super()._nonce(who, "latest" if block == "pending" else block), 16)
        return hex(self.pool.next_nonce(address(who), sealed) if block == "pending" else sealed)

    def _send(self, raw) -> str:
        encoded = data(raw, "transaction")
        transaction = transactions.decode(encoded, CHAIN_ID, GAS_LIMIT)
        account = self.chain.account(transaction.sender, self.chain.head)
        self.pool.add(transaction, len(encoded), account.nonce, account.balance)
        return "0x" + transaction.hash.hex()

    def _extra(self, turn: int, seals: list[bytes]) -> bytes:
        return strict_rlp.encode([bytes(32), self.validators, self.vote, strict_rlp.from_int(turn), seals])

    def seal(self) -> None:
        """Seal what waits. A vote that stands in `vote`, [account, b"" or b"\\xff"], counts in this block."""
        with self.lock:
            walk = self.chain.walk_at(self.chain.head.number)
            proposer = self.validators[(walk.head.number + 1) % len(self.validators)]
            timestamp = max(int(self.clock()), walk.head.timestamp + PERIOD)
            around = Surroundings(CHAIN_ID, walk.head.number + 1, timestamp, 1, GAS_LIMIT, proposer, lambda: tuple(walk.ancestors))
            outcome = execution.execute(walk.nodes, walk.head.state_root, around, self.pool.waiting())

            def header(seals: list[bytes]) -> Header:
                made = outcome.state_root, outcome.transactions_root, outcome.receipts_root, outcome.bloom
                used, extra = outcome.gas_used, self._extra(0, seals)
                return Header(
                    walk.hash, EMPTY_UNCLES_HASH, proposer, *made, 1, walk.head.number + 1, GAS_LIMIT, used, timestamp, extra,
                    qbft.MIX_HASH, bytes(8),
                )  # fmt: skip

            digest = qbft.commit_hash(header([]))
            quorum = self.validators[: qbft.quorum(len(self.validators))]
            made = header([coincurve.PrivateKey(self.keys[who]).sign_recoverable(digest, hasher=None) for who in quorum])
            sealed, _ = walk.sealed(made)
            self.chain.append([Step(made, sealed.hash, outcome.transactions, outcome.receipts, outcome.nodes, sealed.sealers)])
            self.pool.remove(outcome.transactions, outcome.refused)
            self.validators, self.vote = sorted(sealed.sealers.current), []

    def change(self, account: bytes, *, add: bool) -> None:
        """Have all validators vote to add or to remove one."""
        before = self.validators
        while self.validators == before:
            self.vote = [account, b"\xff" if add else b""]
            self.seal()

    def found(self, url: str, folder: Path, name: str = "network.json") -> Path:
        """Found a consortium at the node, and return its network file, which lies in the folder beside `genesis.json`."""
        (folder / "genesis.json").write_text(json.dumps(self.genesis))
        arguments = ("--genesis", folder / "genesis.json", "--rpc", url, "--json")
        founded = forked.here("network", "found", folder / name, *arguments, environment={})
        assert founded.code == 0, founded
        return folder / name

    @contextmanager
    def running(self):
        """Seal whenever something waits; the address of the node."""
        listener, ended = Listener(self.handle_bytes, "127.0.0.1", 0), threading.Event()

        def work() -> None:
            while not ended.wait(0.02):
                if len(self.pool) and not self.paused:
                    self.seal()

        worker = threading.Thread(target=work, daemon=True)
        listener.start()
        worker.start()
        try:
            yield listener.url
        finally:
            ended.set()
            worker.join()
            listener.close()
            self.chain.close()
