"""What docs/spec.md lists is what the program has: flags, kinds, domains, fields, slots, settings."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3

import pytest
from trials import ROOT, Trial

from anchoring import container
from anchoring.network import Network
from anchoring.receipt import Receipt
from contracts.artifacts import load
from contracts.calls import PUBLISH_GAS
from ledger import batch, rowcodec, wire
from ledger.home import Home, Settings
from ledger.keys import Keyring
from ledger.sources.postgres_copy import _SETTINGS

SPEC = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def cells(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [[cell.strip() for cell in line[2:].removesuffix("|").split("| ")] for line in text.splitlines() if line.startswith("| ")]


def test_flags_and_kinds() -> None:
    rows = [row for row in cells(section("Journal entries")) if len(row) == 2]
    shown = {tuple(row[0].replace("-", " ").split(" ", 1)) for row in rows if re.match("[0-9a-f]{4} ", row[0])}
    assert shown == {(f"{flag.value:04x}", str(flag.name).lower().replace("_", " ")) for flag in wire.Flag}
    kinds = dict(re.findall(r"(\d+) ([a-z]+)", " ".join(row[-1] for row in cells(section("Journal entries")) if "kind: " in row[-1])))
    assert {int(number): name for number, name in kinds.items()} == {kind.value: kind.name.lower() for kind in wire.Kind}
    algorithms = next(row[-1] for row in cells(section("Journal entries")) if row[-1].startswith("algorithm"))
    assert algorithms == "algorithm: " + ", ".join(f"{a.value} {a.name.replace('SHA', 'SHA-')}" for a in wire.Algorithm)


def test_offsets_of_a_record_entry() -> None:
    rows = [row for row in cells(section("Journal entries")) if row[0].isdigit()]
    record, event = rows[: rows.index(["0", *rows[0][1:]], 1)], rows[rows.index(["0", *rows[0][1:]], 1) :]
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u48": 6}
    for listed, end in ((record, 129), (event, 40)):
        at = 0
        for offset, size, _ in listed:
            assert int(offset) == at
            at += sizes.get(size) or (int(size) if size.isdigit() else 0)
        assert at == end
    assert (wire._RECORD.size, wire._EVENT.size) == (129, 40)
    assert max(129 + columns * wire.tag_width(columns) for columns in range(1, 257)) == 385


def test_every_domain_string_is_in_the_specification() -> None:
    used = set()
    for package in ("ledger", "anchoring", "contracts", "node", "api"):
        for path in (ROOT / package).rglob("*.py"):
            used |= set(re.findall(r"b\"(careseal/v1/[a-z]+)\"", path.read_text(encoding="utf-8")))
    assert used == set(re.findall(r"\"(careseal/v1/[a-z]+)\"", SPEC))


def test_encodings() -> None:
    assert {rowcodec.SQLITE, rowcodec.PGTEXT} == set(re.findall(r"^### (\S+/1)$", SPEC, re.MULTILINE))
    text = section("pgtext/1")
    for setting in ("TimeZone = 'UTC'", "DateStyle = 'ISO, YMD'", "IntervalStyle = 'postgres'", "extra_float_digits = 3",
                    "bytea_output = 'hex'", "standard_conforming_strings = on", "search_path = pg_catalog, public"):  # fmt: skip
        assert f"`{setting}`" in text and f"SET {setting}" in _SETTINGS


def fields(text: str, column: int = 0) -> set[str]:
    return {name for row in cells(text) for name in re.findall(r"`(\w+)`", row[column])}


def test_fields_of_files() -> None:
    receipt = {field.name for field in dataclasses.fields(Receipt)}
    assert fields(section("Receipt")) == receipt | {"careseal", "signature", "timestamp"}
    assert fields(section("Network file")) == {field.name for field in dataclasses.fields(Network)} | {"careseal"}
    assert set(re.findall(r"`(\w+)`", section("Settings"))) == {field.name for field in dataclasses.fields(Settings)} | {"careseal", "code"}
    boxes = section("Boxes")
    assert all(f"`{field.name}`" in boxes for field in dataclasses.fields(Keyring))


def test_fields_of_evidence() -> None:
    shown: dict[str, set[str]] = {}
    part = ""
    for row in cells(section("Evidence file")):
        part = row[0].strip("`") or part
        if part in container.FORMAT or part in ("record", "configuration", "audit"):
            shown.setdefault(part, set()).update(re.findall(r"`(\w+)`", row[1]))
    forms = {**container.FORMAT, **{name: form for own in container.KINDS.values() for name, form in own.items()}}
    assert {name: shown[name] for name in container.FORMAT} == {name: set(forms[name]) for name in container.FORMAT}  # type: ignore[arg-type]
    assert shown["configuration"] | {"consistency"} == shown["audit"] | {"consistency"} == set(container.KINDS["audit"]["audit"])  # type: ignore[arg-type]
    records = [container.KINDS[kind]["record"] for kind in ("record", "fields", "latest")]
    assert shown["record"] >= set().union(*records)  # type: ignore[arg-type]
    kinds = {row[0].strip("`") for row in cells(section("Evidence file")) if row[0].startswith("`")}
    assert set(container.KINDS) <= kinds


def test_links_of_evidence() -> None:
    links: set[str] = set()
    for name in ("container", "evidence", "opening", "proofs", "stamped"):
        text = (ROOT / "anchoring" / f"{name}.py").read_text(encoding="utf-8")
        links |= set(re.findall(r"(?:EvidenceInvalid|LinkBroken|checked|_document|_inclusion)\(\s*\"(\w+)\"", text))
    listed = {link for row in cells(section("Verification")) for link in row[2].split(", ") if row[0].isdigit() or row[1] == "fields"}
    assert links == listed - {""}


def test_links_of_time_stamps() -> None:
    sources = "".join((ROOT / "anchoring" / name).read_text(encoding="utf-8") for name in ("timestamp.py", "token.py"))
    links = set(re.findall(r"TimestampInvalid\(\"(\w+)\"", sources))
    assert links - {"status", "nonce"} == {row[1] for row in cells(section("Time stamp")) if row[0].isdigit()}


def test_fields_of_exports(documents: dict[str, dict[str, object]], lost: Trial) -> None:
    about = json.loads((lost.folder / "OUT" / "log.json").read_bytes())
    listed = [row for row in cells(section("Exported journal")) if len(row) == 3 and row[0].startswith("`")]
    assert {name for row in listed for name in re.findall(r"`(\w+)`", row[0])} == about.keys()
    assert {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in listed if row[1]} == {
        name: about[name].keys() for name in ("key", "anchor")
    }  # fmt: skip
    receipts = json.loads((lost.folder / "receipts.json").read_bytes())
    shown: dict[str, set[str]] = {}
    part = ""
    for row in cells(section("Chainpoint-style receipts")):
        part = row[0] or part
        shown.setdefault(part.strip("`"), set()).update(re.findall(r"`(@?\w+)`", row[1]))
    (receipt,) = receipts["receipts"]
    assert shown["receipts[]"] == receipt.keys()
    assert {name: shown[name] for name in ("root", "checkpoint")} == {name: set(receipts[name]) for name in ("root", "checkpoint")}
    assert shown.keys() - {"part", "---", "receipts[]"} == receipts.keys() - {"receipts"}


def test_sidecar_tables() -> None:
    assert fields(section("Mirror")) == batch._PUT.keys() | {"subjects"}


def test_sidecar_rows_have_the_values_that_are_listed() -> None:
    listed = {row[0].strip("`"): row[1].partition(":")[0].split(", ") for row in cells(section("Mirror")) if row[0].count("`") == 2}
    marks = {name: statement.count("?") for name, statement in batch._PUT.items()} | {"subjects": 3}
    listed.pop("table", None)
    assert {name: len(values) for name, values in listed.items()} == {name: marks[name] for name in listed}
    assert listed.keys() == marks.keys() - {"consumed", "to_consume"}


def test_storage_slots_and_gas() -> None:
    shown = {(row[0].strip("`"), row[1]): int(row[2]) for row in cells(section("Storage")) if row[2].isdigit()}
    assert shown == {(contract, name): load(contract).slots[name] for contract, name in shown}
    assert f"gas limit {PUBLISH_GAS:,}" in SPEC


@pytest.fixture(scope="module")
def documents(lost: Trial) -> dict[str, dict[str, object]]:
    """One event document of each kind, out of a home that was made, lost, restored and partly detached."""
    patient, visit = lost.one("SELECT min(patient_id), min(visit_id) FROM visit")
    lost.run("careseal journal export --home NEW OUT")
    lost.run(f"careseal evidence export visit {visit} --home NEW --format chainpoint -o receipts.json")
    with Home.open(lost.folder / "NEW", (lost.folder / "config" / "careseal" / "unlock").read_bytes) as home:
        with home.batch() as batch:
            batch.mark(0, b"", (), None, 1)
    (lost.folder / "secret").write_text("a person's own")
    lost.run("careseal person create li.key --name Li --key-passphrase-file secret")
    lost.run("careseal person add li.key --home NEW --role staff")
    for who in ("li", "wang"):
        lost.run(f"careseal person create {who}2.key --name {who} --key-passphrase-file secret")
        lost.run(f"careseal person add {who}2.key --home NEW --role staff")
    both = "--by li2.key --key-passphrase-file secret --by wang2.key --key-passphrase-file secret"
    lost.run("careseal retention set --home NEW --table visit --class 1 --since started_at")
    lost.run(f"careseal hold create --home NEW --to held --table visit --key {visit} --reason dispute --for li")
    lost.run(f"careseal hold extend 1 --home NEW --table visit --key {visit} --reason 'what came later' --for li")
    lost.run("careseal hold release 1 --home NEW --settlement secret --by li2.key --key-passphrase-file secret")
    lost.run(f"sqlite3 his.db \"UPDATE visit SET started_at = '2001-02-03 04:05:06' WHERE patient_id = '{patient}'\"")
    lost.run(f"careseal erase {patient} --home NEW --reason asked --no-term 'no results are kept' {both}")
    lost.run('sqlite3 his.db "CREATE TABLE visit_moved AS SELECT * FROM visit"')
    lost.run("careseal migrate-check --home NEW visit visit_moved --into sqlite:///his.db", expect=1)
    lost.run("careseal person create zhou.key --name Zhou --key-passphrase-file secret")
    lost.run("careseal person add zhou.key --home NEW --role auditor")
    lost.run("careseal audit-access grant --home NEW --to Zhou --until 2199-12-31 -o zhou.access")
    lost.run("careseal audit-access revoke 1 --home NEW --reason done")
    lost.run("careseal person revoke Li --home NEW --reason left")
    why = "--reason why --ticket T --key-passphrase-file secret --home NEW"
    lost.run(f"careseal change-window open --table visit --columns dept_code --from 2099-01-01 --until 2099-01-02 {why} --by li2.key")
    window = lost.json("careseal change-window list --home NEW --json")["windows"][0]["id"]
    lost.run(f"careseal change-window close {window} {why} --by li2.key")
    lost.run("sqlite3 his.db 'ALTER TABLE visit ADD COLUMN extra TEXT'")
    named = lost.json("careseal findings list --home NEW --json")["findings"][0]["id"]
    for who in ("li2.key", "wang2.key"):
        lost.run(f"careseal findings dismiss {named} {why} --by {who}")
    lost.run(f"careseal findings reopen {named} {why} --by li2.key")
    lost.run("careseal detach --home NEW --table visit --gone")
    connection = sqlite3.connect(lost.folder / "NEW" / "ledger.db")
    found = {}
    for (body,) in connection.execute("SELECT body FROM documents ORDER BY entry"):
        ((name, about),) = json.loads(body).items()
        found[name] = about
    connection.close()
    return found


def test_event_documents(documents: dict[str, dict[str, object]]) -> None:
    rows = {row[1].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in cells(section("Event documents")) if row[1].startswith("`")}
    assert rows.keys() == documents.keys()
    for name, about in documents.items():
        values = [item for value in about.values() for item in (value if isinstance(value, list) else [value])]
        assert rows[name] == about.keys() | {key for value in values if isinstance(value, dict) for key in value}
