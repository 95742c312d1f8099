"""Verifying a hold, years later: every copy against its list, its entry, its checkpoint and, where they can be had, journal and chain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from anchoring.errors import EvidenceInvalid
from anchoring.evidence import verify_evidence
from anchoring.hold_folder import LIST, MOST_BYTES, list_name, part_name, parts_in, read_bounded, read_part
from anchoring.link import Link
from anchoring.network import Network
from ledger import canonical
from ledger.commitment import verify_row
from ledger.errors import LedgerError, WireError
from ledger.holds import Hold, holds
from ledger.home import Home
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.persons import PersonKey
from ledger.wire import RecordEntry, decode_entry


@dataclass(frozen=True, slots=True)
class Checked:
    """What a hold was found to be: its number, parts and records, and `lists` as they are signed. Nothing is asserted that is not checked:
    `offline` against a network file, `journal` against the home's journal, `chain` against the chain as it is now."""

    hold: int
    lists: tuple[Mapping[str, Any], ...]
    records: int
    offline: bool
    journal: bool
    chain: bool


def verify_hold(
    folder: Path, opener: PersonKey | bytes, network: Network | None, home: Home | None = None, link: Link | None = None
) -> Checked:
    """Verify all that lies in a hold's folder. EvidenceInvalid that names the first thing which does not hold; KeyUnavailable where the
    key has no custody, HomeError where the folder cannot be read."""
    lists: list[Mapping[str, Any]] = []
    records, numbers = 0, parts_in(folder)
    if home is not None:
        hold = _journalled(home, _list(folder, 1))
        # A part beyond these was being made when its command was killed: it is no part of the hold.
        numbers = numbers[: len(hold.parts)]
    for number in numbers:
        listed = _list(folder, number)
        if lists and (listed["hold"], listed["home"]) != (lists[0]["hold"], lists[0]["home"]):
            raise EvidenceInvalid("hold", f"{list_name(number)} is of another hold")
        if sha256(read_bounded(folder / part_name(number), MOST_BYTES * 2)).hexdigest() != listed["sha256"]:
            raise EvidenceInvalid("hold", f"{part_name(number)} is not the file that its list names")
        copies = list(read_part(folder, number, opener))
        _compare(number, copies, listed)
        for data in copies:
            _check_copy(data, network, home, link)
        lists.append(listed)
        records += len(copies)
    if home is not None:
        _check_journal(hold, folder, lists)
    return Checked(lists[0]["hold"], tuple(lists), records, network is not None, home is not None, link is not None)


def _list(folder: Path, number: int) -> dict[str, Any]:
    data = read_bounded(folder / list_name(number), MOST_BYTES)
    try:
        listed: dict[str, Any] = dict(canonical.decode(data.removesuffix(b"\n")))
        if listed["careseal"] != LIST or listed["part"] != number or not isinstance(listed["records"], list):
            raise WireError("another list")
        str(listed["sha256"]), int(listed["hold"])
    except (WireError, KeyError, TypeError, ValueError) as error:
        raise EvidenceInvalid("hold", f"{list_name(number)} was changed, or is no list of this part") from error
    return listed


def _compare(number: int, copies: Sequence[bytes], listed: Mapping[str, Any]) -> None:
    """The list against what was copied: entry and digest of each record, in order."""
    try:
        there = []
        for data in copies:
            record = json.loads(data)["record"]
            entry = decode_entry(bytes.fromhex(record["entry"]))
            there.append((record["index"], entry.row_digest.hex() if isinstance(entry, RecordEntry) else None))
        told = [(record["entry"], record["digest"]) for record in listed["records"]]
    except (WireError, ValueError, KeyError, TypeError) as error:
        raise EvidenceInvalid("hold", f"part {number} holds a copy that is no evidence") from error
    if there != told:
        raise EvidenceInvalid("hold", f"{list_name(number)} does not list what part {number} holds")


def _check_copy(data: bytes, network: Network | None, home: Home | None, link: Link | None) -> None:
    if network is not None:
        verify_evidence(data, network)
    if home is None:
        return
    evidence = json.loads(data)
    record, checkpoint = evidence["record"], evidence["checkpoint"]
    try:
        body, index, size, root = bytes.fromhex(record["entry"]), record["index"], checkpoint["size"], bytes.fromhex(checkpoint["root"])
        entry = decode_entry(body)
        if not isinstance(entry, RecordEntry):
            raise WireError("the journal entry commits to no row")
        verify_row(entry.algorithm, bytes.fromhex(record["secret"]), bytes.fromhex(record["row"]), entry.row_digest)
        verify_inclusion(leaf_hash(body), index, size, list(map(bytes.fromhex, record["proof"])), root)
        if home.journal.entry(index) != body or home.journal.size < size or home.journal.tree.root(size) != root:
            raise WireError("the home's journal is not the one that this copy was made of")
    except (LedgerError, ValueError, KeyError, TypeError) as error:
        words = str(error) if isinstance(error, LedgerError) else "a copy is no evidence"
        raise EvidenceInvalid("hold", words) from error
    if link is not None:
        found = link.state().find(checkpoint["generation"], size)
        if found is None or found.root != root:
            raise EvidenceInvalid("checkpoint", f"the chain has no checkpoint of {size} entries with this root")


def _journalled(home: Home, first: Mapping[str, Any]) -> Hold:
    hold = next((hold for hold in holds(home) if hold.id == first["hold"]), None)
    if hold is None or first.get("home") != home.settings.home_id:
        raise EvidenceInvalid("hold", "the home's journal knows no such hold")
    return hold


def _check_journal(hold: Hold, folder: Path, lists: Sequence[Mapping[str, Any]]) -> None:
    """The digests of parts and lists against the hold's entries."""
    there = [(sha256(read_bounded(folder / list_name(one["part"]), MOST_BYTES)).hexdigest(), one["sha256"]) for one in lists]
    if there != [(part.list_sha256, part.sha256) for part in hold.parts]:
        raise EvidenceInvalid("hold", "its parts or lists are not those that were journalled, or one is missing")
