"""A table that cannot be read keeps no other from being sealed."""

from __future__ import annotations

import pytest
from audit_world import World

from ledger.detach import detach
from ledger.errors import SourceError
from ledger.tables import attached_tables, find_table


def test_a_table_that_is_gone_stops_no_other(sqlite: World) -> None:
    sqlite.hospital.run("CREATE TABLE gone (id INTEGER PRIMARY KEY)")
    sqlite.hospital.run("CREATE TABLE kept (id INTEGER PRIMARY KEY, v)")
    sqlite.attach("gone")
    sqlite.attach("kept")
    sqlite.seal()
    sqlite.hospital.run("DROP TABLE gone")
    sqlite.hospital.run("INSERT INTO kept VALUES (1, 'x')")
    size = sqlite.home.journal.size
    with pytest.raises(SourceError, match="gone"):
        sqlite.seal()
    assert sqlite.home.journal.size == size + 1
    with pytest.raises(SourceError, match="careseal detach --gone"):
        sqlite.detach("gone")
    detach(sqlite.home, [find_table(sqlite.home, "gone")], 0, None)
    sqlite.seal()
    assert [table.name for table in attached_tables(sqlite.home)] == ["kept"]
