"""A monitor over journals of an institution that cheats: it anchors and shows whatever it likes, on a real chain."""

from __future__ import annotations

import hmac
import json
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from copy import copy
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import forked
import pytest
from authority import HEAD, raw, serving
from forked import quick_keys
from hypothesis import given
from hypothesis import strategies as st
from world import PASSPHRASE, World

from anchoring import alarms, log_source, monitor_state, record_heads
from anchoring.alarms import SIGNATURE, AlarmKind
from anchoring.errors import AnchoringError, JournalUnavailable, MonitorStateInvalid
from anchoring.founding import sealer_key
from anchoring.link import open_link
from anchoring.log_folder import About, encode_about, origin
from anchoring.log_source import FolderSource, HttpSource
from anchoring.monitor import Monitor, Round
from anchoring.monitor_state import Edge
from anchoring.network import NETWORK, read_network
from anchoring.note import LogCheckpoint, sign, verifier_of
from anchoring.record_heads import RecordHeads, plain
from anchoring.tlog import lay_out
from ledger.errors import WireError
from ledger.home import read_keyring, read_settings
from ledger.tree import Tree, append, leaf_hashes
from ledger.wire import EventEntry, Flag, Kind, RecordEntry, decode_entry, encode_event, encode_record
from node.client import connect
from node.server import serve

SEED = b"\x07" * 32
DAY, STALE = 86_400.0, AlarmKind.STALE


def entry(record: int, version: int = 1, previous: int | None = None, kind: Kind = Kind.WRITTEN, table: int = 1) -> bytes:
    content = kind is not Kind.DELETED
    digest = record.to_bytes(32, "big") if content else bytes(32)
    return encode_record(
        kind, 1_790_000_000_000, table, int(Flag.CONTENT) if content else 0, record.to_bytes(16, "big"), version, previous,
        bytes(16), bytes(8), 1, digest, digest, 3 if content else 0, bytes(12) if content else b"",
    )  # fmt: skip


class Member:
    """The one institution of a chain, which anchors and shows journals of its own making, each in a new generation of nobody's."""

    def __init__(self, folder) -> None:
        self.world = World(folder)
        self.world.init()
        self.network = read_network(self.world.chain / NETWORK)
        with quick_keys():
            self.key = read_keyring(self.world.home, PASSPHRASE.encode()).sealing
            self.sealer = sealer_key(self.world.chain, PASSPHRASE.encode)()
        self.entries: list[bytes] = []
        self.size = 0

    def anchor(self, entries: list[bytes]) -> None:
        """Anchor `entries` after what is anchored already."""
        self.entries = self.entries[: self.size] + entries
        edge = _Whole()
        size = append(edge, 0, leaf_hashes(self.entries))
        tree = Tree(edge)
        settings = replace(read_settings(self.world.home), chain=str(self.world.chain))
        with open_link(settings, self.key, lambda: self.sealer, forked.fast_time) as link:
            proof = tree.consistency_proof(self.size, size)
            link.send(link.journals.publish(0, self.size, size, tree.root(size), proof, nonce=link.nonce()))
        self.size = size

    def copied(self, folder) -> Member:
        """The same with a chain of its own, in another folder."""
        other = copy(self)
        shutil.copytree(self.world.folder, folder)
        other.world = World(folder)
        return other

    def show(self, folder, entries: list[bytes] | None = None, seed: bytes = SEED, size: int | None = None) -> FolderSource:
        """An export of `entries`, which claims `size` of them."""
        shown = self.entries if entries is None else entries
        runs = [shown[start : start + 256] for start in range(0, len(shown), 256)]

        def put(path: str, content: bytes) -> None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

        root = lay_out(runs, put)
        name = origin(self.network.chain_id, "0x" + self.network.journals.hex(), 1, 0)
        about = About(self.network.chain_id, "0x" + self.network.journals.hex(), 1, 0, verifier_of(name, seed), None, None)
        put("log.json", encode_about(about))
        put("checkpoint", sign(LogCheckpoint(name, len(shown) if size is None else size, root), seed))
        return FolderSource(folder)

    def watch(self, state, source, *, max_lag: float = 1000 * DAY, now: float | None = None) -> Round:
        """A round of a monitor."""
        sources = {} if source is None else {(1, 0): source}
        with connect(self.world.chain, None, forked.fast_time) as w3, monitor_state.opened(state, "here") as kept:
            return Monitor(w3, self.network, kept, sources, max_lag).round(forked.fast_time() if now is None else now)


