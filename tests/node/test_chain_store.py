"""Durability: killed, failing and full at every step of storing a block, and what the next process finds."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from assembled import CHAIN_ID, SEALER_KEY, SPREAD, STORE, Clock, Hurried, Sender, word

from node.embedded import EmbeddedChain
from node.errors import ChainCorrupt, ChainExists, ChainLocked, ChainMissing, ChainUnwritable
from node.store import FILE, Store

SENDER_IN_CHILD = """
import sys
from pathlib import Path
from assembled import SEALER_KEY, Hurried, Sender, word
from node import header
from node.embedded import EmbeddedChain

sender = Sender()
with EmbeddedChain.open(Path(sys.argv[1]), SEALER_KEY, Hurried(float(sys.argv[3]))) as chain:
    sender.nonce = chain.account(sender.address, chain.head).nonce
    print("ready", flush=True)
    while True:
        for _ in range(3):
            chain.submit(sender.sign(bytes.fromhex(sys.argv[2]), word(sender.nonce) + word(1)))
        sealed = chain.seal()
        print(sealed.number, header.block_hash(sealed).hex(), flush=True)
"""


class Faulty:
    """A SQLite connection that calls `fault` before its n-th statement, or after it."""

    def __init__(self, connection, at, fault, after=False):
        self._connection, self._left, self._fault, self._after = connection, at, fault, after

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, *arguments):
        return self._run(self._connection.execute, arguments)

    def executemany(self, *arguments):
        return self._run(self._connection.executemany, arguments)

    def _run(self, function, arguments):
        self._left -= 1
        if self._left == 0 and not self._after:
            self._fault()
        result = function(*arguments)
        if self._left == 0 and self._after:
            self._fault()
        return result


def full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def reopen(directory):
    return EmbeddedChain.open(directory, SEALER_KEY, Hurried(1_900_000_000), sleep=lambda seconds: None)


def in_child(work):
    """Run `work` in a forked process and return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_at_any_moment_no_announced_block_is_lost(directory, sender):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()) as chain:
        raw, contract = sender.deploy(SPREAD)
        chain.submit(raw)
        chain.seal()
    chooser = random.Random(7)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])}
    announced, now = {}, 1_800_000_000
    for kill in range(12):
        command = [sys.executable, "-c", SENDER_IN_CHILD, str(directory), contract.hex(), str(now + kill * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            seen = b"".join(child.stdout.readline() for _ in range(chooser.randrange(2, 9) if kill > 1 else 0))
            time.sleep(chooser.uniform(0.0, 0.04 if kill > 1 else 0.6))
            child.kill()
            lines = (seen + child.stdout.read()).decode().split("\n")[:-1]  # what follows the last line feed was cut off
        assert child.returncode == -signal.SIGKILL
        announced.update({int(number): block_hash for number, block_hash in (line.split() for line in lines if line != "ready")})
        with reopen(directory) as chain:
            assert chain.head.number >= max(announced, default=1)
            assert {number: chain.store.block(number).hash.hex() for number in announced} == announced
            chain.check()
    assert len(announced) >= 10


def test_killed_before_or_after_any_statement_a_block_is_whole_or_absent(directory, sender):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()) as chain:
        raw, contract = sender.deploy(STORE)
        chain.submit(raw)
        chain.seal()
    outcomes = []
    for step in range(2, 200):
        statement, after = divmod(step, 2)
        with reopen(directory) as chain:
            before = chain.head.number

        def seal_and_die(statement=statement, after=bool(after)):
            with reopen(directory) as chain:
                sender = Sender(nonce=chain.account(Sender().address, chain.head).nonce)
                chain.submit(sender.sign(contract, word(statement) + word(1)))
                chain.store._db = Faulty(chain.store._db, statement, lambda: os.kill(os.getpid(), signal.SIGKILL), after)
                chain.seal()

        ended = in_child(seal_and_die)
        with reopen(directory) as chain:
            outcomes.append(chain.head.number - before)
            chain.check()
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    # before the commit there were at least: settings, begin, nodes, block, index, settings
    assert outcomes[-1] == 1 and set(outcomes) == {0, 1} and not any(outcomes[:12])


def test_whichever_statement_fails_nothing_is_lost_and_sealing_works_again_afterwards(chain, sender, contract):
    chain.submit(sender.sign(contract, word(1) + word(2)))
    real, head = chain.store._db, chain.head
    for statement in range(1, 100):
        chain.store._db = Faulty(real, statement, full)
        try:
            sealed = chain.seal()
        except ChainUnwritable as error:
            assert "disk is full" in str(error) and "free space or mend permissions" in str(error)
            assert chain.head == head and chain.pooled() == 1 and not real.in_transaction
        else:
            break
    assert statement > 7 and sealed.number == 2
    chain.store._db = real
    chain.check()


def test_a_commit_that_failed_but_was_persisted_counts_as_done(chain, sender, contract, directory, monkeypatch):
    chain.submit(sender.sign(contract, word(1) + word(2)))
    real = chain.store._db

    class LateFailure(Faulty):
        def execute(self, *arguments):
            result = self._connection.execute(*arguments)
            if arguments[0] == "COMMIT":
                full()
            return result

    chain.store._db = LateFailure(real, 0, full)
    assert chain.seal().number == 2
    chain.store._db = real
    assert chain.head.number == 2 and chain.pooled() == 0
    chain.close()
    with reopen(directory) as again:
        assert again.head.number == 2
        again.check()


def test_a_full_disk_is_an_error_and_the_chain_still_opens_and_goes_on(directory, sender):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()) as chain:
        raw, contract = sender.deploy(SPREAD)
        chain.submit(raw)
        chain.seal()
        chain.store._db.execute("PRAGMA max_page_count = 40")
        with pytest.raises(ChainUnwritable, match=r"database or disk is full.*free space"):
            for number in range(100):
                chain.submit(sender.sign(contract, word(number << 100) + word(1)))
                chain.seal()
        head = chain.head
        assert 1 < head.number < 100
        chain.check()
    with reopen(directory) as chain:
        assert chain.head == head
        sender.nonce = chain.account(sender.address, head).nonce
        chain.submit(sender.sign(contract, word(5) + word(1)))
        assert chain.seal().number == head.number + 1
        chain.check()


