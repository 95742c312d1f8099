"""From what the passes see to findings: one per row, the first that applies, and nothing shown that is not proved."""

from __future__ import annotations

import pytest
from audit_world import World, make_world, visits

from ledger.findings import ORDER, WARNINGS, FindingKind, Spot, kind_of
from ledger.record_secrets import KeyedSecrets
from ledger.reporting import Reporter
from ledger.tables import Attached, attached_tables
from ledger.wire import VIOLATIONS, Flag


class Nothing:
    """No present row can be looked up."""

    def row(self, table: Attached, key: bytes) -> bytes | None:
        return None


@pytest.fixture
def sealed(tmp_path):  # type: ignore[no-untyped-def]
    world = make_world("sqlite", "triggers", tmp_path, lambda: None)
    yield visits(world, copies=True)
    world.close()


def _reporter(world: World, values: bool = False) -> Reporter:
    return Reporter(world.home, KeyedSecrets(world.home.subjects), {table.id: table for table in attached_tables(world.home)}, values)


def _key(number: int) -> bytes:
    return (number + 2**63).to_bytes(8, "big")


def test_kinds_are_in_the_order_of_the_design() -> None:
    assert [kind.value for kind in FindingKind] == [
        "altered", "deleted", "inserted", "unauthorised", "amended_final", "back_dated", "capture_disabled", "schema_changed",
        "journal_altered", "rolled_back", "forked", "secret_missing", "erased_present", "unanchored",
    ]  # fmt: skip
    assert sorted(FindingKind, key=ORDER.__getitem__) == list(FindingKind)
    assert {FindingKind.UNANCHORED} == WARNINGS


def test_every_flag_of_violation_has_its_kind_and_the_first_applies() -> None:
    kinds = {flag: kind_of(flag) for flag in Flag if flag & VIOLATIONS}
    assert kinds == {
        Flag.ALTERED_BEFORE: FindingKind.ALTERED,
        Flag.INSERTED_BEFORE: FindingKind.INSERTED,
        Flag.UNAUTHORISED: FindingKind.UNAUTHORISED,
        Flag.FINAL: FindingKind.AMENDED_FINAL,
        Flag.BACK_DATED: FindingKind.BACK_DATED,
        Flag.DELETION: FindingKind.DELETED,
        Flag.UNCOMPARED: FindingKind.SECRET_MISSING,
        Flag.TIME_UNREADABLE: FindingKind.BACK_DATED,
    }
    for one in kinds:
        for other in kinds:
            assert kind_of(one | other | Flag.CONTENT) is min(kinds[one], kinds[other], key=ORDER.__getitem__)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_gets_one_finding_the_first_that_applies(sealed: World, reverse: bool) -> None:
    spots = [
        Spot(FindingKind.SECRET_MISSING, 1, _key(3), entry=3),
        Spot(FindingKind.BACK_DATED, 1, _key(3), ("at",), entry=3, detail="why"),
        Spot(FindingKind.UNAUTHORISED, 1, _key(3), ("note",), entry=3, author="x"),
    ]
    [found] = _reporter(sealed).findings(spots[::-1] if reverse else spots, Nothing())
    assert (found.kind, found.key, found.columns, found.author) == (FindingKind.UNAUTHORISED, {"id": 3}, ("note",), "x")
    assert {"also back_dated", "also secret_missing"} == set(found.detail.split("; "))


def test_findings_about_no_row_are_all_told(sealed: World) -> None:
    spots = [Spot(FindingKind.JOURNAL_ALTERED, None, detail=text) for text in ("a", "b")]
    spots += [Spot(FindingKind.SCHEMA_CHANGED, 1, columns=("x",), detail="c"), Spot(FindingKind.CAPTURE_DISABLED, 1, detail="d")]
    found = _reporter(sealed).findings(spots, Nothing())
    assert [(f.kind, f.table, f.key, f.detail) for f in found] == [
        (FindingKind.JOURNAL_ALTERED, None, {}, "a"),
        (FindingKind.JOURNAL_ALTERED, None, {}, "b"),
        (FindingKind.SCHEMA_CHANGED, "visit", {}, "c"),
        (FindingKind.CAPTURE_DISABLED, "visit", {}, "d"),
    ]


def test_bytes_that_are_no_key_of_the_table_are_not_shown(sealed: World) -> None:
    [found] = _reporter(sealed).findings([Spot(FindingKind.DELETED, 1, b"\0", entry=3)], Nothing())
    assert found.key == {} and found.version == 1


def test_an_entry_that_is_none_has_no_version(sealed: World) -> None:
    for entry in (0, 10**9):
        [found] = _reporter(sealed).findings([Spot(FindingKind.DELETED, 1, _key(3), entry=entry)], Nothing())
        assert found.version is None


def test_a_table_that_is_not_known_is_not_named(sealed: World) -> None:
    [found] = _reporter(sealed).findings([Spot(FindingKind.FORKED, 99, entry=3)], Nothing())
    assert found.table is None and found.intact_at is None


def test_a_kept_row_is_given_only_as_it_was_committed_to(sealed: World) -> None:
    reporter = _reporter(sealed)
    kept = reporter.kept_row(3)
    assert kept is not None and b"P" in kept
    sealed.home.store.db.execute("UPDATE copies SET body=(SELECT body FROM copies WHERE entry=4) WHERE entry=3")
    assert reporter.kept_row(3) is None
    sealed.home.store.db.execute("UPDATE copies SET body=zeroblob(3) WHERE entry=4")
    assert reporter.kept_row(4) is None
    assert reporter.kept_row(0) is None and reporter.kept_row(10**9) is None


def test_without_a_present_row_only_before_is_shown(sealed: World) -> None:
    [found] = _reporter(sealed, values=True).findings([Spot(FindingKind.ALTERED, 1, _key(3), ("ward",), 3)], Nothing())
    assert (found.before, found.after) == ({"ward": "east"}, None)
