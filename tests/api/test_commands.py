"""What commands print for programs, what they leave on disk, and what they never show."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import forked
import pytest
import typer
from world import PASSPHRASE, World

from anchoring.errors import AnchoringError, EvidenceInvalid, JournalDiverged, NetworkInvalid
from api.commands import build
from api.errors import exit_code
from api.language import set_language
from careseal import CaresealError
from contracts.calls import ContractRefused
from ledger.errors import HomeError, KeyUnavailable, LedgerError, ProofError, SourceError, WireError
from node.errors import ChainCorrupt, NodeUnreachable

ENVIRONMENT = {"CARESEAL_PASSPHRASE": PASSPHRASE}


def test_only_invalid_evidence_ends_with_1_every_other_error_with_2():
    assert exit_code(EvidenceInvalid("record", "it does not open")) == 1
    others = (CaresealError, AnchoringError, JournalDiverged, NetworkInvalid, ContractRefused, HomeError, KeyUnavailable, LedgerError,
              ProofError, SourceError, WireError, ChainCorrupt, NodeUnreachable)  # fmt: skip
    assert {exit_code(kind("reason")) for kind in others} == {2}


def commands() -> list[tuple[str, ...]]:
    set_language("en")
    found, pending = [], [((), typer.main.get_command(build()))]
    while pending:
        name, command = pending.pop()
        found.append(name)
        pending += [((*name, word), below) for word, below in getattr(command, "commands", {}).items()]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_that_explains_each_option(command):
    outcome = forked.here(*command, "--help", environment={"COLUMNS": "200"})
    assert outcome.code == 0 and "careseal" in outcome.out and outcome.err == ""
    for line in outcome.out.splitlines():
        option = re.match(r"^\W*(--[a-z-]+)\s+(.*)$", line)
        assert option is None or len(re.sub(r"[\W\d]|PATH|TEXT|INTEGER", "", option[2])) > 8, line


def test_the_commands_are_those_of_the_documentation():
    top = {command[0] for command in commands() if len(command) == 1}
    listed = (
        "init attach detach seal verify status run backup restore import migrate-check erase evidence "
        "journal monitor network node person findings change-window hold retention audit-access auditor "
        "sample-hospital demo"
    )
    assert top == set(listed.split())


def test_documents_for_programs(place):
    folder = place / "world"
    folder.mkdir()
    world = World(folder)
    made = world.ok("init", "--name", "First Hospital", "--kit", world.kit, *world.more, "--json").json
    assert made.keys() == {"home", "institution", "chain", "chain_id", "network", "kit", "mirror", "tsa"}
    world.create_database()
    attached = world.ok("attach", *world.attachment, "--json").json
    assert attached == {"attached": [{"table": "visit", "key": ["visit_id"], "columns": 3},
                                     {"table": "lab_result", "key": ["accession", "item"], "columns": 4}], "remarks": []}  # fmt: skip
    world.change()
    sealed = world.ok("seal", "--json").json
    assert sealed.keys() == {"added", "size", "root", "block", "tx", "seconds", "receipt", "timestamp"}
    assert re.fullmatch("[0-9a-f]{64}", sealed["root"]) and re.fullmatch("0x[0-9a-f]{64}", sealed["tx"])
    assert (sealed["size"], bytes.fromhex(sealed["root"])) == world.checkpoints()[-1]
    status = world.ok("status", "--json").json
    listed = "name institution chain chain_id size anchored chain_size outbox mirror mirror_faults tsa stamped chain_inside founding tables"
    assert status.keys() == set(listed.split())
    assert (status["size"], status["anchored"], status["chain_size"], status["outbox"]) == (sealed["size"],) * 3 + (False,)
    verified = world.ok("verify", "--json").json
    listed = "ok rows pending seconds size externally_anchored timestamps mirror_faults tables findings groups resolved former"
    assert verified.keys() == set(listed.split())
    assert (verified["ok"], verified["pending"], verified["findings"]) == (True, 0, [])
    assert world.ok("node status", "--json").json.keys() == {"chain", "chain_id", "block", "hash", "time"}
    assert world.ok("node members", "--json").json.keys() == {"members", "proposals"}
    backup = world.ok("backup", world.folder / "backup", "--json").json
    assert backup.keys() == {"file", "bytes", "size", "chain"} and backup["bytes"] == (world.folder / "backup").stat().st_size
    exported = world.ok("evidence export", "lab_result", "a1", "k", "-o", world.folder / "evidence.json", "--json").json
    assert exported.keys() == {"file", "bytes", "size", "block"}
    detached = world.ok("detach", "--table", "visit", "--json").json
    assert detached.keys() == {"detached", "audits"} and detached["detached"] == ["visit"]
    assert [(audit["table"], audit["findings"]) for audit in detached["audits"]] == [("visit", {})]


def test_status_says_in_chinese_how_a_table_is_captured(sealed):
    lines = [line for line in sealed.ok("status", "--lang", "zh").out.splitlines() if "lab_result" in line or "visit" in line]
    assert len(lines) == 2 and all("触发器" in line and "triggers" not in line for line in lines)


def test_a_finding_as_programs_read_it(sealed):
    sealed.ok("verify")
    sealed.ok("seal")
    with closing(sqlite3.connect(sealed.database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE lab_result SET value=1.0 WHERE accession='a1' AND item='k'")
        connection.commit()
    outcome = sealed.run("verify", "--json", "--values")
    assert outcome.code == 1 and outcome.json["ok"] is False
    (finding,) = [finding for finding in outcome.json["findings"] if finding["kind"] == "altered"]
    assert finding.keys() >= {"kind", "table", "key", "columns", "version", "author", "intact_at"}
    assert (finding["table"], finding["key"], finding["columns"]) == ("lab_result", {"accession": "a1", "item": "k"}, ["value"])
    assert (finding["before"], finding["after"]) == ({"value": "4.1"}, {"value": "1.0"})
    assert finding["intact_at"].keys() == {"size", "root", "block", "time"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", finding["intact_at"]["time"])


def test_holes_in_the_mirror_are_told_with_what_to_do_and_are_no_findings(sealed):
    assert sealed.ok("verify", "--json").json["mirror_faults"] == sealed.ok("status", "--json").json["mirror_faults"] == []
    one, two = sorted(sealed.mirror.iterdir())[:2]
    one.unlink()
    two.write_bytes(two.read_bytes()[:-1])
    faults = [{"fault": "missing", "first": 1, "last": 1}, {"fault": "truncated", "first": 2, "last": 2}]
    verified = sealed.ok("verify", "--json").json
    assert (verified["ok"], verified["findings"], verified["mirror_faults"]) == (True, [], faults)
    assert sealed.ok("status", "--json").json["mirror_faults"] == faults
    for command in ("verify", "status"):
        told = sealed.ok(command).out
        assert "warning: batches 1 to 1 of the mirror: missing\nwarning: batches 2 to 2 of the mirror: truncated\n" in told
        assert "careseal seal --new-mirror DIR" in told
    assert "INTACT" in sealed.ok("verify").out
    sealed.ok("seal", "--new-mirror", sealed.folder / "another")
    assert sealed.ok("verify", "--json").json["mirror_faults"] == []


def test_a_table_with_findings_is_detached_only_on_demand_and_verify_remembers_it(sealed):
    with closing(sqlite3.connect(sealed.database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='visit'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE visit SET note='forged' WHERE visit_id=1")
        connection.commit()
    refused = sealed.run("detach", "--json")
    assert (refused.code, refused.json["detached"]) == (1, [])
    visit, lab = refused.json["audits"]
    assert (visit["findings"], lab["findings"]) == ({"altered": 1, "capture_disabled": 1}, {})
    told = sealed.run("detach", "--table", "visit")
    assert told.code == 1 and "ALTERED  visit [visit_id=1]" in told.out and "--with-findings" in told.out and told.err == ""
    assert sealed.run("verify", "--json").json["former"] == []
    done = sealed.ok("detach", "--table", "visit", "--with-findings")
    assert "visit: 2 open findings (ALTERED 1, CAPTURE_DISABLED 1), SHA-256 " in done.out and "visit is detached" in done.out
    sealed.ok("attach", sealed.url, "--table", "visit", "--deletable")
    sealed.ok("seal")
    (former,) = sealed.ok("verify", "--json").json["former"]
    assert (former["table"], former["findings"]) == ("visit", {"altered": 1, "capture_disabled": 1})
    line = f"an earlier attachment of visit ended at journal entry {former['entry']} with 2 open findings (ALTERED 1, CAPTURE_DISABLED 1)"
    assert line in sealed.ok("verify").out
    sealed.database.rename(sealed.database.with_name("away"))
    assert sealed.ok("detach", "--gone", "--json").json == {"detached": ["lab_result", "visit"], "audits": []}
    sealed.database.with_name("away").rename(sealed.database)
    sealed.ok("attach", sealed.url, "--table", "lab_result", "--deletable")
    sealed.ok("seal")
    assert "an earlier attachment of lab_result ended at journal entry" in (out := sealed.ok("verify").out) and "without an audit" in out


def test_every_command_takes_the_name_that_a_table_has_in_the_home(sealed):
    second, evidence = sealed.folder / "second.db", sealed.folder / "evidence.json"
    with closing(sqlite3.connect(second)) as connection:
        connection.executescript("CREATE TABLE visit (visit_id INTEGER PRIMARY KEY, note TEXT); INSERT INTO visit VALUES (1, 'other')")
    assert "--as NAME" in sealed.refused("attach", f"sqlite:///{second}", "--table", "visit")
    assert "exactly one --table" in sealed.refused("attach", f"sqlite:///{second}", "--table", "visit", "--table", "x", "--as", "y")
    attached = sealed.ok("attach", f"sqlite:///{second}", "--table", "visit", "--as", "second visit", "--json").json
    assert attached["attached"] == [{"table": "second visit", "key": ["visit_id"], "columns": 2}]
    sealed.ok("seal")
    assert [part["table"] for part in sealed.ok("verify", "--table", "second visit", "--json").json["tables"]] == ["second visit"]
    assert sealed.ok("status", "--json").json["tables"][2]["table"] == "second visit"
    sealed.ok("evidence export", "second visit", "1", "-o", evidence)
    trusted = ("--network", sealed.home / "network.json")
    proved = sealed.ok("evidence verify", evidence, *trusted, "--values", "--json").json
    assert (proved["table"], proved["source_table"], proved["values"]["note"]) == ("second visit", "visit", "other")
    assert "in its database the table is called visit" in sealed.ok("evidence verify", evidence, *trusted).out
    assert sealed.ok("detach", "--table", "second visit", "--json").json["detached"] == ["second visit"]


def test_the_home_may_come_from_the_environment(sealed):
    outcome = forked.here("status", "--json", environment=ENVIRONMENT | {"CARESEAL_HOME": str(sealed.home)})
    assert outcome.code == 0 and outcome.json["name"] == "First Hospital"
    nowhere = {"CARESEAL_HOME": str(sealed.folder / "nowhere")}
    outcome = forked.here("status", environment=ENVIRONMENT | nowhere)
    assert outcome.code == 2 and "is not a Careseal home" in outcome.line()


def test_everything_that_is_written_is_private(sealed):
    sealed.change()
    sealed.ok("seal", "--receipt", sealed.folder / "receipt.json")
    sealed.ok("backup", sealed.folder / "backup")
    sealed.ok("evidence export", "visit", "1", "-o", sealed.folder / "evidence.json")
    made = [sealed.home, sealed.mirror, sealed.chain, sealed.kit, *(sealed.folder / n for n in ("receipt.json", "backup", "evidence.json"))]
    for top in made:
        for path in (top, *(top.rglob("*") if top.is_dir() else ())):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_home_made_without_the_command_line_is_private_too(tmp_path):
    from ledger.home import Home, Settings
    from ledger.keys import Keyring

    (tmp_path / "home").mkdir(mode=0o700)
    before = os.umask(0)
    try:
        Home.create(tmp_path / "home", Settings("H", "00", "chain", 1, "", "", 1), Keyring.generate(), b"x")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").iterdir()} == {0o600}


@pytest.mark.slow
def test_no_secret_and_no_patient_is_shown(sealed):
    """Whatever is said, in good times and bad, holds no passphrase, no key, no value of a row and no password of a URL."""
    with sealed.opened() as home:
        secrets = [getattr(home.keyring, name).hex() for name in type(home.keyring).__slots__]
        secrets += [key.hex() for key in home.subjects.keys(range(1, home.subjects.highest() + 1)).values()]
    rows = [str(value) for table in ("visit", "lab_result") for row in sealed.rows(f"SELECT * FROM {table}") for value in row]
    patient = [value for value in (*rows, "amended again", "as new") if len(value) > 4]
    said = []
    for words in (("status",), ("seal",), ("verify", "--json"), ("node", "members"), ("backup", sealed.folder / "b"), ("verify",),
                  ("evidence export", "visit", "1", "-o", sealed.folder / "e"), ("seal",), ("restore",),
                  ("attach", "postgresql://u:topsecret@127.0.0.1:9/n", "--table", "t"), ("verify", "--since", sealed.kit)):  # fmt: skip
        outcome = sealed.run(words[0], *words[1:])
        said += [outcome.out, outcome.err]
    sealed.change()
    with closing(sqlite3.connect(sealed.database)) as connection:
        connection.execute("DROP TABLE lab_result")
    for words in (("seal",), ("verify",), ("verify", "--json"), ("seal", "--passphrase-file", sealed.kit)):
        outcome = sealed.run(words[0], *words[1:])
        said += [outcome.out, outcome.err]
    text = "\n".join(said)
    for secret in (*secrets, PASSPHRASE, "topsecret"):
        assert secret not in text
    for value in patient:
        assert value not in text, value
    assert "Traceback" not in text


def test_no_secret_is_an_argument(sealed):
    """The passphrase comes from a file or the environment; the list of processes shows neither."""
    options = {option for command in commands() for option in _options(command)}
    assert {option for option in options if "pass" in option} == {
        "--passphrase-file", "--kit-passphrase-file", "--new-passphrase-file", "--key-passphrase-file",
        "--custody-passphrase-file"}  # fmt: skip


def _options(name: tuple[str, ...]) -> list[str]:
    command = typer.main.get_command(build())
    for word in name:
        command = command.commands[word]
    return [option for parameter in command.params for option in parameter.opts if option.startswith("--")]


def test_without_a_passphrase_init_makes_the_unlock_file_apart_from_the_home_and_tells_the_recovery_passphrase_once(place):
    folder = place / "world"
    folder.mkdir()
    world, environment = World(folder), {"CARESEAL_PASSPHRASE": "", "XDG_CONFIG_HOME": str(place / "config")}
    init = ("init", "--home", world.home, "--name", "H", "--kit", world.kit, *world.more)
    outcome = forked.here(*init, environment=environment)
    spoken = re.search(r"recovery passphrase, shown this once: ([a-z0-9-]+)", outcome.out)[1]
    unlock = place / "config" / "careseal" / "unlock"
    assert stat.S_IMODE(unlock.stat().st_mode) == 0o600 and stat.S_IMODE(unlock.parent.stat().st_mode) == 0o700
    outcome = forked.here("status", "--home", world.home, environment=environment)
    assert outcome.code == 0 and spoken not in outcome.out and unlock.read_text() not in outcome.out
    world.create_database()
    attach = forked.here("attach", *world.attachment, "--home", world.home, environment=environment)
    assert attach.code == 0 and forked.here("seal", "--home", world.home, environment=environment).code == 0
    # The machine is lost, and the unlock file with it: kit and recovery passphrase are enough, and a new unlock file is made.
    for path in (world.home, unlock.parent):
        for found in sorted(path.rglob("*"), reverse=True):
            found.rmdir() if found.is_dir() else found.unlink()
        path.rmdir()
    (place / "spoken").write_text(spoken + "\n")
    restore = ("restore", "--home", world.home, "--kit", world.kit, "--kit-passphrase-file", place / "spoken")
    assert forked.here(*restore, environment=environment).code == 0
    assert stat.S_IMODE(unlock.stat().st_mode) == 0o600
    for command in ("seal", "verify"):
        assert forked.here(command, "--home", world.home, environment=environment).code == 0


@pytest.mark.slow
def test_help_and_offline_verification_start_quickly(sealed):
    """They load neither web3 nor py-evm nor a database driver for PostgreSQL."""
    program = (
        "import sys; from api.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'web3', 'eth', 'eth_account', 'sqlalchemy', 'psycopg'} & set(sys.modules)), file=sys.stderr)\n"
    )
    sealed.ok("evidence export", "visit", "1", "-o", sealed.folder / "evidence.json")
    for words in (("--help",), ("evidence", "verify", sealed.folder / "evidence.json", "--network", sealed.home / "network.json")):
        done = subprocess.run([sys.executable, "-c", program, *words], cwd=forked.ROOT, capture_output=True, text=True, check=False)
        assert done.stderr == "[]\n", done.stderr