def test_writes_that_the_system_refuses_are_an_error(directory, sender):
    EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Hurried()).close()

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with reopen(directory) as chain:
            size = (directory / FILE).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, size + 20_000))
            try:
                for _ in range(50):
                    chain.submit(sender.deploy(SPREAD)[0])
                    chain.seal()
            except ChainUnwritable:
                chain.check()
                os._exit(17)

    assert in_child(fill) == 17
    with reopen(directory) as chain:
        chain.check()
        sender.nonce = chain.account(sender.address, chain.head).nonce
        chain.submit(sender.deploy(SPREAD)[0])
        assert chain.seal().number == chain.head.number > 1


def test_a_read_only_chain_can_be_read_and_says_why_it_cannot_be_written(directory, sender, monkeypatch):
    EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Clock()).close()
    with reopen(directory) as chain:
        chain.store._db.execute("PRAGMA query_only = ON")
        chain.submit(sender.sign(bytes(20)))
        with pytest.raises(ChainUnwritable, match=r"readonly database.*mend permissions"):
            chain.seal()
        chain.check()


def test_a_creation_that_was_killed_leaves_nothing_or_a_chain(tmp_path):
    outcomes = set()
    for statement in range(1, 99):
        directory = tmp_path / str(statement)
        directory.mkdir()

        def create_and_die(directory=directory, statement=statement):
            connect = sqlite3.connect
            sqlite3.connect = lambda *args, **kwargs: Faulty(
                connect(*args, **kwargs), statement, lambda: os.kill(os.getpid(), signal.SIGKILL)
            )
            EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Clock()).close()

        ended = in_child(create_and_die)
        try:
            EmbeddedChain.open(directory, SEALER_KEY, Clock()).close()
            outcomes.add("a chain")
        except ChainMissing:
            outcomes.add("nothing")
            EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, Clock()).close()
        with EmbeddedChain.open(directory, SEALER_KEY, Clock()) as chain:
            chain.check()
        if ended == 0:
            break
    assert outcomes == {"nothing", "a chain"} and ended == 0


def test_a_writer_that_ignored_the_lock_is_noticed(chain, sender, directory):
    chain.submit(sender.sign(bytes(20)))
    settings = chain.store.settings()
    chain.store._db.execute("UPDATE chain SET head = 5, digest = ?", (replace(settings, head=5).digest(),))
    with pytest.raises(ChainLocked, match="another process sealed block 5"):
        chain.seal()


def test_a_file_that_something_else_holds_is_locked(chain, directory):
    with pytest.raises(ChainLocked, match=r"another process has .* open"):
        Store.open(directory)


def test_other_files_are_not_taken_for_a_chain(directory):
    directory.mkdir()
    connection = sqlite3.connect(directory / FILE)
    connection.execute("CREATE TABLE patients (name)")
    connection.commit()
    connection.close()
    with pytest.raises(ChainCorrupt, match="not a chain of this version"):
        reopen(directory)
    with pytest.raises(ChainExists, match="already holds a chain"):
        EmbeddedChain.create(directory, 1, SEALER_KEY, Clock())
    (directory / FILE).write_bytes(b"")
    with pytest.raises(ChainMissing, match="is empty; put back a backup"):
        reopen(directory)


def test_a_large_chain_has_no_size_limit_of_its_own(chain):
    (limit,) = chain.store._db.execute("PRAGMA max_page_count").fetchone()
    (page,) = chain.store._db.execute("PRAGMA page_size").fetchone()
    assert limit * page > 1 << 40