class _Whole(dict):
    def read(self, level, index):
        return self.get((level, index), b"")

    def write(self, level, index, hashes):
        self[level, index] = hashes


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitor") / "w"
    folder.mkdir()
    member = Member(folder)
    member.anchor([entry(number) for number in range(300)])
    member.anchor([entry(5, 2, 5, Kind.AMENDED), encode_event(EventEntry(Kind.AUDIT, 1, bytes(32)))])
    member.anchor([entry(5, 3, 300, Kind.DELETED), entry(5, 4, 302), entry(1000)])
    return member


@pytest.fixture
def honest(first, tmp_path):
    return first.copied(tmp_path / "member")


def kinds(seen: Round) -> list[AlarmKind]:
    return [alarm.kind for alarm, _ in seen.alarms]


def test_an_honest_journal_raises_nothing_and_is_read_once(honest, tmp_path):
    seen = honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    assert kinds(seen) == [] and (seen.entries, seen.journals[0].read, seen.journals[0].checkpoints) == (305, 305, 3)
    again = honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    assert (again.entries, kinds(again)) == (0, [])
    honest.anchor([entry(2000), entry(7, 2, 7, Kind.AMENDED)])
    more = honest.watch(tmp_path / "s", honest.show(tmp_path / "y"))
    assert kinds(more) == [] and more.journals[0].read == 307
    assert more.entries <= 256  # what came after, and no more


FORGED = [
    ("a second first version", [entry(5)], AlarmKind.REPEATED),
    ("a second first version in one run", [entry(9000), entry(9000)], AlarmKind.REPEATED),
    ("a second version twice", [entry(6, 2, 6, Kind.AMENDED), entry(6, 2, 6, Kind.AMENDED)], AlarmKind.REPEATED),
    ("a version left out", [entry(6, 3, 6, Kind.AMENDED)], AlarmKind.OUT_OF_ORDER),
    ("a wrong previous entry", [entry(6, 2, 7, Kind.AMENDED)], AlarmKind.OUT_OF_ORDER),
    ("a record that never began", [entry(7777, 2, 6, Kind.AMENDED)], AlarmKind.OUT_OF_ORDER),
    ("another table", [entry(6, 2, 6, Kind.AMENDED, table=2)], AlarmKind.OUT_OF_ORDER),
    ("amended after its deletion", [entry(6, 2, 6, Kind.DELETED), entry(6, 3, 305, Kind.AMENDED)], AlarmKind.OUT_OF_ORDER),
    ("written though it is there", [entry(6, 2, 6, Kind.WRITTEN)], AlarmKind.OUT_OF_ORDER),
    ("no entry", [b"nothing"], AlarmKind.MALFORMED),
    ("an entry of another format", [b"\2" + entry(6000)[1:]], AlarmKind.MALFORMED),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "kind"), [case[1:] for case in FORGED], ids=[case[0] for case in FORGED])
def test_what_an_institution_anchored_against_the_rules_stays_an_alarm(honest, tmp_path, entries, kind):
    honest.anchor(entries)
    seen = honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    assert kinds(seen) == [kind] and seen.journals[0].read == 305 + len(entries)
    honest.anchor([entry(3000)])
    later = honest.watch(tmp_path / "s", honest.show(tmp_path / "y"))
    assert kinds(later) == [kind] and later.alarms == seen.alarms


LATE = [[entry(6, 3, 305, Kind.AMENDED)], [entry(7777, 5, 9, Kind.AMENDED), entry(7777)]]


@pytest.mark.parametrize("late", LATE, ids=["between", "first"])
def test_a_version_that_was_left_out_and_comes_late_is_not_told_as_a_second_one(honest, tmp_path, late):
    """A monitor says that two entries are one version only where it can know it."""
    honest.anchor([entry(6, 5, 6, Kind.AMENDED), *late])
    seen = honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    assert set(kinds(seen)) == {AlarmKind.OUT_OF_ORDER} and len(kinds(seen)) == 1 + len(late)
    honest.anchor([entry(6, 5, 305, Kind.AMENDED)])
    assert AlarmKind.REPEATED in kinds(honest.watch(tmp_path / "s", honest.show(tmp_path / "y")))


