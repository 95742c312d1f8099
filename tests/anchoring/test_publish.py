"""Publishing: each checkpoint once and in order, whatever fails in between, from several processes and homes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import contextmanager

import forked
import pytest
from world import PASSPHRASE, World, served, stop

import anchoring.link
import anchoring.publish
import ledger.seal
from anchoring.link import open_link
from anchoring.publish import publish
from contracts.calls import ContractRefused
from ledger.journal import StoredTiles
from ledger.merkle import leaf_hash
from ledger.tree import Tree, append
from node.server import read_endpoint

UPDATE = "UPDATE visit SET note='{}' WHERE visit_id=1"


def update(world: World, number: int) -> None:
    world.change([(UPDATE.format(number),)])


@contextmanager
def linked(home):
    with open_link(home.settings, home.keyring.sealing, _sealer(home), forked.fast_time) as link:
        yield link


def _sealer(home):
    from pathlib import Path

    from anchoring.founding import sealer_key

    return sealer_key(Path(home.settings.chain), PASSPHRASE.encode)


def test_a_chain_that_cannot_be_reached_leaves_the_checkpoints_in_the_outbox_and_the_next_seal_publishes_all_in_order(sealed):
    with served(sealed.chain, sealed.folder / "node.log") as node:
        sealed.set("chain", read_endpoint(sealed.chain)["url"])
        before = sealed.ok("status", "--json").json["chain_size"]
        stop(node)
        for number in range(3):
            update(sealed, number)
            line = sealed.refused("seal")
            assert "cannot be reached" in line and "1 entries were added and wait for their anchor" in line
    assert sealed.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 3
    sealed.set("chain", str(sealed.chain))
    status = sealed.ok("status", "--json").json
    assert (status["chain_size"], status["outbox"]) == (before, True)
    sealed.settle()
    sizes = [size for size, _root in sealed.checkpoints()]
    assert sizes == sorted(set(sizes)) and len(sizes) >= 4


def test_a_node_that_dies_before_the_transaction_leaves_the_entries_sealed(sealed):
    update(sealed, 1)
    with served(sealed.chain, sealed.folder / "node.log") as node:

        def kill_the_node() -> None:
            real = ledger.seal.seal

            def seal(*arguments, **options):
                done = real(*arguments, **options)
                os.kill(node, signal.SIGKILL)
                time.sleep(0.2)
                return done

            import anchoring.sealing

            anchoring.sealing.seal = seal

        outcome = sealed.run("seal", before=kill_the_node)
        assert outcome.code == 2 and "cannot be reached" in outcome.line()
    assert sealed.count("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == 1
    sealed.settle()


def test_an_answer_that_is_lost_after_the_chain_took_the_transaction_publishes_nothing_twice(sealed):
    update(sealed, 1)

    def lose_the_answer() -> None:
        real = anchoring.link.Link.send

        def send(self, transaction):
            real(self, transaction)
            raise anchoring.link.AnchoringError("the answer was lost")

        anchoring.link.Link.send = send

    assert "the answer was lost" in sealed.run("seal", before=lose_the_answer).line()
    count = len(sealed.checkpoints())
    sealed.ok("seal")
    assert len(sealed.checkpoints()) == count
    sealed.settle()


def test_the_homes_note_of_a_block_is_found_again_on_the_chain(sealed):
    update(sealed, 1)
    sealed.ok("seal")
    before = sealed.rows("SELECT * FROM checkpoints ORDER BY size", "ledger.db")
    with sealed.opened() as home, home.store.transaction() as db:
        db.execute("UPDATE checkpoints SET tx=NULL, block=NULL, block_hash=NULL, block_time=NULL")
    sealed.ok("seal")
    assert sealed.rows("SELECT * FROM checkpoints ORDER BY size", "ledger.db") == before
    sealed.settle()


def test_a_transaction_that_waits_in_a_served_node_is_awaited_and_not_sent_again(sealed):
    update(sealed, 1)
    with served(sealed.chain, sealed.folder / "node.log"):
        environment = {"CARESEAL_PASSPHRASE": PASSPHRASE}

        def die_once_it_is_sent() -> None:
            def wait(self, look, seconds=0):
                os.kill(os.getpid(), signal.SIGKILL)

            anchoring.link.Link.wait = wait

        assert forked.run("seal", "--home", sealed.home, before=die_once_it_is_sent, environment=environment).killed
        sealed.ok("seal")
        sealed.ok("verify")
        sealed.ok("seal")
    sealed.settle()


@pytest.mark.slow
def test_a_node_that_is_killed_at_any_time_loses_no_checkpoint(sealed):
    for number in range(12):
        update(sealed, number)
        with served(sealed.chain, sealed.folder / "node.log") as node:
            with (sealed.folder / "out").open("wb") as out:
                child = forked.start("seal", "--home", sealed.home, out=out, err=out, environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
            time.sleep(0.01 * number)
            os.kill(node, signal.SIGKILL)
            os.waitpid(node, 0)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) in (0, 2), (sealed.folder / "out").read_text()
        assert "Traceback" not in (sealed.folder / "out").read_text()
    sealed.settle()


@pytest.mark.slow
def test_home_and_node_killed_together_at_any_time_lose_nothing(sealed):
    for number in range(12):
        sealed.change([(UPDATE.format(number),), (f"INSERT INTO visit VALUES ({100 + number}, 'p1', NULL)",)])
        with served(sealed.chain, sealed.folder / "node.log") as node:
            with (sealed.folder / "out").open("wb") as out:
                child = forked.start("seal", "--home", sealed.home, out=out, err=out, environment={"CARESEAL_PASSPHRASE": PASSPHRASE})
            time.sleep(0.012 * number)
            for process in (child, node):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        if number % 4 == 3:
            sealed.settle()
    sealed.settle()


def test_a_second_writer_waits_or_is_told_so(sealed):
    with sealed.opened():
        line = sealed.refused("seal", before=impatient)
        assert "another process is writing" in line
    update(sealed, 1)
    with (sealed.folder / "out").open("w+b") as out:
        environment = {"CARESEAL_PASSPHRASE": PASSPHRASE}
        children = [forked.start("seal", "--home", sealed.home, out=out, err=out, environment=environment) for _ in range(3)]
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (sealed.folder / "out").read_text()
    sealed.settle()


def impatient() -> None:
    import ledger.home

    real = ledger.home.exclusive
    ledger.home.exclusive = lambda path, wait, *name: real(path, 0.1, *name)


def test_several_homes_publish_on_one_chain_at_the_same_time(place):
    worlds = []
    for name in ("one", "two", "three"):
        (place / name).mkdir()
        world = World(place / name, name=name)
        world.chain = place / "chain"
        world.more = ("--chain", world.chain, "--mirror", world.mirror)
        worlds.append(world.init().attach())
    for served_by_a_node in (False, True):
        for world in worlds:
            world.change([(UPDATE.format(served_by_a_node),)])
        if served_by_a_node:
            with served(worlds[0].chain, worlds[0].folder / "node.log"):
                seal_together(worlds)
        else:
            seal_together(worlds)
    for number, world in enumerate(worlds, 1):
        assert world.setting("institution") == number
        world.settle()


def seal_together(worlds) -> None:
    environment = {"CARESEAL_PASSPHRASE": PASSPHRASE}
    with (worlds[0].folder / "out").open("w+b") as out:
        children = [forked.start("seal", "--home", world.home, out=out, err=out, environment=environment) for world in worlds]
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (worlds[0].folder / "out").read_text()


def test_the_contract_refuses_a_rewritten_history_and_the_home_keeps_its_own(sealed):
    update(sealed, 1)
    sealed.ok("seal")
    with sealed.opened() as home, linked(home) as link:
        bodies = [body for part in home.journal.bodies(0, home.journal.size) for body in part]
        bodies[1] = bodies[2]
        tiles = Tiles()
        size = append(tiles, 0, [leaf_hash(body) for body in [*bodies, bodies[0]]])
        tree, start = Tree(tiles), link.head().last.size
        forged = link.journals.publish(0, start, size, tree.root(size), tree.consistency_proof(start, size), nonce=link.nonce())
        with pytest.raises(ContractRefused, match="history rewritten"):
            link.send(forged)
    shutil.copytree(sealed.home, sealed.folder / "kept")
    with sealed.opened() as home, home.store.transaction() as db:
        db.execute("UPDATE entries SET body=(SELECT body FROM entries WHERE idx=2) WHERE idx=1")
        append(StoredTiles(db), 0, [leaf_hash(body) for body in bodies])
    update(sealed, 2)
    assert "not the one on the chain" in sealed.refused("seal")
    assert sealed.run("verify").code == 1
    shutil.rmtree(sealed.home)
    (sealed.folder / "kept").rename(sealed.home)
    sealed.ok("seal")


class Tiles:
    """Tiles in memory."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[int, int], bytes] = {}

    def read(self, level: int, index: int) -> bytes:
        return self._hashes.get((level, index), b"")

    def write(self, level: int, index: int, hashes: bytes) -> None:
        self._hashes[level, index] = hashes


def test_another_chain_behind_the_same_address_is_noticed(sealed, place):
    (place / "other").mkdir()
    other = World(place / "other").init()
    with served(other.chain, other.folder / "node.log"):
        sealed.set("chain", read_endpoint(other.chain)["url"])
        for command in ("seal", "verify", "status"):
            assert "the chain has id" in sealed.refused(command)


def test_a_chain_that_was_put_back_gets_the_lost_checkpoints_again(sealed):
    shutil.copytree(sealed.chain, sealed.folder / "old-chain")
    for number in range(2):
        update(sealed, number)
        sealed.ok("seal")
    shutil.rmtree(sealed.chain)
    (sealed.folder / "old-chain").rename(sealed.chain)
    outcome = sealed.run("verify", "--json")
    assert outcome.code == 1
    (finding,) = outcome.json["findings"]
    assert finding["kind"] == "rolled_back" and "the chain was rolled back" in finding["detail"]
    sealed.settle()


def test_nothing_to_publish_is_no_transaction(sealed):
    count = len(sealed.checkpoints())
    with sealed.opened() as home, linked(home) as link:
        block = link.w3.eth.block_number
        assert publish(home, link) == []
        assert link.w3.eth.block_number == block
    assert len(sealed.checkpoints()) == count
