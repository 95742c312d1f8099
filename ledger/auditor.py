"""An outside auditor's home, and what the auditor reads of an institution: a ledger that is copied, and databases that are only read.

Nothing is written at the institution, and no lock is taken there. What its ledger says is worth something only where the chain bears it
out.
"""

from __future__ import annotations

import hmac
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ledger.access import Grant, grants
from ledger.access_file import GrantedSecrets, Header, digest_of, move_into_place, open_key, read_header
from ledger.books import Books
from ledger.errors import HomeError, LedgerError, SourceError
from ledger.files import write_durably
from ledger.home import CONFIG, LEDGER
from ledger.journal import Journal
from ledger.persons import PersonKey, make_key_file, open_key_file, public_file, read_public
from ledger.record_secrets import RecordSecrets
from ledger.shape import Snapshot
from ledger.sources import open_source
from ledger.store import Store
from ledger.tables import Attached, listed_tables
from ledger.wire import EventEntry, decode_entry

MARK = "auditor.json"
KEY, PUBLIC = "key.json", "public.json"
GRANTS = "access"
REPORTS = "reports"
_WORK = ".ledger-"
_COPIES = 5  # of a ledger that changes while it is copied
_WAL_HEADER = 32


def create_auditor(path: Path, name: str, passphrase: bytes) -> None:
    """Make an auditor's home in a new or empty folder. LedgerError where the folder has something in it, PersonError for a bad name."""
    content = make_key_file(name, passphrase)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(path.iterdir()):
            raise LedgerError(f"{path} is not empty: choose another folder")
        for folder in (GRANTS, REPORTS):
            (path / folder).mkdir(mode=0o700)
        write_durably(path / KEY, content)
        write_durably(path / PUBLIC, public_file(read_public(path / KEY)))
        write_durably(path / MARK, json.dumps({"careseal": "auditor/1"}).encode() + b"\n")
    except OSError as error:
        raise LedgerError(f"cannot write {path}: {error.strerror}") from error


def is_auditor(path: Path) -> bool:
    """Whether a folder is an outside auditor's home."""
    return (path / MARK).exists()


def check_auditor(path: Path) -> None:
    """Raise HomeError unless a folder is an outside auditor's home."""
    if not is_auditor(path):
        also = ", it is an institution's" if (path / CONFIG).exists() else ""
        raise HomeError(f"{path} is no auditor's home{also}: create one with careseal auditor init --home {path} --name NAME")


def take_access(home: Path, file: Path, key: PersonKey) -> Header:
    """Keep an access file in the auditor's home. LedgerError where it is none, or this auditor's key does not open it."""
    header = read_header(file)
    open_key(file, header, key.x25519)
    target = home / GRANTS / f"{header.chain_id}-{header.institution}-{header.grant}-{header.size}.access"
    part = target.with_suffix(".part")
    try:
        shutil.copyfile(file, part)
        move_into_place(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LedgerError(f"cannot write {target}: {error.strerror}") from error
    return header


def auditor_key(home: Path, passphrase: bytes) -> PersonKey:
    """The auditor's own key. KeyUnavailable where the passphrase is wrong, HomeError or PersonError where the file is damaged."""
    return open_key_file(home / KEY, passphrase)


@dataclass(frozen=True, slots=True)
class Shown:
    """A ledger as it was shown: nothing of it is proved yet."""

    home_id: str
    store: Store
    journal: Journal


@dataclass(frozen=True, slots=True)
class Outside:
    """An institution's books as an auditor may read them, and by which grant. `tables` are those to audit."""

    books: Books
    tables: Sequence[Attached]
    header: Header
    grant: Grant


@contextmanager
def outside_books(
    home: Path, key: PersonKey, ledger: str, sources: Sequence[str], names: Sequence[str], now: int
) -> Iterator[Outside]:
    """Open what a ledger's URL and databases' URLs show, by the newest grant in the auditor's home that is of this ledger.

    `names` are tables to audit, all granted ones where it is empty; `now` in milliseconds. It is one consistent read of a sound store.
    LedgerError where no grant for it stands, or something cannot be read; SourceError where a database cannot.
    """
    try:
        with ExitStack() as stack:
            folder = stack.enter_context(_work_folder(home))
            copy = copy_ledger(ledger_path(ledger), folder)
            store = stack.enter_context(closing(Store(copy, readonly=True)))
            stack.enter_context(store.reading())
            store.check_sound()
            listed = listed_tables(store, lambda row: "")
            path, header, grant = _granted(home, key, store, now)
            own, states_key = open_key(path, header, key.x25519)
            tables = _chosen([table for table in listed if table.id in grant.tables], names)
            placed = {table.id: table for table in _placed(tables, [_read_only(url) for url in sources])}
            known = [placed.get(table.id, table) for table in listed]
            reopen = partial(_reopened, copy, path, own, states_key, header.size)
            secrets = stack.enter_context(closing(GrantedSecrets(path, own, states_key, header.size)))
            books = Books(header.home, store, Journal(store, None), known, secrets, reopen)
            yield Outside(books, list(placed.values()), header, grant)
    except HomeError as error:
        raise LedgerError(f"{ledger} is no ledger of a home, or it was rebuilt or damaged: ask the institution for it again") from error


def _reopened(ledger: Path, access: Path, key: bytes, states_key: bytes, size: int) -> tuple[Store, RecordSecrets]:
    return Store(ledger, readonly=True), GrantedSecrets(access, key, states_key, size)


def _granted(home: Path, key: PersonKey, store: Store, now: int) -> tuple[Path, Header, Grant]:
    """The newest access file that is of this ledger, and its grant, which stands."""
    journal = Journal(store, None)
    found = [(read_header(path), path) for path in (home / GRANTS).glob("*.access")]
    mine = sorted((one for one in found if _is_of(one[0], journal)), key=lambda one: (one[0].grant, one[0].size), reverse=True)
    if not mine:
        raise LedgerError("no audit access in this home is of this ledger: ask the institution for it, then careseal auditor take FILE")
    refused: LedgerError | None = None
    for header, path in mine:
        try:
            return path, header, _checked(header, path, key, Shown(header.home, store, journal), now)
        except LedgerError as error:
            refused = refused or error
    assert refused is not None  # noqa: S101 - no file was taken
    raise refused


def _is_of(header: Header, journal: Journal) -> bool:
    """Whether a ledger's journal has the grant that an access file names."""
    try:
        entry = decode_entry(journal.entry(header.grant))
    except LedgerError:
        return False
    return isinstance(entry, EventEntry) and hmac.compare_digest(entry.commitment, header.commitment)


def _checked(header: Header, path: Path, key: PersonKey, shown: Shown, now: int) -> Grant:
    """The grant of an access file. LedgerError unless it stands, is this auditor's, and its journal tells of this very file."""
    grant = next((grant for grant in grants(shown) if grant.entry == header.grant), None)
    if grant is None or (grant.person.signing, grant.person.encryption) != (key.signing, key.encryption):
        raise LedgerError("the audit access in this home was granted to another key than this auditor's: ask the institution for your own")
    grant.check_stands(now)
    if not any((issue.size, issue.digest) == (header.size, digest_of(path)) for issue in grant.issues):
        raise LedgerError(
            f"the journal does not tell of {path.name}: it was changed, or the ledger is older than it; ask for the ledger as it is now"
        )
    return grant


def _chosen(granted: Sequence[Attached], names: Sequence[str]) -> list[Attached]:
    """The granted tables of these names, all where there is none. LedgerError where one of them is not attached any more."""
    for name in names:
        if name not in {table.name for table in granted}:
            raise LedgerError(f"table {name} is not among the granted ones: {', '.join(table.name for table in granted)}")
    chosen = [table for table in granted if not names or table.name in names]
    for table in chosen:
        if table.detached:
            raise LedgerError(f"table {table.name} was granted, and the ledger has it as detached: name the others with --table")
    return chosen


@contextmanager
def _work_folder(home: Path) -> Iterator[Path]:
    """A folder for this process, and without those that killed ones left."""
    for left in home.glob(f"{_WORK}*"):
        owner = left.name.removeprefix(_WORK).partition("-")[0]
        if not (owner.isdigit() and Path(f"/proc/{owner}").exists()):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_WORK}{os.getpid()}-", dir=home) as folder:
        yield Path(folder)


