"""Putting changes of one row in the order in which they happened.

Where a trigger of the hospital runs before capture's and changes the same row again, the inner change is queued first: an update
before the insert or update that caused it. Capture's triggers are made to run first, but a trigger made later may precede them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ledger import rowcodec
from ledger.shape import Change, Shape


def in_order(shape: Shape, batches: Iterable[list[Change]]) -> Iterator[list[Change]]:
    """The changes, with neighbours of one key exchanged where the later one caused the earlier."""
    held: list[Change] = []
    for batch in batches:
        for change in batch:
            place = len(held)
            while place and _caused(shape, change, held[place - 1]):
                place -= 1
            if place < len(held):
                # The row that the table holds now belongs to the change that comes last.
                last = held[-1]
                held[-1] = replace(last, row=change.row, subject=change.subject)
                change = replace(change, row=None, subject=None)
            held.insert(place, change)
        # The causing change comes next, if at all: only the run at the end may still be reordered.
        keep = _last_run(held)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held


def _caused(shape: Shape, later: Change, earlier: Change) -> bool:
    """Whether `later`, by its place in the queue, made the row that `earlier` changed on."""
    # An update that moved its row away made room for another row of the old key, and caused nothing.
    if earlier.op != "U" or later.op not in ("I", "U") or not earlier.old_key == earlier.new_key == later.new_key:
        return False
    if later.op == "I":
        return True
    if later.old_row is None or earlier.old_row is None:
        return False
    pairs = zip(
        shape.names, rowcodec.fields(shape.encoding, earlier.old_row), rowcodec.fields(shape.encoding, later.old_row), strict=True
    )
    differing = tuple(name for name, one, other in pairs if one != other)
    return differing == later.changed != earlier.changed


def _last_run(held: list[Change]) -> int:
    """How many changes at the end could still move behind one that follows."""
    count = 0
    while count < min(len(held), 16) and held[-1 - count].op == "U" and held[-1 - count].old_key == held[-1].old_key:
        count += 1
    return count
