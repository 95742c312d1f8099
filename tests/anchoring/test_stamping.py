"""Time stamps from end to end: obtained with a seal, kept with the receipt, in mirror and backup, and checked for an auditor."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from authority import POLICY, Authority, replies, serving
from world import World, kill_everywhere

import anchoring.stamping
import anchoring.tsa
import api.worker
from anchoring import token as der
from anchoring.receipt import read_receipt, stamped_digest
from anchoring.stamping import MOST_TSAS, first_covering, kept_receipt
from ledger import canonical

REFUSED_ADDRESS = "http://user:secret@127.0.0.1/"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def tsa(authority):
    with serving(replies(authority.answer)) as server:
        yield server


@pytest.fixture
def root(authority, place):
    return authority.pem(place / "root.pem")


@pytest.fixture
def stamped(world, tsa):
    """A hospital whose baseline is sealed and stamped."""
    world.ok("seal", "--tsa", tsa.url)
    return world


def receipt(world: World):
    """The last receipt that a seal wrote into the home."""
    return sorted((world.home / "receipts").iterdir())[-1]


def kept(world: World) -> list[tuple]:
    return world.rows("SELECT generation, size, receipt FROM timestamps ORDER BY size", "ledger.db")


# Sealing


def test_a_seal_has_its_receipt_stamped_and_the_home_keeps_it(world, tsa, root):
    outcome = world.ok("seal", "--tsa", tsa.url, "--json")
    assert outcome.err == "" and outcome.json["timestamp"]["tsa"] == "CN=Test TSA" and outcome.json["timestamp"]["policy"] == POLICY
    data = receipt(world).read_bytes()
    values = json.loads(data)
    stamp = values.pop("timestamp")
    ((_generation, size, stored),) = kept(world)
    assert stored == data and size == values["size"] == outcome.json["size"]
    # What was sent is the digest of the signed receipt, and a nonce of 64 random bits.
    asked = [der.decode_der(der.Request, body) for body, _headers, _path in tsa.asked]
    assert [one.imprint.digest for one in asked] == [sha256(canonical.encode(values)).digest()] == [stamped_digest(data)]
    world.change()
    world.ok("seal")
    nonces = {der.decode_der(der.Request, body).nonce for body, _headers, _path in tsa.asked}
    assert len(nonces) == 2 and all(0 < nonce < 2**64 for nonce in nonces)
    assert read_receipt(receipt(world)).token.hex() != stamp and len(kept(world)) == 2
    world.settle()


def test_a_seal_without_a_tsa_asks_nobody(sealed):
    assert sealed.ok("seal", "--json").json["timestamp"] is None
    assert "timestamp" not in json.loads(receipt(sealed).read_bytes()) and kept(sealed) == []


def test_a_checkpoint_is_stamped_once(stamped, tsa):
    first = receipt(stamped).read_bytes()
    outcome = stamped.ok("seal", "--json")
    assert len(tsa.asked) == 1 and receipt(stamped).read_bytes() == first and outcome.json["timestamp"]["tsa"] == "CN=Test TSA"


def test_tsas_are_remembered_changed_and_forgotten(world, tsa, authority):
    with serving(replies(authority.answer)) as other:
        world.ok("seal", "--tsa", tsa.url)
        assert world.setting("tsa") == [tsa.url] == world.ok("status", "--json").json["tsa"]
        world.change()
        world.ok("seal", "--tsa", other.url, "--tsa", tsa.url)
        assert (len(tsa.asked), len(other.asked), world.setting("tsa")) == (1, 1, [other.url, tsa.url])
        assert f"time stamps by {other.url}, {tsa.url}: the latest checkpoint is stamped" in world.ok("status").out
        world.change([("UPDATE visit SET note='later' WHERE visit_id=1",)])
        world.ok("seal", "--no-tsa")
        assert (len(tsa.asked), len(other.asked), world.setting("tsa")) == (1, 1, [])
        assert world.ok("status", "--json").json["stamped"] is False
    world.settle()


def test_tsas_can_be_named_when_the_home_is_made(place, tsa):
    (place / "hospital").mkdir()
    world = World(place / "hospital")
    world.more += ("--tsa", tsa.url)
    world.init().attach().ok("seal")
    assert len(tsa.asked) == 1 and len(kept(world)) == 1


def test_what_cannot_be_a_tsa_is_refused_and_changes_nothing(world):
    many = [word for _ in range(MOST_TSAS + 1) for word in ("--tsa", "http://127.0.0.1/")]
    for words, said in (
        (("--tsa", REFUSED_ADDRESS), "must hold no user"), (("--tsa", "tsa.example.com"), "a TSA is named by its address"),
        (("--tsa", "http://127.0.0.1/", "--no-tsa"), "exclude each other"), (many, f"at most {MOST_TSAS} TSAs"),
    ):  # fmt: skip
        line = world.refused("seal", *words)
        assert said in line and "secret" not in line
        assert world.setting("tsa") == []
    assert world.run("init", "--name", "X", "--tsa", REFUSED_ADDRESS).code == 2


def test_addresses_edited_by_hand_are_noticed(stamped):
    settings = json.loads((stamped.home / "home.json").read_bytes())
    (stamped.home / "home.json").write_text(json.dumps(settings | {"tsa": ["http://evil.example/"]}))
    assert "was changed by hand" in stamped.refused("seal")


# A TSA that fails


def bent(authority, **changes):
    return replies(lambda body: authority.answer(body, **changes))


FAULTS = {
    "an HTTP error": (lambda a: replies(lambda body: b"", 503), "HTTP 503"),
    "a redirect": (lambda a: replies(lambda body: b"", 302, Location="http://127.0.0.1:1/"), "leads elsewhere"),
    "an oversized answer": (lambda a: replies(lambda body: bytes(1 << 20)), "more than 65536 bytes"),
    "garbage": (lambda a: replies(lambda body: b"\x30\x82\xff\xff<html>"), "token: the answer is no time stamp response"),
    "no bytes": (lambda a: replies(lambda body: b""), "token: the answer is no time stamp response"),
    "a refusal": (lambda a: bent(a, status=2), "status: the TSA refused to stamp, with status 2"),
    "another nonce": (lambda a: bent(a, nonce=5), "nonce: "),
    "another digest": (lambda a: bent(a, digest=bytes(32)), "imprint: "),
    "another hash": (lambda a: bent(a, imprint_hash=der.SHA512), "imprint: "),
    "SHA-1": (lambda a: bent(a, signer_hash="sha1"), "signature: its hash algorithm"),
    "another's signature": (lambda a: bent(a, signing_key=Authority().key), "signature: "),
    "no certificate": (lambda a: bent(a, certificates=[]), "signature: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tsa_that_fails_costs_a_warning_and_the_next_seal_catches_up(world, authority, tsa, root, fault):
    make, words = FAULTS[fault]
    tsa.behave = make(authority)
    outcome = world.ok("seal", "--tsa", tsa.url, "--json")
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"warning: no time stamp from {tsa.url}: ") and words in line and "the next seal asks again" in line
    assert outcome.json["timestamp"] is None and outcome.json["block"] is not None and kept(world) == []
    assert world.rows("SELECT count(*) FROM checkpoints WHERE block IS NULL", "ledger.db") == [(0,)]
    plain = receipt(world).read_bytes()
    assert world.ok("verify", "--since", receipt(world), "--json").json["timestamps"] == []
    # The audit above is an entry of its own: the checkpoint of the next seal commits to all that the outage left without a stamp.
    tsa.behave = replies(authority.answer)
    again = world.ok("seal", "--json")
    assert again.err == "" and again.json["timestamp"] is not None and len(kept(world)) == 1
    assert again.json["size"] > json.loads(plain)["size"]
    with world.opened() as home:
        assert first_covering(home, 0) == kept_receipt(home, 0, again.json["size"]) == receipt(world).read_bytes()
        assert first_covering(home, again.json["size"]) is None and kept_receipt(home, 0, 1) is None
    assert world.ok("verify", "--since", receipt(world), "--tsa-cert", root, "--json").json["timestamps"][0]["stamp"] is not None
    world.settle()


def test_a_seal_with_nothing_new_catches_up_for_the_latest_checkpoint(world, authority, tsa):
    world.ok("seal", "--tsa", "http://127.0.0.1:1/")
    plain = receipt(world).read_bytes()
    assert "not stamped yet" in world.ok("status").out
    outcome = world.ok("seal", "--tsa", tsa.url, "--json")
    assert (outcome.json["added"], outcome.json["size"]) == (0, json.loads(plain)["size"])
    assert json.loads(receipt(world).read_bytes()).items() > json.loads(plain).items() and len(kept(world)) == 1


def test_a_slow_tsa_is_left_and_the_next_one_asked(world, tsa):
    def impatient() -> None:
        anchoring.stamping.ask = partial(anchoring.tsa.ask, seconds=0.3)

    over = threading.Event()
    with serving(lambda handler, body: over.wait(20)) as slow:
        outcome = world.ok("seal", "--tsa", slow.url, "--tsa", tsa.url, "--json", before=impatient)
        over.set()
    assert "no answer within 0 s" in outcome.err and len(outcome.err.splitlines()) == 1 and outcome.json["timestamp"] is not None
    assert len(kept(world)) == 1


def test_a_stamp_that_was_damaged_in_the_home_is_made_anew(stamped, tsa):
    good = receipt(stamped).read_bytes()
    for damaged in (b"", b"{}", good[:-9], good.replace(b'"timestamp":"30', b'"timestamp":"31')):
        with sqlite3.connect(stamped.home / "ledger.db") as connection:
            connection.execute("UPDATE timestamps SET receipt=?", (damaged,))
        before = len(tsa.asked)
        assert stamped.ok("seal", "--json").json["timestamp"] is not None and len(tsa.asked) == before + 1


def test_killed_at_any_step_it_loses_no_seal_and_no_stamp(stamped, tsa):
    stamped.change()

    def check() -> None:
        stamped.settle()
        stamped.ok("seal")
        sizes = [size for _generation, size, _data in kept(stamped)]
        assert sizes[-1] == stamped.checkpoints()[-1][0]

    assert kill_everywhere(stamped, "seal", check=check, stride=13) > 20


def test_run_stamps_at_its_own_pace(stamped, tsa):
    rounds = ("run", "--every", "1s", "--full-audit-every", "9s", "--cycles", "3")
    stamped.change()
    assert stamped.ok(*rounds, "--stamp-every", "9d", before=no_waiting).err == "" and len(tsa.asked) == 1
    assert stamped.ok(*rounds, "--stamp-every", "0s", before=no_waiting).err == "" and len(tsa.asked) > 2
    assert receipt(stamped).read_bytes() == kept(stamped)[-1][2]
    tsa.behave = replies(lambda body: b"", 500)
    outcome = stamped.ok("run", "--every", "1s", "--full-audit-every", "9s", "--cycles", "1", "--stamp-every", "0s", before=no_waiting)
    assert outcome.err.count("warning: no time stamp") == 1 and "0 findings" in outcome.out
    stamped.settle()


def no_waiting() -> None:
    class Hasty(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return self.is_set()

    api.worker.threading = SimpleNamespace(Event=Hasty)  # the watchdog of a request waits as it does


# Mirror, backup, restore


def test_stamps_come_back_from_the_mirror_and_a_backup(stamped, tsa, root):
    stamped.ok("backup", stamped.folder / "early.backup")
    stamped.change()
    stamped.ok("seal")
    before, addresses = kept(stamped), stamped.setting("tsa")
    assert len(before) == 2
    outside = stamped.folder / "receipt.json"
    shutil.copy(receipt(stamped), outside)
    for words, remembered in ((("--backup", stamped.folder / "early.backup"), addresses), ((), [])):
        shutil.rmtree(stamped.home)
        stamped.ok("restore", "--kit", stamped.kit, *words)
        assert kept(stamped)[:2] == before and stamped.setting("tsa") == remembered
        assert stamped.ok("verify", "--since", outside, "--tsa-cert", root).out.count("existed at") == 1
    stamped.ok("seal", "--new-mirror", stamped.folder / "second", "--tsa", tsa.url)
    stamped.mirror = stamped.folder / "second"
    stamped.settle()


# The auditor


def test_an_auditor_with_the_certificate_is_shown_the_proven_time(stamped, root):
    out = stamped.ok("verify", "--since", receipt(stamped), "--tsa-cert", root).out
    assert f"{receipt(stamped)} existed at 20" in out and "stamped by CN=Test TSA under policy " + POLICY in out and "INTACT" in out
    found = stamped.ok("verify", "--since", receipt(stamped), "--tsa-cert", root, "--tsa-policy", POLICY, "--json").json
    (one,) = found["timestamps"]
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    shown = json.loads(page.partition("### A time stamp\n")[2].partition("```json\n")[2].partition("```")[0])
    assert one["receipt"] == str(receipt(stamped)) and one.keys() == shown.keys()
    assert {name: type(value) for name, value in one["stamp"].items()} == {name: type(value) for name, value in shown["stamp"].items()}
    assert found["externally_anchored"] is True


def test_without_a_certificate_the_output_says_that_the_stamp_was_not_checked(stamped):
    out = stamped.ok("verify", "--since", receipt(stamped)).out
    assert "was not checked: give --tsa-cert" in out and "existed at" not in out
    found = stamped.ok("verify", "--since", receipt(stamped), "--json").json
    assert found["timestamps"] == [{"receipt": str(receipt(stamped)), "stamp": None}]


def test_a_stamp_that_does_not_hold_is_refused_by_name(stamped, authority, root, place):
    values, edited = json.loads(receipt(stamped).read_bytes()), stamped.folder / "edited.json"
    other = Authority(name="Other")
    untrusted = other.pem(place / "other.pem")

    def refused(token: bytes | None, words: str, *options: object) -> None:
        edited.write_bytes(canonical.encode(values | {"timestamp": token.hex()} if token is not None else values))
        line = stamped.refused("verify", "--since", edited, "--tsa-cert", *(options or (root,)))
        assert f"the time stamp of the receipt {edited} proves nothing: {words}" in line

    token = bytes.fromhex(values["timestamp"])
    digest = stamped_digest(receipt(stamped).read_bytes())
    refused(None, "certificate: ", untrusted)
    refused(None, "policy: ", root, "--tsa-policy", "1.2.3")
    refused(authority.token(sha256(b"other").digest()), "imprint: ")
    refused(other.token(digest), "certificate: ")
    refused(b"", "token: ")
    refused(token[:-1], "token: ")
    refused(token[:-1] + bytes([token[-1] ^ 1]), "signature: ")
    del values["timestamp"]
    refused_without = stamped.folder / "without.json"
    refused_without.write_bytes(canonical.encode(values))
    assert "has no time stamp" in stamped.refused("verify", "--since", refused_without, "--tsa-cert", root)


@pytest.mark.parametrize("damage", [None, [], 7, "30zz", "3", "AB", {"a": 1}, True], ids=str)
def test_a_receipt_whose_stamp_is_no_hex_is_refused(stamped, damage):
    edited = stamped.folder / "edited.json"
    edited.write_bytes(canonical.encode(json.loads(receipt(stamped).read_bytes()) | {"timestamp": damage}))
    assert "is not a Careseal receipt, or it was changed" in stamped.refused("verify", "--since", edited)


def test_certificates_that_cannot_be_read_or_used_are_refused(stamped, root):
    since = ("--since", receipt(stamped))
    assert "cannot read the certificates" in stamped.refused("verify", *since, "--tsa-cert", stamped.folder / "nowhere.pem")
    assert "holds no certificates in PEM" in stamped.refused("verify", *since, "--tsa-cert", receipt(stamped))
    for words in (("--tsa-cert", root), (*since, "--tsa-policy", POLICY)):
        assert "--tsa-cert needs --since" in stamped.refused("verify", *words)


def test_a_stamped_receipt_still_finds_a_rollback(stamped, root, place):
    saved = stamped.save()
    stamped.change()
    stamped.ok("seal", "--receipt", place / "kept.json")
    stamped.put_back(saved)
    outcome = stamped.run("verify", "--since", place / "kept.json", "--tsa-cert", root, "--json")
    kinds = {one["kind"] for one in outcome.json["findings"]}
    assert outcome.code == 1 and "rolled_back" in kinds and outcome.json["timestamps"][0]["stamp"]


def test_messages_are_there_in_chinese(stamped, root, tsa):
    tsa.behave = replies(lambda body: b"", 503)
    stamped.change()
    outcome = stamped.run("seal", "--lang", "zh")
    assert outcome.code == 0 and "警告" in outcome.err and "时间戳" in outcome.err, outcome
    first = min((stamped.home / "receipts").iterdir())
    assert "时间戳" in stamped.ok("verify", "--since", first, "--tsa-cert", root, "--lang", "zh").out
    assert "没有时间戳" in stamped.refused("verify", "--since", receipt(stamped), "--tsa-cert", root, "--lang", "zh")
