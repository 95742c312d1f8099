"""Taking tables under seal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from ledger import rowcodec
from ledger.clinical_time import declared_time
from ledger.errors import LedgerError
from ledger.home import Home
from ledger.rowcodec import SQLITE
from ledger.shape import Shape, Snapshot
from ledger.sources import open_source
from ledger.tables import Attached, Options, attached_tables
from ledger.wire import MAX_COLUMNS, Kind

_MAX_TABLES = 65535
_MAX_NAME = 200


def attach(
    home: Home, url: str, names: Sequence[str], key: Sequence[str], options: Options, now: int, *, alias: str | None = None
) -> list[Attached]:
    """Attach tables of one database: check that every column can be committed to, install capture, journal the configuration.

    All or none is recorded. Running it again after a crash completes it. `alias` is the name in this home of the only table, where
    that in its database will not do. SourceError names the column or table that is refused.
    """
    if not names:
        raise LedgerError("name at least one --table")
    if alias is not None:
        _check_alias(alias, names)
    source = open_source(url)
    try:
        with source.snapshot() as snapshot:
            shapes = [snapshot.describe(name, key or None) for name in names]
            _refuse_repeated(source.url, names, shapes, alias, attached_tables(home))
            for shape in shapes:
                check(shape, options)
                snapshot.check_options(shape, subject=None if options.subject == "@row" else options.subject, final=options.final)
                if options.time:
                    _refuse_unreadable(snapshot, shape, options.time)
        if options.capture == "triggers":
            for shape in shapes:
                source.install_capture(shape, _owner(home, alias))
        return _record(home, source.url, shapes, alias, options, now)
    finally:
        source.close()


def check(shape: Shape, options: Options) -> None:
    """Raise LedgerError where a table cannot be committed to with these options."""
    if len(shape.columns) > MAX_COLUMNS:
        raise LedgerError(f"table {shape.table} has {len(shape.columns)} columns; at most {MAX_COLUMNS} can be committed to")
    options.check(shape)


def _refuse_unreadable(snapshot: Snapshot, shape: Shape, column: str) -> None:
    """A row whose declared time cannot be read would be a finding with its first amendment."""
    key = shape.columns[: len(shape.key)]
    place = shape.names.index(column)
    narrow = replace(shape, columns=key if place < len(key) else (*key, shape.columns[place]))
    place = narrow.names.index(column)
    for rows in snapshot.rows(narrow):
        for row in rows.rows:
            text = rowcodec.display(shape.encoding, rowcodec.fields(shape.encoding, row)[place])
            if text is not None and declared_time(text) is None:
                raise LedgerError(
                    f"--time {column}: table {shape.table} has rows whose {column} cannot be read as a time: "
                    "correct them to ISO 8601, or attach without --time"
                )


def _check_alias(alias: str, names: Sequence[str]) -> None:
    if len(names) != 1:
        raise LedgerError("--as names one table: give exactly one --table with it")
    if not alias.isprintable() or not alias.strip() or len(alias) > _MAX_NAME:
        raise LedgerError(f"--as takes a name of printable characters, at most {_MAX_NAME}")


def _owner(home: Home, alias: str | None) -> str:
    """Whom a capture queue belongs to: under another name, or from another home, its changes would be taken twice."""
    mark = "" if alias is None else f"-{sha256(alias.casefold().encode()).hexdigest()[:16]}"
    return home.settings.home_id + mark


def _refuse_repeated(url: str, names: Sequence[str], shapes: Sequence[Shape], alias: str | None, attached: Sequence[Attached]) -> None:
    """One table may be spelled in several ways: the names that its database gives are compared, and those in the home in any case."""
    places = {(table.source, _same(table.shape)) for table in attached}
    taken = {table.name.casefold() for table in attached}
    for name, shape in zip(names, shapes, strict=True):
        if (url, _same(shape)) in places:
            raise LedgerError(f"table {name} is attached already: detach it first to attach it anew")
        wanted = alias or shape.table
        if wanted.casefold() in taken:
            raise LedgerError(f"this home has a table {wanted} already, of another database or schema: give this one a name with --as NAME")
        places.add((url, _same(shape)))
        taken.add(wanted.casefold())


def _same(shape: Shape) -> str:
    return shape.table.lower() if shape.encoding == SQLITE else shape.table


def _record(home: Home, url: str, shapes: list[Shape], alias: str | None, options: Options, now: int) -> list[Attached]:
    first = int(home.store.db.execute("SELECT coalesce(max(id), 0) + 1 FROM tables").fetchone()[0])
    if first + len(shapes) > _MAX_TABLES:
        raise LedgerError(f"a home can attach {_MAX_TABLES} tables in its life: start another home")
    attached = []
    with home.batch() as batch:
        for number, shape in enumerate(shapes, first):
            table = Attached(number, alias or shape.table, url, shape, options, batch.next)
            batch.add_event(Kind.CONFIGURATION, table.document(), now)
            table.put(batch, home.keyring)
            attached.append(table)
    return attached
