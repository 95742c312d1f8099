"""Both verifiers agree on evidence of odd rows: every storage class and form, wide tables, SM3, amendments, PostgreSQL's text."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import stranger
from test_stranger import same
from trials import Trial

from anchoring.evidence import verify_evidence
from anchoring.network import decode_network

ODD = (
    None, 0, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63), 0.0, -0.0, 0.1, 1e300, 5e-324, float("inf"),
    float("-inf"), "", "中文\t\n\\", "\x00", "1.10", b"", b"\x00\xff", "é" * 200,
)  # fmt: skip
BROKEN_TEXTS = ("61ff62", "c3", "e4b8", "eda080", "f4908080", "c0af", "e4b8ade4", "80bf", "edb380")


def home(folder: Path, url: str, tables: str) -> Trial:
    """A home that has the tables under seal."""
    made = Trial(folder.resolve())
    made.run('careseal init --home H --name "第一医院"')
    made.run(f"careseal attach --home H '{url}' {tables}")
    made.run("careseal seal --home H")
    return made


def agree(made: Trial, table: str, *key: str) -> stranger.Version:
    """Export a record's evidence, and have both verifiers read it alike."""
    made.run(f"careseal evidence export --home H -o file.json {table} -- {' '.join(key)}")
    data, network = (made.folder / "file.json").read_bytes(), (made.home / "network.json").read_bytes()
    theirs = stranger.verify(data, stranger.network_of(network))
    ours = verify_evidence(data, decode_network(network))
    same(theirs, ours)
    return theirs.versions[-1]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("odd")
    columns = ", ".join(f"c{number}" for number in range(70))
    values = [f"v{number}" for number in range(len(ODD) + len(BROKEN_TEXTS))]
    marks = ", ".join(["?"] * len(ODD) + ["CAST(? AS TEXT)"] * len(BROKEN_TEXTS))
    connection = sqlite3.connect(folder / "odd.db")
    connection.execute(f"CREATE TABLE odd (id INTEGER PRIMARY KEY, {', '.join(values)})")
    connection.execute(f"INSERT INTO odd VALUES (3, {marks})", (*ODD, *map(bytes.fromhex, BROKEN_TEXTS)))
    connection.execute(f"CREATE TABLE wide (a TEXT NOT NULL, b NOT NULL, {columns}, PRIMARY KEY (a, b))")
    connection.execute("INSERT INTO wide (a, b, c0, c69) VALUES ('k', 1.5, 7, 'last')")
    connection.commit()
    connection.close()
    return home(folder, "sqlite:///odd.db", "--table odd --table wide --digest sm3")


def test_odd_values_of_sqlite(odd: Trial) -> None:
    values = agree(odd, "odd", "3").values
    assert (values["v7"], values["v11"], values["v15"], values["v22"]) == (str(2**53 + 1), "-0.0", "inf", "00ff")
    assert values[f"v{len(ODD)}"] == "a\\xffb"


def test_wide_table_with_composite_key(odd: Trial) -> None:
    values = agree(odd, "wide", "k", "1.5").values
    assert (values["b"], values["c0"], values["c1"], values["c69"]) == ("1.5", "7", None, "last")


def test_amended_version(odd: Trial) -> None:
    odd.run("sqlite3 odd.db \"UPDATE odd SET v0 = 'amended' WHERE id = 3\"")
    odd.run("careseal seal --home H")
    proof = agree(odd, "odd", "3")
    assert (proof.number, proof.flags & 1, (proof.values or {})["v0"]) == (2, 0, "amended")


def test_values_of_postgresql(tmp_path: Path, postgres) -> None:  # type: ignore[no-untyped-def]
    url = postgres.database()
    with postgres.connect(url) as connection:
        connection.execute(
            "CREATE TABLE odd (code text, at date, n numeric, t text, b bytea, j jsonb, f double precision, c char(5), z timestamptz,"
            " a int[], PRIMARY KEY (code, at))"
        )
        insert = "INSERT INTO odd VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        text, moment = "tab\tnew\nback\\slash \b\f\r\v 中文", "2026-01-01 08:00+08"
        connection.execute(insert, ("E03", "2026-01-02", "1.10", text, b"\x00\xff", '{"a": 1.10}', 0.1, "ab", moment, [1, None]))
        connection.execute(insert, ("N", "2026-01-03", None, "\\N", b"", None, "NaN", "", None, []))
    made = home(tmp_path, url, "--table odd")
    values = agree(made, "odd", "E03", "2026-01-02").values
    assert (values["n"], values["t"], values["b"], values["c"]) == ("1.10", text, "\\x00ff", "ab")
    values = agree(made, "odd", "N", "2026-01-03").values
    assert (values["n"], values["t"], values["f"]) == (None, "\\N", "NaN")
