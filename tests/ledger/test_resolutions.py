"""Answers are believed only where every signature holds: whoever writes the journal can hide nothing with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from answers import WHY, answer, only, person, staff
from audit_world import World, visits

from ledger import canonical
from ledger.answering import confirm, propose, signed, signed_part
from ledger.findings import FindingKind
from ledger.journal import event
from ledger.persons import PersonKey, action_digest
from ledger.resolutions import Faults, digest, faults_of, packed, read_resolutions, unpacked
from ledger.wire import Kind

ALTER = "UPDATE visit SET ward='west' WHERE id=3"


@pytest.fixture
def altered(sqlite: World) -> World:
    visits(sqlite, copies=True).hospital.behind(ALTER)
    return sqlite


def journal(world: World, document: object) -> int:
    """What somebody with the home's passphrase can do: put a document into the journal."""
    with world.home.batch() as batch:
        return batch.add_event(Kind.FINDING, document, world.tick())


def documents(world: World) -> list[dict[str, Any]]:
    return [document for _, _, document in world.home.journal.documents_of(Kind.FINDING)]


def invalid(world: World) -> list[str]:
    return [why for _, why in read_resolutions(world.home).invalid]


def rewritten(world: World, position: int, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Change a document where it stands, with its entry, as whoever writes the home could; returns what is invalid then."""
    index, time, document = list(world.home.journal.documents_of(Kind.FINDING))[position]
    change(document)
    entry, salt, body = event(Kind.FINDING, document, time)
    world.home.store.db.execute("UPDATE entries SET body=? WHERE idx=?", (entry, index))
    world.home.store.db.execute("UPDATE documents SET salt=?, body=? WHERE entry=?", (salt, body, index))
    return invalid(world)


def is_open(world: World) -> bool:
    return FindingKind.ALTERED in {found.kind for found in world.audit(record=False).findings}


def resign(key: PersonKey, action: dict[str, Any]) -> None:
    action["signature"] = key.sign(action_digest(action)).hex()


# One proposal and its confirmation


FIELDS = "do id group findings faults_sha256 kind table columns window reason ticket size root home person signature"


@pytest.mark.parametrize("field", FIELDS.split())
@pytest.mark.parametrize("position", [0, 1])
def test_every_field_that_is_changed_or_dropped_breaks_the_answer(altered: World, field: str, position: int) -> None:
    answer(altered, staff(altered), "dismiss", only(altered))
    if field not in documents(altered)[position][("proposal", "confirmation")[position]]["action"]:
        pytest.skip("not a field of this action")

    def change(document: dict[str, Any]) -> None:
        ((_, about),) = document.items()
        about["action"][field] = {"signature": "00" * 64, "person": 2 - position, "size": 1}.get(field, "another")

    assert rewritten(altered, position, change)
    assert is_open(altered)


@pytest.mark.parametrize("field", ["proposal", "proposal_sha256", "entries", "entries_sha256", "states_sha256"])
def test_every_field_of_a_confirmation_is_signed(altered: World, field: str) -> None:
    answer(altered, staff(altered), "accept", only(altered))

    def change(document: dict[str, Any]) -> None:
        document["confirmation"]["action"].pop(field)

    assert rewritten(altered, 1, change)


def test_a_list_that_was_not_signed_hides_nothing(altered: World) -> None:
    people = staff(altered)
    altered.hospital.behind("UPDATE visit SET ward='west' WHERE id=5")
    one, other = altered.audit(record=False).findings
    answer(altered, people, "dismiss", one)

    def change(document: dict[str, Any]) -> None:
        document["proposal"]["faults"] = faults_of([*one.faults, *other.faults]).document()

    assert "what was signed is not what is listed" in rewritten(altered, 0, change)
    assert sum(found.kind is FindingKind.ALTERED for found in altered.audit(record=False).findings) == 2


def test_an_answer_counts_once_and_in_its_place(altered: World) -> None:
    """Proposal and confirmation are journalled again after the finding was reopened: neither is valid a second time."""
    from ledger.answering import reopen

    people = staff(altered)
    answer(altered, people, "dismiss", only(altered))
    (made,) = read_resolutions(altered.home).answers.values()
    reopen(altered.home, people[0], made, WHY, altered.tick())
    for document in documents(altered)[:2]:
        journal(altered, document)
    assert invalid(altered) == ["the action was journalled before: it counts once"] * 2
    assert only(altered).kind is FindingKind.ALTERED


def test_answers_of_another_home_or_another_journal_count_nothing(altered: World) -> None:
    people = staff(altered)
    made = propose(altered.home, people[0], "dismiss", only(altered), WHY, altered.tick())
    ((_, about),) = documents(altered)[-1].items()
    for field, value, words in (("home", "other", "for another home"), ("root", "00" * 32, "for another journal"),
                                ("size", 10**9, "for another journal"), ("size", 0, "for another journal"),
                                ("size", True, "for another journal")):  # fmt: skip
        action = {**about["action"], field: value}
        resign(people[0], action)
        journal(altered, {"proposal": {"action": action, "faults": about["faults"]}})
        assert words in invalid(altered)[-1], field
    assert made.state == "proposed"


@pytest.mark.parametrize("document", [
    {}, {"proposal": {}}, {"proposal": 7}, {"nothing": {"action": {}}}, {"proposal": {"action": []}}, {"a": {}, "b": {}},
    {"proposal": {"action": {"home": "test", "person": 1, "signature": "00"}}}, {"confirmation": {"action": None}},
])  # fmt: skip
def test_documents_that_are_no_answers_are_listed_and_answer_nothing(altered: World, document: object) -> None:
    staff(altered)
    journal(altered, document)
    assert len(invalid(altered)) == 1 and only(altered).kind is FindingKind.ALTERED


@pytest.mark.parametrize("faults", [
    {"entries": [[5, 3]], "states": []}, {"entries": [[0, 10**9]], "states": []}, {"entries": [["0", 1]], "states": []},
    {"entries": [[0, 1], [3, 4]], "states": [], "x": 1}, {"entries": [[0, 1], [1, 2]], "states": []}, {"entries": [[3]], "states": []},
    {"entries": [], "states": ["abcd"]},
    {"entries": [], "states": ["zz"]}, {"entries": [], "states": [7]}, {"entries": [], "states": ["AB" * 20]},
    {"entries": [[-2, -1]], "states": []}, {"entries": [[4, 5], [0, 1]], "states": []}, {"entries": []},
    {"entries": [[0, True]], "states": []}, {"entries": [[3, 4], [5, 6]], "states": []},
])  # fmt: skip
def test_signed_lists_in_another_form_are_refused(altered: World, faults: Any) -> None:
    li, wang = staff(altered)
    action = signed(altered.home, li, altered.home.journal.size, {
        "do": "dismiss", "id": "00" * 20, "group": False, "findings": 1, "faults_sha256": digest(faults), "kind": "altered",
        "table": "visit", "columns": [], "window": None, "reason": "x", "ticket": "y",
    })  # fmt: skip
    place = journal(altered, {"proposal": {"action": action, "faults": faults}})
    if faults.get("x"):  # an additional field is signed and says nothing
        assert read_resolutions(altered.home).invalid == []
        return
    assert [entry for entry, _ in read_resolutions(altered.home).invalid] == [place]
    assert wang.signing != li.signing


def test_a_confirmation_of_nothing_valid(altered: World) -> None:
    li, wang = staff(altered)
    place = journal(altered, {"proposal": {"action": {}}})
    action = signed(altered.home, wang, altered.home.journal.size, {"do": "confirm", "proposal": place, "proposal_sha256": "00" * 32})
    journal(altered, {"confirmation": {"action": action, "states": []}})
    assert invalid(altered)[-1] == "it confirms nothing that is valid" and li.signing != wang.signing


@pytest.mark.parametrize("bend", ["entries", "entries_sha256"])
def test_entries_that_were_not_signed_are_not_resolved(altered: World, bend: str) -> None:
    """A confirmation names the entries that took rows in; nobody can slip others in beside them."""
    people = staff(altered)
    made = propose(altered.home, people[0], "accept", only(altered), WHY, altered.tick())
    altered.hospital.run("UPDATE visit SET ward='x' WHERE id=7")  # a change that is sealed afterwards
    done = confirm(altered.home, people[1], made, WHY, altered.tick())
    assert done.taken == 1
    document = documents(altered)[-1]
    action = document["confirmation"]["action"]
    ((first, last),) = action["entries"]
    action[bend] = {"entries": [[first - 1, last]], "entries_sha256": "00" * 32}[bend]
    resign(people[1], action)
    altered.home.store.db.execute("DELETE FROM documents WHERE entry=?", (altered.home.journal.size - 1,))
    journal(altered, document)
    assert invalid(altered)
    assert any(found.kind is FindingKind.ALTERED for found in altered.audit(record=False).findings)


def test_a_person_who_confirms_under_two_names_is_still_one_key(altered: World) -> None:
    """The same signature cannot stand for another person's: the id that is signed leads to one registered key."""
    li, wang = staff(altered)
    made = propose(altered.home, li, "dismiss", only(altered), WHY, altered.tick())
    about = {"do": "confirm", "proposal": made.proposed.entry, "proposal_sha256": signed_part(altered.home, made.proposed.entry),
             "reason": "x", "ticket": "y", "entries": [], "entries_sha256": "", "states_sha256": digest([])}  # fmt: skip
    action = signed(altered.home, li, altered.home.journal.size, about)
    action["person"] = 2
    resign(li, action)
    journal(altered, {"confirmation": {"action": action, "states": []}})
    assert invalid(altered) == ["the signature of person 2 does not hold"]
    assert only(altered).kind is FindingKind.ALTERED and wang.signing != li.signing


def test_a_damaged_list_of_people_leaves_every_finding_open(altered: World) -> None:
    people = staff(altered)
    answer(altered, people, "dismiss", only(altered))
    altered.assert_intact()
    first = "SELECT min(idx) FROM entries WHERE substr(body,2,1)=x'15'"
    altered.home.store.db.execute(f"UPDATE documents SET body=x'7b7d' WHERE entry=({first})")
    found = altered.audit(record=False)
    assert {one.kind for one in found.findings} >= {FindingKind.ALTERED, FindingKind.JOURNAL_ALTERED} and found.resolved == []


def test_a_document_that_was_edited_leaves_every_finding_open(altered: World) -> None:
    people = staff(altered)
    answer(altered, people, "dismiss", only(altered))
    altered.home.store.db.execute(
        "UPDATE documents SET body=CAST(replace(CAST(body AS TEXT), 'T-1', 'T-2') AS BLOB)"
        " WHERE entry IN (SELECT idx FROM entries WHERE substr(body,2,1)=x'13')"
    )
    found = altered.audit(record=False)
    assert {one.kind for one in found.findings} >= {FindingKind.ALTERED, FindingKind.JOURNAL_ALTERED} and found.resolved == []


# The forms of lists


def test_faults_have_one_form() -> None:
    made = faults_of([7, 5, 6, b"b" * 20, 9, b"a" * 20, 7])
    assert made == Faults(((5, 7), (9, 9)), (b"a" * 20, b"b" * 20)) and made.count == 6
    assert canonical.encode(made.document()) == canonical.encode(
        {"entries": [[5, 7], [9, 9]], "states": [(b"a" * 20 + b"b" * 20).hex()]}
    )


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_ids_are_packed_in_one_way(count: int) -> None:
    ids = tuple(number.to_bytes(20, "big") for number in range(count))
    texts = [text for text in packed(ids) if isinstance(text, str)]
    assert unpacked(texts) == ids and len(texts) == -(-count // 1000)
    for bent in ([*texts, ""], [text.upper() + "A" for text in texts] or ["A"], ["".join(texts), "00"]):
        with pytest.raises(ValueError):
            unpacked(bent)


def test_overlapping_answers_both_hold(altered: World) -> None:
    people = staff(altered)
    zhao = person(altered, "Zhao")
    found = only(altered)
    answer(altered, people, "dismiss", found)
    answer(altered, (zhao, people[0]), "dismiss", found)
    altered.assert_intact()