def _placed(tables: Sequence[Attached], urls: Sequence[str]) -> list[Attached]:
    """Each table with the URL of the one database that has it. SourceError where none or several have it."""
    if len(urls) == 1:
        return [replace(table, source=urls[0]) for table in tables]
    placed = []
    with ExitStack() as stack:
        snapshots = {}
        for url in urls:
            source = open_source(url)
            stack.callback(source.close)
            snapshots[url] = stack.enter_context(source.snapshot())
        for table in tables:
            having = [url for url, snapshot in snapshots.items() if _has(snapshot, table)]
            if len(having) != 1:
                words = "none" if not having else "more than one"
                raise SourceError(f"table {table.name} is in {words} of the databases: give --source for its own, and --table")
            placed.append(replace(table, source=having[0]))
    return placed


def _has(snapshot: Snapshot, table: Attached) -> bool:
    try:
        return snapshot.describe(table.shape.table, table.shape.key).encoding == table.shape.encoding
    except SourceError:
        return False


def _read_only(url: str) -> str:
    """The URL of a database that is opened to be read only."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return url  # open_source says what is wrong with it
    return parsed.update_query_dict({"mode": "ro"}).render_as_string(False) if parsed.drivername == "sqlite" else url


def ledger_path(url: str) -> Path:
    """The file that a ledger's URL, or path, names: sqlite:////absolute/ledger.db. LedgerError for any other URL."""
    name = url
    if "://" in url:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            parsed = None
        if parsed is None or parsed.drivername != "sqlite" or not parsed.database or parsed.host:
            raise LedgerError("--ledger names no file: write sqlite:////absolute/path/ledger.db, or the file's path")
        name = parsed.database
    path = Path(name)
    return path / LEDGER if path.is_dir() else path


def copy_ledger(source: Path, folder: Path) -> Path:
    """Copy a ledger as it stood at one moment, without a lock or a write at its place. LedgerError where it changes all the time.

    What SQLite has written and not yet put into the file lies beside it: that file only grows, or begins anew with another head, after
    all of it was put into the first.
    """
    target, log = folder / LEDGER, source.with_name(f"{source.name}-wal")
    for attempt in range(_COPIES):
        try:
            before = _stood(source), _head(log)
            shutil.copyfile(source, target)
            (folder / f"{LEDGER}-wal").unlink(missing_ok=True)
            if before[1]:
                shutil.copyfile(log, folder / f"{LEDGER}-wal")
            if before == (_stood(source), _head(log)):
                return target
        except FileNotFoundError as error:
            if not source.exists():
                raise LedgerError(f"there is no ledger {source}: check --ledger") from error
        except OSError as error:
            raise LedgerError(f"cannot read the ledger {source}: {error.strerror}") from error
        time.sleep(0.2 * attempt)
    raise LedgerError(f"the ledger {source} changes while it is copied: try again, or ask the institution for a copy")


def _stood(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _head(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(_WAL_HEADER)
    except FileNotFoundError:
        return b""
