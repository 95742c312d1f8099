"""`python -m anchoring.evidence_main FILE --network FILE`: the verifier of evidence, by itself. `--help` names its options.

It needs nothing but rlp, a keccak, a secp256k1 and cryptography, and prints one JSON document for programs, in English in every
language. Exit 0 valid, 1 not valid or no evidence at all, 2 a file cannot be read or the network file is none,
as `careseal evidence verify`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from anchoring.container import MAX_BYTES
from anchoring.errors import EvidenceInvalid
from anchoring.evidence import Proved
from anchoring.journal_scan import Later, scan_journal
from anchoring.network import read_network
from anchoring.opening import Record, Version
from anchoring.succession import verify_across
from careseal import CaresealError
from ledger.errors import LedgerError


def read_evidence(path: Path) -> bytes:
    """The bytes of an evidence file, no more than one may have and one. LedgerError where it cannot be read."""
    try:
        with path.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from error


def shown(proved: Proved, later: Later | None, *, values: bool) -> dict[str, object]:
    """What valid evidence proves, for programs; the record's values only where they are asked for."""
    anchored, subject = proved.anchored, proved.subject
    about: dict[str, object] = {
        "valid": True, "kind": proved.kind, "institution": anchored.institution, "name": anchored.name, "chain_id": anchored.chain_id,
        "engine": anchored.engine, "generation": anchored.generation, "size": anchored.size, "root": anchored.root.hex(),
        "block": anchored.block, "proved_at_block": anchored.header_block, "proved_at": iso(anchored.header_time),
        "final": anchored.final, "confirmed": True, "sealers": ["0x" + sealer.hex() for sealer in anchored.sealers],
        "sealers_of": anchored.sealers_of,
        "timestamp": None if proved.stamped is None else {"size": proved.stamped.size, "checked": False},
    }  # fmt: skip
    if not isinstance(subject, Record):
        return about | {"entry": subject.index, "sealed_at": iso(subject.sealed_at), "audit": subject.audit}
    about |= {
        "table": subject.table, "source_table": subject.source_table, "record": subject.id.hex(), "key": list(subject.key),
        "hidden": list(subject.hidden), "later_versions_excluded": later is not None and later.excluded(proved),
        **_version(subject.last, values),
    }  # fmt: skip
    if proved.kind == "history":
        about["versions"] = [_version(version, values) for version in subject.versions]
    if later is not None:
        about |= {"last_version": later.version, "last_entry": later.index}
    return about


def _version(version: Version, values: bool) -> Mapping[str, object]:
    about: dict[str, object] = {
        "version": version.number, "entry": version.index, "change": version.kind, "baseline": version.baseline,
        "captured": version.captured, "marks": list(version.marks), "sealed_at": iso(version.sealed_at),
        "content_shown": version.values is not None,
    }  # fmt: skip
    return about | ({"values": version.values} if values else {})


def iso(moment: float) -> str:
    """Seconds since 1970 UTC as ISO 8601; as a number where no calendar has them, for a header may say anything."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{moment:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m anchoring.evidence_main", description="Verify Careseal evidence offline.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--network", type=Path, required=True, help="the network file, the root of trust")
    parser.add_argument("--succession", type=Path, action="append", default=[], help="leads to an earlier chain; the latest first")
    parser.add_argument("--journal", type=Path, help="the exported journal, to look for later versions")
    parser.add_argument("--values", action="store_true", help="show the record")
    chosen = parser.parse_args(arguments)
    code, document = 0, dict[str, object]()
    try:
        files = [read_evidence(file) for file in chosen.succession]
        proved = verify_across(read_evidence(chosen.file), read_network(chosen.network), files)
        document = shown(proved, scan_journal(chosen.journal, proved) if chosen.journal else None, values=chosen.values)
    except EvidenceInvalid as error:
        code, document = 1, {"valid": False, "link": error.link, "reason": error.message}
    except (CaresealError, OSError) as error:
        code, document = 2, {"valid": None, "reason": str(error)}
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return code


if __name__ == "__main__":
    sys.exit(main())