@pytest.mark.parametrize("place", [0, 299, 300, 304])
def test_entries_that_are_not_the_anchored_ones_are_an_alarm_until_they_are(honest, tmp_path, place):
    shown = list(honest.entries)
    shown[place] = entry(4242)
    seen = honest.watch(tmp_path / "s", honest.show(tmp_path / "x", shown))
    assert kinds(seen) == [AlarmKind.ALTERED] and seen.journals[0].read < 305
    healed = honest.watch(tmp_path / "s", honest.show(tmp_path / "y"))
    # The institution signed two journals: that stays.
    assert AlarmKind.ALTERED not in kinds(healed) and healed.journals[0].read == 305
    assert kinds(healed) == [AlarmKind.FORKED]


def test_entries_left_out_or_in_another_order_are_not_the_anchored_ones(honest, tmp_path):
    for number, shown in enumerate(([*honest.entries[1:], entry(1)], [*honest.entries[1::-1], *honest.entries[2:]])):
        seen = honest.watch(tmp_path / f"s{number}", honest.show(tmp_path / f"x{number}", shown))
        assert kinds(seen) == [AlarmKind.ALTERED]


def test_what_is_not_authenticated_accuses_nobody_of_lasting_faults(honest, tmp_path):
    seen = honest.watch(tmp_path / "s", honest.show(tmp_path / "x", [*honest.entries[:-1], b"nothing"]))
    assert kinds(seen) == [AlarmKind.ALTERED]


def test_a_journal_that_is_shorter_missing_or_a_part_of_it_is_an_alarm_that_goes(honest, tmp_path):
    short = honest.watch(tmp_path / "s", honest.show(tmp_path / "short", honest.entries[:301]))
    assert kinds(short) == [AlarmKind.BEHIND] and short.journals[0].read == 300
    source = honest.show(tmp_path / "x")
    (tmp_path / "x" / "tile" / "entries" / "001.p" / "49").unlink()
    part = honest.watch(tmp_path / "s", source)
    assert kinds(part) == [AlarmKind.UNAVAILABLE] and part.journals[0].read == 300
    assert kinds(honest.watch(tmp_path / "s", None)) == [AlarmKind.UNAVAILABLE]
    assert kinds(honest.watch(tmp_path / "s", honest.show(tmp_path / "y"))) == []


@pytest.mark.parametrize("damage", ["truncated", "longer", "key", "signature", "other", "garbage"])
def test_damaged_files_are_unavailable_and_nothing_worse(honest, tmp_path, damage):
    honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    honest.anchor([entry(3000)])
    seed = b"\x08" * 32 if damage == "key" else SEED
    source, shown = honest.show(tmp_path / "y", seed=seed), tmp_path / "y"
    bundle, note = shown / "tile" / "entries" / "001.p" / "50", shown / "checkpoint"
    if damage == "truncated":
        bundle.write_bytes(bundle.read_bytes()[:-1])
    elif damage == "longer":
        bundle.write_bytes(bundle.read_bytes() + b"x" * 300_000)
    elif damage == "signature":
        note.write_bytes(note.read_bytes().replace(b"\n306\n", b"\n307\n"))
    elif damage == "other":
        (shown / "log.json").write_bytes((shown / "log.json").read_bytes().replace(b'"institution": 1', b'"institution": 2'))
    elif damage == "garbage":
        (shown / "log.json").write_bytes(b"[" * 60_000)
    seen = honest.watch(tmp_path / "s", source)
    assert kinds(seen) == [AlarmKind.UNAVAILABLE] and seen.journals[0].read == 305


def test_an_old_checkpoint_is_stale(honest, tmp_path):
    assert kinds(honest.watch(tmp_path / "s", honest.show(tmp_path / "x"), max_lag=DAY, now=forked.fast_time() + 3 * DAY)) == [STALE]
    assert kinds(honest.watch(tmp_path / "s", honest.show(tmp_path / "x"), max_lag=4 * DAY)) == []


def test_a_root_signed_before_its_entries_were_anchored_is_compared_when_they_are(honest, tmp_path):
    promised = [*honest.entries, entry(3000), entry(3001)]
    honest.watch(tmp_path / "s", honest.show(tmp_path / "x", promised))
    honest.anchor([entry(3000), entry(3002)])
    assert kinds(honest.watch(tmp_path / "s", honest.show(tmp_path / "y"))) == [AlarmKind.FORKED]


