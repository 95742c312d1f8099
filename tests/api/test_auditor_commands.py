"""An outside auditor at the command line: grants, audits of an institution by a ledger's copy and accounts that read, signed reports."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import forked
import pytest
from forked import quick_keys
from test_findings_commands import behind
from world import PASSPHRASE, World, needs_font

from api.pdf_font import FONT_VARIABLE
from ledger.home import Home
from ledger.seal import seal

OWN = "the auditor's own"
FILES = ["report.en.pdf", "report.json", "report.zh.pdf", "signature.json"]


def auditor(world: World, name: str = "Zhou") -> Path:
    """An auditor's home, whose key is registered."""
    home = world.folder / name
    made = forked.here("auditor", "init", "--home", home, "--name", name, environment={"CARESEAL_KEY_PASSPHRASE": OWN})
    assert made.code == 0, made
    world.ok("person add", home / "public.json", "--role", "auditor")
    return home


def grant(world: World, home: Path, *options: object) -> forked.Outcome:
    """Grant, and take the file."""
    file = world.folder / f"{home.name}.access"
    made = world.ok("audit-access grant", "--to", home / "public.json", "--until", "2199-12-31", "-o", file, *options)
    taken = forked.here("auditor", "take", file, "--home", home, environment={"CARESEAL_KEY_PASSPHRASE": OWN})
    assert taken.code == 0, taken
    return made


def shown(world: World, folder: Path | None = None) -> list[object]:
    """The options that say where everything is: what the institution shows now, or what was copied to a folder."""
    database, ledger = (world.database, world.home / "ledger.db") if folder is None else (folder / "his.db", folder / "ledger.db")
    return ["--source", f"sqlite:///{database}", "--ledger", f"sqlite:///{ledger}"]


def verify(
    world: World, home: Path, *options: object, places: list[object] | None = None, before=None, **environment: str
) -> forked.Outcome:
    chain = ["--network", world.home / "network.json", "--rpc", world.chain]
    words = ["verify", "--home", home, *(shown(world) if places is None else places), *chain, *options]
    environment = {"CARESEAL_KEY_PASSPHRASE": OWN, **environment}
    return forked.here(*words, environment=environment) if before is None else forked.run(*words, environment=environment, before=before)


@pytest.fixture
def granted(sealed: World) -> tuple[World, Path]:
    home = auditor(sealed)
    grant(sealed, home)
    sealed.ok("seal")
    return sealed, home


@needs_font
def test_an_audit_from_outside_and_its_report(granted):
    world, home = granted
    first = verify(world, home)
    assert (first.code, first.out.splitlines()[-1]) == (0, "INTACT")
    behind(world, "UPDATE visit SET note='forged' WHERE visit_id=1")
    found = verify(world, home, "--values", "--json", "--report", world.folder / "report")
    assert found.code == 1 and sorted(path.name for path in (world.folder / "report").iterdir()) == FILES
    told = json.loads((world.folder / "report" / "report.json").read_bytes())
    assert {name: found.json[name] for name in told} == told
    ((altered,), institution) = told["findings"], told["institution"]
    assert (altered["kind"], altered["key"], altered["columns"]) == ("altered", {"visit_id": 1}, ["note"])
    assert altered["before"] == {"note": "first"} if altered.get("before") else True
    assert told["result"] == "findings" and institution == {"id": 1, "name": world.name}
    assert told["journal"]["anchored"]["size"] == told["journal"]["size"]
    assert str(world.folder).encode() not in (world.folder / "report" / "report.json").read_bytes()
    checked = forked.here("auditor", "check", world.folder / "report", environment={})
    assert checked.code == 0 and "signed by Zhou, fingerprint" in checked.out


@needs_font
def test_a_second_auditor_makes_the_same_report_later(granted):
    """From the same ledger and database, as of the same block, in another language, although the chain went on."""
    world, zhou = granted
    sun = auditor(world, "Sun")
    grant(world, sun)
    behind(world, "UPDATE visit SET note='forged' WHERE visit_id=1")
    world.ok("seal")
    kept, first, second = (world.folder / name for name in ("kept", "first", "second"))
    kept.mkdir()
    shutil.copy(world.home / "ledger.db", kept)
    with closing(sqlite3.connect(world.database)) as database:
        database.execute("VACUUM INTO ?", (str(kept / "his.db"),))
    made = verify(world, zhou, "--report", first, "--json", places=shown(world, kept))
    assert made.code == 1
    with closing(sqlite3.connect(world.database)) as database, database:
        database.execute("INSERT INTO visit VALUES (90, 'p1', 'later')")
    world.ok("seal")
    block = str(made.json["chain"]["block"])
    again = verify(world, sun, "--report", second, "--block", block, places=shown(world, kept), CARESEAL_LANG="zh")
    assert again.code == 1, again
    for name in FILES[:3]:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    same = forked.here("auditor", "check", first, second, environment={})
    assert same.code == 0 and same.out.splitlines()[-1] == "the reports are the same, byte for byte"
    # Without the block it is another report: by now the chain has more than the kept ledger.
    later = verify(world, sun, "--report", world.folder / "third", "--json", places=shown(world, kept))
    assert "rolled_back" in [finding["kind"] for finding in later.json["findings"]]
    differ = forked.here("auditor", "check", first, world.folder / "third", environment={})
    assert differ.code == 1 and differ.out.splitlines()[-1] == "the reports differ"


