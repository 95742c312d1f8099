"""Databases and files for the tests of imports."""

from __future__ import annotations

import json
from pathlib import Path

from ledger.intake.load import STORE, import_files
from ledger.intake.mapping import RowMap
from ledger.intake.report import Report

PATIENT = {"resourceType": "Patient", "id": "p1", "meta": {"versionId": "3", "lastUpdated": "2026-01-02T03:04:05Z"},
           "name": [{"text": "张三"}], "identifier": [{"system": "urn:mrn", "value": "7"}]}  # fmt: skip
OBSERVATION = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "Na"}, "subject": {"reference": "Patient/p1"}}


class Place:
    """A database, and a folder of files to import into it."""

    def __init__(self, hospital, folder: Path) -> None:
        self.hospital, self.folder, self.url = hospital, folder, hospital.url

    def file(self, name: str, content: object) -> Path:
        path = self.folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1))
        return path

    def load(self, *files: Path, table: str = STORE, mapped: RowMap | None = None, partial: bool = False, dry_run: bool = False,
             home=None) -> Report:  # fmt: skip
        return import_files(home, self.url, table, files, mapped, 1, partial=partial, dry_run=dry_run, progress=lambda *_: None)

    def resources(self, *values: object, suffix: str = ".ndjson") -> Report:
        """Import resources, one on each line."""
        text = "".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) + "\n" for value in values)
        return self.load(self.file(f"x{suffix}", text))

    def stored(self, columns: str = "resource_type, id") -> list[tuple]:
        return self.hospital.rows(f"SELECT {columns} FROM {STORE} ORDER BY resource_type, id")

    def has_store(self) -> bool:
        if self.hospital.engine == "sqlite":
            return bool(self.hospital.rows("SELECT 1 FROM sqlite_schema WHERE name = ?", STORE))
        return bool(self.hospital.rows("SELECT 1 FROM pg_tables WHERE tablename = ?", STORE))


def bundle(*resources: dict, **more: object) -> dict:
    entries = [{"fullUrl": f"urn:uuid:{r.get('id', 'x')}", "resource": r, "request": {"method": "POST", "url": "x"}} for r in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries, **more}


def told(report: Report) -> list[tuple]:
    """What a report says of each problem: kind, line, entry, type, reason."""
    return [(t.problem.value, t.place.line, t.place.entry, t.type, t.reason) for t in report.told]