def test_a_killed_monitor_goes_on_where_it_was(honest, tmp_path):
    source = honest.show(tmp_path / "x")

    class Killing:
        def read(self, path, limit):
            if "001" in path:
                raise KeyboardInterrupt
            return source.read(path, limit)

    with pytest.raises(KeyboardInterrupt):
        honest.watch(tmp_path / "s", Killing())
    assert honest.watch(tmp_path / "s", source).journals[0].read == 305
    honest.anchor([entry(5)])
    source = honest.show(tmp_path / "x")
    # Killed after the round: the alarm was kept with what was read.
    with connect(honest.world.chain, None, forked.fast_time) as w3, monitor_state.opened(tmp_path / "s", "here") as kept:
        watching = Monitor(w3, honest.network, kept, {(1, 0): source}, 1000 * DAY)
        kept.settle = None
        with pytest.raises(TypeError):
            watching.round(forked.fast_time())
    assert kinds(honest.watch(tmp_path / "s", source)) == [AlarmKind.REPEATED]


def test_a_damaged_or_foreign_state_is_refused(honest, tmp_path):
    source, state = honest.show(tmp_path / "x"), tmp_path / "s"
    honest.watch(state, source)
    with pytest.raises(MonitorStateInvalid, match="another consortium"), monitor_state.opened(state, "elsewhere"):
        pass
    with monitor_state.opened(state, "here"), pytest.raises(MonitorStateInvalid, match="another monitor"):
        honest.watch(state, source)
    with sqlite3.connect(state / monitor_state.DATABASE) as db:
        db.execute("UPDATE journals SET edge=zeroblob(length(edge))")
    db.close()
    with pytest.raises(MonitorStateInvalid, match="damaged"):
        honest.watch(state, source)
    shutil.rmtree(state)
    honest.watch(state, source)
    with sqlite3.connect(state / monitor_state.DATABASE) as db:
        db.execute("UPDATE heads SET state=substr(state, 2)")
    db.close()
    honest.anchor([entry(6, 2, 6, Kind.AMENDED)])
    with pytest.raises(MonitorStateInvalid, match="damaged"):
        honest.watch(state, honest.show(tmp_path / "later"))
    (state / monitor_state.DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(MonitorStateInvalid, match="damaged"):
        honest.watch(state, source)


def test_a_state_that_read_another_chain_is_refused(honest, tmp_path):
    honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))
    with sqlite3.connect(tmp_path / "s" / monitor_state.DATABASE) as db:
        edge = Edge()
        size = append(edge, 0, leaf_hashes([entry(1)]))
        db.execute("UPDATE journals SET size=?, root=?, edge=?", (size, edge.root(size), edge.kept()))
    db.close()
    with pytest.raises(AnchoringError, match="another chain before"):
        honest.watch(tmp_path / "s", honest.show(tmp_path / "x"))