@needs_font
def test_a_changed_report_is_told(granted):
    world, home = granted
    folder = world.folder / "report"
    assert verify(world, home, "--report", folder).code == 0
    for name in FILES:
        kept = (folder / name).read_bytes()
        for changed in (kept[:-3], kept.replace(b"1", b"2"), b"", b"[" * 70_000):
            (folder / name).write_bytes(changed)
            checked = forked.here("auditor", "check", folder, environment={})
            assert checked.code == 1 and checked.line(), name
        (folder / name).unlink()
        assert forked.here("auditor", "check", folder, environment={}).code == 2
        (folder / name).write_bytes(kept)
    assert forked.here("auditor", "check", folder, environment={}).code == 0
    assert "exists already" in verify(world, home, "--report", folder).line()


@needs_font
def test_rows_that_could_not_be_checked_are_no_success(granted):
    world, home = granted
    with closing(sqlite3.connect(world.database)) as database, database:
        database.execute("INSERT INTO visit VALUES (90, 'p1', 'later')")
    world.ok("seal")
    seen = verify(world, home)
    assert seen.code == 2 and seen.out.splitlines()[-1] == "NOT ALL ROWS COULD BE CHECKED"
    assert "1 rows were sealed after the secrets were given: ask the institution for careseal audit-access issue" in seen.out
    file = world.folder / "again.access"
    world.ok("audit-access issue", 1, "-o", file)
    assert forked.here("auditor", "take", file, "--home", home, environment={"CARESEAL_KEY_PASSPHRASE": OWN}).code == 0
    assert verify(world, home).code == 0


@needs_font
def test_what_is_not_anchored_is_no_success(granted):
    """A hospital could legitimate an altered row by an entry that it shows this auditor, and never anchors."""
    world, home = granted
    with closing(sqlite3.connect(world.database)) as database, database:
        database.execute("UPDATE visit SET note='legitimated' WHERE visit_id=1")
    with quick_keys(), Home.open(world.home, PASSPHRASE.encode) as opened:
        seal(opened, int(forked.fast_time() * 1000))
    file = world.folder / "again.access"
    world.ok("audit-access issue", 1, "-o", file)
    assert forked.here("auditor", "take", file, "--home", home, environment={"CARESEAL_KEY_PASSPHRASE": OWN}).code == 0
    seen = verify(world, home, "--report", world.folder / "report")
    assert seen.code == 2 and seen.out.splitlines()[-1] == "NOT ALL ROWS COULD BE CHECKED"
    assert "1 entries are not anchored and the institution's word alone: ask it for careseal seal" in seen.out
    told = json.loads((world.folder / "report" / "report.json").read_bytes())
    assert (told["result"], told["journal"]["unanchored"], told["findings"]) == ("unchecked", 1, [])
    world.ok("seal")
    assert verify(world, home).code == 0


def test_grants_are_listed_and_revoked(sealed: World):
    assert sealed.ok("audit-access list").out == "no audit access was granted\n"
    home = auditor(sealed)
    assert "only the auditor" not in grant(sealed, home, "--tables", "visit").out
    listed = sealed.ok("audit-access list")
    assert "1  Zhou: visit, until 2199-12-31T23:59:59Z" in listed.out and "given: secrets of" in listed.out
    (one,) = sealed.ok("audit-access list", "--json").json["grants"]
    assert (one["tables"], one["revoked"], len(one["issues"])) == (["visit"], None, 1)
    sealed.ok("audit-access revoke", 1, "--reason", "the audit is over")
    assert "revoked in journal entry" in sealed.ok("audit-access list").out
    assert "was revoked" in sealed.refused("audit-access issue", 1, "-o", sealed.folder / "more.access")
    assert "was revoked" in verify(sealed, home).line()
    assert not list(sealed.folder.glob(".*.part"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "Zhou", "--until", "soon"), "--until soon: write YYYY-MM-DD"),
        (("--to", "Zhou", "--until", "2020-01-01"), "--until lies in the past"),
        (("--to", "Nobody", "--until", "2199-01-01"), "no registered person Nobody"),
        (("--to", "Zhou", "--until", "2199-01-01", "--tables", "visit,nothing"), "table nothing is not attached"),
    ],
)
def test_a_wrong_grant_is_refused(sealed: World, options, words: str):
    auditor(sealed)
    assert words in sealed.refused("audit-access grant", *options, "-o", sealed.folder / "made.access")
    assert sealed.ok("audit-access list", "--json").json == {"grants": []} and not (sealed.folder / "made.access").exists()


