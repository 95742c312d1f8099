"""Runs the passes of an audit in this process or in several that see the same snapshot."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from careseal import CaresealError
from ledger.books import Books
from ledger.errors import SourceError
from ledger.findings import Spot
from ledger.journal_pass import JournalReport, journal_pass
from ledger.record_secrets import RecordSecrets
from ledger.shape import Snapshot, Source
from ledger.sources import open_source
from ledger.store import Store
from ledger.table_pass import TablePass, TableReport
from ledger.tables import Attached

Progress = Callable[[str, int], None]
_ENDED = "a process of the audit was ended from outside: run it again"


@dataclass(frozen=True, slots=True)
class Range:
    """Keys low <= key < high of a table."""

    table: int
    low: bytes | None
    high: bytes | None


class Passes:
    """One process's view: a snapshot of each database, and a pass for each table."""

    def __init__(self, store: Store, secrets: RecordSecrets, tables: Sequence[Attached]) -> None:
        self.store, self._secrets, self._tables = store, secrets, {table.id: table for table in tables}
        self._stack = ExitStack()
        self._sources: dict[str, Source] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._passes: dict[int, TablePass] = {}

    def open(self, tokens: Mapping[str, str | None]) -> None:
        """Open a snapshot of each database; with tokens of frozen sources all processes see the same."""
        for url in {table.source: None for table in self._tables.values()}:
            source = self._sources[url] = self._stack.enter_context(_closing(open_source(url)))
            self._snapshots[url] = self._stack.enter_context(source.snapshot(tokens.get(url)))

    def source_of(self, table: int) -> Source:
        return self._sources[self._tables[table].source]

    def snapshot_of(self, table: int) -> Snapshot:
        return self._snapshots[self._tables[table].source]

    def table_pass(self, number: int) -> TablePass:
        if number not in self._passes:
            table = self._tables[number]
            self._passes[number] = TablePass(self.store.db, self._secrets, table, self._snapshots[table.source])
        return self._passes[number]

    def close(self) -> None:
        self._stack.close()


class _closing(ExitStack):  # noqa: N801 - reads as a verb where it is used
    """contextlib.closing for a Source, typed."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.callback(source.close)

    def __enter__(self) -> Source:  # type: ignore[override]
        return self._source


class Workers:
    """The processes of one audit. With one process, or where a source cannot be frozen, all runs here."""

    def __init__(self, books: Books, tables: Sequence[Attached], processes: int) -> None:
        self._books, self._tables = books, tables
        self.local = Passes(books.store, books.secrets, tables)
        self._count = processes
        self.others: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []

    def __enter__(self) -> Workers:
        try:
            if self._count < 2 or not self._start_others():
                self.local.open({})
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start_others(self) -> bool:
        """Start the other processes, then let every source stand still for the moment in which all open one snapshot."""
        context = multiprocessing.get_context("spawn")
        for _ in range(self._count - 1):
            mine, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.others.append((process, mine))
        for _, pipe in self.others:
            _send(pipe, (self._books.reopen, list(self._tables)))
        for _, pipe in self.others:
            _answer(pipe)
        with ExitStack() as frozen:
            tokens: dict[str, str | None] = {}
            for url in {table.source: None for table in self._tables}:
                source = frozen.enter_context(_closing(open_source(url)))
                tokens[url] = frozen.enter_context(source.freeze())
            if None in tokens.values():
                self._end_others()
                return False
            for _, pipe in self.others:
                _send(pipe, tokens)
            self.local.open(tokens)
            for _, pipe in self.others:
                _answer(pipe)
        return True

    def _end_others(self) -> None:
        while self.others:
            process, pipe = self.others.pop()
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.kill()

    def schema_spots(self, unread: Mapping[int, str]) -> list[Spot]:
        """Findings about tables as a whole; `unread` has those whose rows could not be compared, and why."""
        return [spot for table in self._tables for spot in self.local.table_pass(table.id).schema(unread.get(table.id, ""))]

    def name_of(self, table: int) -> str:
        return next(attached.name for attached in self._tables if attached.id == table)

    def knows_authors(self, table: int) -> bool:
        return self.local.source_of(table).knows_authors

    def seeks(self, table: Attached, low: bytes) -> bool:
        """Whether reading a range of the table costs no more than the range; where it cannot be told it is taken not to."""
        try:
            return self.local.snapshot_of(table.id).seeks(table.shape, low)
        except SourceError:
            return False

    def row(self, table: Attached, key: bytes) -> bytes | None:
        """The present row of a key, in the audit's snapshot; None where there is none, or the table was not read."""
        if table not in self._tables:
            return None
        for rows in self.local.snapshot_of(table.id).rows(table.shape, low=key, high=key + b"\0"):
            return rows.rows[0]
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end_others()
        self.local.close()


