"""What makes a finding the same finding in every audit: ids of 20 bytes that name exactly what was found, and no key of a row.

A finding about a row consists of one or more faults: that its row contradicts its last entry, that an entry was marked when it was
sealed. Each fault has an id of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

from ledger.findings import FindingKind

ID_BYTES = 20
SHOWN = 12  # hexadecimal digits that commands print; any unambiguous beginning is understood
GROUP = "g"  # before a group's
_FINDING = b"careseal/v1/finding"

Blind = Callable[[bytes], bytes]  # a digest of ID_BYTES under a key of the home


def state(blind: Blind, kind: FindingKind, table: int, key: bytes, entry: int | None, row: bytes | None) -> bytes:
    """What a row is (None: it is not there) where its record's last entry, if there is one, says otherwise."""
    head = _number(table), key, _number(0 if entry is None else entry + 1), b"" if row is None else b"\1" + row
    return blind(_joined(kind.value, *head))


def marked(entry: int) -> bytes:
    """An entry that was marked when its change was sealed: what it says never changes."""
    return _id("marked", _number(entry))


def about_table(kind: FindingKind, configuration: int, detail: str) -> bytes:
    """What a table as a whole shows, since the configuration entry that attached it."""
    return _id(kind.value, _number(configuration), detail.encode(errors="surrogateescape"))


def earlier_generation(number: int, size: int) -> bytes:
    """A generation of the journal that was given up with so many entries."""
    return _id("generation", _number(number), _number(size))


def of_finding(faults: Iterable[bytes]) -> bytes:
    """The id of a finding with these faults."""
    listed = sorted(set(faults))
    return listed[0] if len(listed) == 1 else _id("finding", *listed)


def of_group(findings: Iterable[bytes]) -> bytes:
    """The id of a group of findings: it commits to exactly these."""
    return _id("group", b"".join(sorted(findings)))


def _id(kind: str, *parts: bytes) -> bytes:
    return sha256(_joined(kind, *parts)).digest()[:ID_BYTES]


def _joined(kind: str, *parts: bytes) -> bytes:
    return _FINDING + b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), *parts))


def _number(value: int) -> bytes:
    return value.to_bytes(6, "big")