class _Server:
    """A web server for a folder that may misbehave, and that takes alarms."""

    def __init__(self, folder) -> None:
        outer = self
        self.status, self.slow, self.received, self.refuse = 200, False, [], False

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = folder / self.path.lstrip("/")
                if outer.slow:
                    time.sleep(3)
                if outer.status == 200 and path.is_file():
                    data = path.read_bytes()
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(data)
                else:
                    self.send_response(404 if outer.status == 200 else outer.status)
                    self.send_header("Location", "file:///etc/passwd")
                    self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.refuse:
                    outer.received.append((json.loads(body), self.headers[SIGNATURE], body))
                self.send_response(500 if outer.refuse else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # whoever asked may have gone
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server(tmp_path):
    made = _Server(tmp_path / "x")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_journal_is_read_from_a_web_server_that_may_misbehave(honest, tmp_path, server, monkeypatch):
    honest.show(tmp_path / "x")
    assert kinds(honest.watch(tmp_path / "s", HttpSource(server.url))) == []
    source = HttpSource(server.url)
    assert source.read("nothing", 10) is None
    with pytest.raises(JournalUnavailable, match="larger than 10 bytes"):
        source.read("checkpoint", 10)
    for status in (302, 500):
        server.status = status
        with pytest.raises(JournalUnavailable, match="cannot be fetched"):
            source.read("checkpoint", 1000)
    server.status, server.slow = 200, True
    monkeypatch.setattr(log_source, "SECONDS", 0.1)
    assert kinds(honest.watch(tmp_path / "s", HttpSource(server.url))) == [AlarmKind.UNAVAILABLE]


DRIPS = [
    raw(pause=20), raw(b"H", endless=b"T", pause=0.02), raw(HEAD, endless=b"X-A: b\r\n", pause=0.02),
    raw(HEAD + b"\r\n", endless=b"x", pause=0.02),
]  # fmt: skip


@pytest.mark.parametrize("behave", DRIPS, ids=["silent", "drips its status", "drips headers", "drips its answer"])
def test_a_dripping_server_is_left_at_the_deadline(behave, monkeypatch):
    monkeypatch.setattr(log_source, "SECONDS", 0.2)
    monkeypatch.setattr(log_source, "TRIES", 1)
    monkeypatch.setattr(alarms, "SECONDS", 0.2)
    with serving(behave) as slow:
        start = time.monotonic()
        with pytest.raises(JournalUnavailable, match="no answer within|it speaks no HTTP|it cannot be reached"):
            HttpSource(slow.url).read("checkpoint", 10_000_000)
        with suppress(JournalUnavailable):
            assert not alarms.tell(slow.url, b"{}", None) or behave is DRIPS[3]
        assert time.monotonic() - start < 2


def test_a_connection_is_kept_from_one_file_to_the_next(honest, tmp_path):
    """A journal of a million entries has four thousand files."""
    honest.show(tmp_path / "x")
    asked = []

    class Keeping(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *given):
            super().__init__(*given, directory=tmp_path / "x")

        def do_GET(self):
            asked.append(self.client_address)
            super().do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        source = HttpSource(f"http://127.0.0.1:{made.server_address[1]}/")
        assert kinds(honest.watch(tmp_path / "s", source)) == []
        assert len(asked) > 3 and len(set(asked)) == 1
        assert source.read("nothing", 10) is None and source.read("checkpoint", 1000)
        made.shutdown()


def test_alarms_are_sent_once_signed_and_again_where_they_were_not_taken(honest, tmp_path, server):
    honest.anchor([entry(5)])
    honest.show(tmp_path / "x")
    (tmp_path / "secret").write_text("a secret of some length")
    arguments = ("monitor", "--network", honest.world.chain / NETWORK, "--rpc", "URL", "--state", tmp_path / "s", "--journal",
                 f"1={tmp_path / 'x'}", "--webhook", server.url + "/hook", "--webhook-secret-file", tmp_path / "secret")  # fmt: skip
    with serve(honest.world.chain, honest.sealer, forked.fast_time) as node:
        arguments = [node.url if word == "URL" else word for word in arguments]
        server.refuse = True
        seen = forked.here(*arguments, "--json", environment={})
        assert seen.code == 1 and [alarm["kind"] for alarm in seen.json["alarms"]] == ["repeated"] and server.received == []
        server.refuse = False
        assert forked.here(*arguments, environment={}).code == 1
        assert forked.here(*arguments, environment={}).code == 1
        shown = forked.here(*arguments, environment={}).out
    ((told, signature, body),) = server.received
    assert told["kind"] == "repeated" and told["institution"] == 1 and told["id"] == seen.json["alarms"][0]["id"]
    assert signature == "sha256=" + hmac.new(b"a secret of some length", body, "sha256").hexdigest()
    assert "REPEATED  institution 1" in shown


def test_killed_anywhere_a_monitor_misses_nothing_and_tells_nothing_twice(honest, tmp_path):
    """SIGKILL at one durable step after the other, then a round that is not disturbed."""
    honest.anchor([entry(5), *[entry(number) for number in range(4000, 4600)]])
    honest.show(tmp_path / "x")
    with serve(honest.world.chain, honest.sealer, forked.fast_time) as node:
        arguments = ("monitor", "--network", honest.world.chain / NETWORK, "--rpc", node.url, "--journal", f"1={tmp_path / 'x'}", "--json")
        whole = forked.here(*arguments, "--state", tmp_path / "whole", environment={}).json
        assert [alarm["kind"] for alarm in whole["alarms"]] == ["repeated"]
        for step in range(1, 200, 3):
            state = tmp_path / str(step)
            ended = forked.run(*arguments, "--state", state, kill_at=step, environment={})
            again = forked.here(*arguments, "--state", state, environment={}).json
            assert again["journals"] == whole["journals"], step
            assert [alarm["id"] for alarm in again["alarms"]] == [alarm["id"] for alarm in whole["alarms"]], step
            if not ended.killed:
                break
        else:
            pytest.fail("it was killed every time")
    assert step > 4


def test_watching_the_wrong_chain_ends_and_does_not_go_on(honest, tmp_path):
    values = json.loads((honest.world.chain / NETWORK).read_text())
    (tmp_path / "other.json").write_text(json.dumps(values | {"block_hash": "0x" + "11" * 32}))
    with serve(honest.world.chain, honest.sealer, forked.fast_time) as node:
        arguments = ("monitor", "--network", tmp_path / "other.json", "--rpc", node.url, "--state", tmp_path / "s", "--every", "1s")
        ended = forked.here(*arguments, environment={})
    assert ended.code == 2 and "the node is of another chain than the network file" in ended.line()


def test_bad_arguments_end_with_one_line(honest, tmp_path):
    chain = honest.world.chain / NETWORK
    common = ("monitor", "--network", chain, "--state", tmp_path / "s", "--rpc", "http://127.0.0.1:1")
    assert "cannot be reached" in forked.here(*common, environment={}).line()
    assert "names no journal" in forked.here(*common, "--journal", "first=X", environment={}).line()
    (tmp_path / "short").write_text("short")
    assert "too short" in forked.here(*common, "--webhook-secret-file", tmp_path / "short", environment={}).line()
    for outcome in (forked.here(*common, "--every", "never", environment={}), forked.here(*common, "--network", "none", environment={})):
        assert outcome.code == 2 and len(outcome.err.splitlines()) == 1


GOOD = [entry(number) for number in range(3)]


@given(st.integers(0, 2), st.integers(0, len(GOOD[0]) - 1), st.integers(0, 255))
def test_what_is_taken_in_bulk_is_what_the_strict_decoder_takes(which, place, value):
    changed = list(GOOD)
    changed[which] = changed[which][:place] + bytes([value]) + changed[which][place + 1 :]
    if plain(changed) and place not in range(28, 38):
        decoded = [decode_entry(data) for data in changed]
        assert all(isinstance(one, RecordEntry) and one.kind is not Kind.DELETED for one in decoded)
        assert len({one.table for one in decoded}) == 1
    elif not plain(changed):
        with pytest.raises((WireError, AssertionError)):
            decoded = decode_entry(changed[which])
            assert (decoded.kind in (Kind.WRITTEN, Kind.AMENDED), decoded.table, decoded.flags >> 4) == (True, 1, 0)


def taken(runs: list[list[bytes]], held: int) -> list[tuple]:
    """What is told of runs of entries, and what is kept of their records, when they are taken in so many at a time."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.executescript(record_heads.SCHEMA)
    told, first = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_heads, "_HELD", held)
        with RecordHeads(db, 1, lambda kind, entry, detail: told.append((entry, kind))) as heads:
            for run in runs:
                heads.take(first, run)
                first += len(run)
            heads.flush()
    return [*sorted(told), *db.execute("SELECT record, state FROM heads ORDER BY record")]


HISTORY = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([None, 0, 1, 2, 5]), st.sampled_from([1, 1, 2]),
                    st.sampled_from([Kind.WRITTEN, Kind.AMENDED, Kind.DELETED]))  # fmt: skip


@given(st.lists(st.lists(HISTORY, min_size=1, max_size=4), max_size=5))
def test_how_entries_come_together_changes_nothing_that_is_told(runs):
    entries = [[entry(*one[:3], one[4], table=one[3]) for one in run] for run in runs]
    alone = taken([[one] for run in entries for one in run], 1)
    assert taken(entries, 1) == taken(entries, 1 << 16) == alone


@pytest.mark.parametrize(("version", "previous"), [(0, None), (0, 3), (1, 3), (2, None), (7, None)])
def test_a_version_that_contradicts_its_previous_entry_is_malformed_in_bulk_too(version, previous):
    assert taken([[entry(1), entry(2, version, previous, Kind.AMENDED), entry(3)]], 1 << 16)[0] == (1, AlarmKind.MALFORMED)


def test_bulk_refuses_lengths_and_nothing():
    assert plain(GOOD) and not plain([]) and not plain([GOOD[0], GOOD[1][:-1]]) and not plain([GOOD[0] + b"x"] * 2)