def run_ranges(
    workers: Workers, size: int, roots: Mapping[int, bytes] | None, ranges: Sequence[Range], progress: Progress
) -> tuple[JournalReport, list[TableReport]]:
    """Run the journal's pass (unless `roots` is None) and all ranges; returns the reports, in the order of the ranges."""
    tasks: list[tuple[int, Range | dict[int, bytes]]] = list(reversed(list(enumerate(ranges))))
    if roots is not None:
        tasks.append((len(ranges), dict(roots)))
    results: dict[int, JournalReport | TableReport] = {}
    busy: dict[Connection, deque[int]] = {}

    def hand_out(pipe: Connection) -> None:
        """Keep a second task waiting in the pipe, so that no process rests until this one looks after it."""
        waiting = busy.setdefault(pipe, deque())
        while tasks and len(waiting) < 2:
            place, task = tasks.pop()
            waiting.append(place)
            _send(pipe, (size, task))
        if not waiting:
            del busy[pipe]

    def collect(timeout: float | None) -> None:
        for pipe in wait(list(busy), timeout):
            assert isinstance(pipe, Connection)  # noqa: S101 - only pipes are waited for
            result = results[busy[pipe].popleft()] = _answer(pipe)
            if isinstance(result, TableReport):
                progress(workers.name_of(result.table), result.rows)
            hand_out(pipe)

    for _, pipe in workers.others:
        hand_out(pipe)
    while tasks:
        place, task = tasks.pop()
        results[place] = _run(workers.local, size, task, progress)
        if busy:
            collect(0)
    while busy:
        collect(None)
    reports = [result for _, result in sorted(results.items()) if isinstance(result, TableReport)]
    return next((result for result in results.values() if isinstance(result, JournalReport)), JournalReport()), reports


def _run(passes: Passes, size: int, task: Range | dict[int, bytes], progress: Progress) -> JournalReport | TableReport:
    if isinstance(task, Range):
        return passes.table_pass(task.table).run(task.low, task.high, progress)
    return journal_pass(passes.store.db, size, task)


def _send(pipe: Connection, message: object) -> None:
    try:
        pipe.send(message)
    except OSError:
        raise SourceError(_ENDED) from None


def _answer(pipe: Connection) -> Any:
    """The next answer of a worker; its error is raised here."""
    try:
        answer = pipe.recv()
    except (EOFError, OSError):
        raise SourceError(_ENDED) from None
    if isinstance(answer, CaresealError):
        raise answer
    return answer


def _worker(pipe: Connection) -> None:
    """What another process runs: opens the same snapshot, then does the ranges that it is sent, until the pipe is closed."""
    try:
        reopen, tables = pipe.recv()
        store, secrets = reopen()
        passes = Passes(store, secrets, tables)
        store.db.execute("BEGIN")
        pipe.send(None)
        passes.open(pipe.recv())
        pipe.send(None)
        while True:
            size, task = pipe.recv()
            pipe.send(_run(passes, size, task, lambda table, rows: None))
    except CaresealError as error:
        # A subclass may need more than its message to be made again.
        pipe.send(SourceError(str(error)) if isinstance(error, SourceError) else type(error)(str(error)))
    except EOFError:
        pass