def test_an_expired_grant_is_refused(granted):
    world, home = granted

    def late() -> None:
        time.time = lambda: 9e9

    made = verify(world, home, before=late)
    assert made.code == 2 and "audit access 1, of Zhou, has expired: ask the institution for a new grant" in made.line()


def test_a_grant_ends_by_the_chains_time_too(sealed):
    """An auditor whose clock is set back, or wrong, opens nothing after the day."""
    home, day = auditor(sealed), 86_400
    until = time.strftime("%Y-%m-%d", time.gmtime(forked.fast_time() + day))
    file = sealed.folder / "short.access"
    sealed.ok("audit-access grant", "--to", home / "public.json", "--until", until, "-o", file)
    assert forked.here("auditor", "take", file, "--home", home, environment={"CARESEAL_KEY_PASSPHRASE": OWN}).code == 0
    sealed.ok("seal")
    assert verify(sealed, home).code == 0

    def three_days_later() -> None:
        time.time = lambda: forked.fast_time() + 3 * day

    sealed.change()
    sealed.ok("seal", before=three_days_later)
    made = verify(sealed, home)
    assert made.code == 2 and "audit access 1, of Zhou, has expired" in made.line()


def test_what_an_auditor_gives_wrongly_is_told_in_one_line(granted):
    world, home = granted
    other = world.folder / "other.json"
    other.write_text((world.home / "network.json").read_text().replace('"chain_id": ', '"chain_id": 1'))
    wrong = [
        (verify(world, home, places=[]), "an auditor gives --source, --ledger, --network and --rpc"),
        (verify(world, home, "--table", "nothing"), "table nothing is not among the granted ones"),
        (verify(world, home, "--block", "99999"), "block 99999 is not there, or never was the newest that counted"),
        (verify(world, home, "--network", other), "check --network"),
        (verify(world, home, "--rpc", "http://127.0.0.1:9"), "cannot be reached"),
        (verify(world, home, places=[*shown(world)[:3], "sqlite:////nowhere"]), "there is no ledger /nowhere"),
        (verify(world, home, places=["--source", "sqlite:////nowhere", *shown(world)[2:]]), "no database file /nowhere"),
        (verify(world, home, "--since", other), "--since and --tsa-cert are for an institution's own home"),
        (verify(world, home, CARESEAL_KEY_PASSPHRASE="wrong one"), "wrong passphrase"),
        (world.run("verify", "--rpc", "http://127.0.0.1:9"), "are for an auditor's home"),
        (world.run("verify", "--ledger", "sqlite:////x"), "are for an auditor's home"),
        (forked.here("auditor", "take", other, "--home", world.home, environment={}), "is no auditor's home, it is an institution's"),
        (forked.here("auditor", "check", world.folder / "nothing", environment={}), "cannot read"),
    ]
    for outcome, words in wrong:
        assert outcome.code == 2 and words in outcome.line(), (words, outcome)
    assert list((home / "reports").iterdir()) == []


def test_without_a_font_the_signed_report_is_there_all_the_same(granted, tmp_path: Path):
    world, home = granted
    broken = tmp_path / "font.ttf"
    broken.write_bytes(b"no font")
    made = verify(world, home, "--report", world.folder / "report", **{FONT_VARIABLE: str(broken)})
    assert made.code == 2 and "has the signed report, but not as PDF" in made.err and made.out.splitlines()[-1] == "INTACT"
    checked = forked.here("auditor", "check", world.folder / "report", "--json", environment={})
    assert checked.code == 0 and list(checked.json["reports"][0]["files"]) == ["report.json"]
    assert verify(world, home, "--no-pdf", "--report", world.folder / "other", **{FONT_VARIABLE: str(broken)}).code == 0
    assert sorted(path.name for path in (world.folder / "other").iterdir()) == ["report.json", "signature.json"]
