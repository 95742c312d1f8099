"""What people answered to findings, read from the journal and verified: who proposed, who confirmed, what was reopened.

Every signature is verified each time, against the people registered at that entry. What does not verify hides nothing: it is listed as
invalid, and its findings stay open.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter
from typing import Any

from ledger import canonical, identity
from ledger.canonical import Json
from ledger.errors import LedgerError, PersonError
from ledger.identity import ID_BYTES
from ledger.journal import Journal, Ledger
from ledger.persons import Registration, check_action, registrations
from ledger.windows import Signed, Window, window_from
from ledger.wire import Kind

ROLES = ("staff",)
MAX_FAULTS = 1_000_000  # of one answer
_CHUNK = 1000  # ids in one text of a document


@dataclass(frozen=True, slots=True)
class Faults:
    """What an answer is about: runs of marked entries, first and last, and ids of states, sorted."""

    entries: tuple[tuple[int, int], ...] = ()
    states: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        return len(self.states) + sum(last - first + 1 for first, last in self.entries)

    def document(self) -> dict[str, Json]:
        return {"entries": [list(run) for run in self.entries], "states": packed(self.states)}


def faults_of(listed: Sequence[bytes | int]) -> Faults:
    """Faults, of which numbers are marked entries, in the one form that is signed."""
    entries = sorted({fault for fault in listed if isinstance(fault, int)})
    return Faults(tuple(runs_of(entries)), tuple(sorted({fault for fault in listed if isinstance(fault, bytes)})))


@dataclass(frozen=True, slots=True)
class Resolution:
    """An answer to a finding or a group of findings, from its proposal on. `sealed` are the entries that took accepted states in."""

    do: str  # accept or dismiss
    id: bytes
    group: bool
    findings: int
    kind: str
    table: str | None
    columns: tuple[str, ...]
    window: int | None
    reason: str
    ticket: str
    faults: Faults
    proposed: Signed
    confirmed: Signed | None = None
    reopened: Signed | None = None
    sealed: tuple[tuple[int, int], ...] = ()  # runs of them, first and last
    sealed_states: tuple[bytes, ...] = ()  # the state that each of them took in

    @property
    def state(self) -> str:
        return "reopened" if self.reopened else "resolved" if self.confirmed else "proposed"


@dataclass(slots=True)
class Resolutions:
    """All answers and change windows, in the journal's order; `invalid` are entries that do not verify, and why."""

    answers: dict[int, Resolution] = field(default_factory=dict)
    windows: dict[int, Window] = field(default_factory=dict)
    invalid: list[tuple[int, str]] = field(default_factory=list)
    _of_entry: dict[str, list[tuple[int, int, Resolution]]] = field(default_factory=dict)
    _of_state: dict[str, dict[bytes, Resolution]] = field(default_factory=dict)
    _origins: list[tuple[int, int, Resolution]] = field(default_factory=list)

    def index(self) -> Resolutions:
        """Made ready for look-ups."""
        for wanted in ("resolved", "proposed"):
            live = [answer for answer in self.answers.values() if answer.state == wanted]
            self._of_state[wanted] = {state: answer for answer in live for state in answer.faults.states}
            runs = [(*run, answer) for answer in live for run in answer.faults.entries]
            runs += [(*run, answer) for answer in live for run in answer.sealed]
            self._of_entry[wanted] = _disjoint(runs)
        self._origins = _disjoint([(*run, answer) for answer in self.answers.values() for run in answer.sealed])
        return self

    def resolved(self, fault: bytes | int) -> Resolution | None:
        """The answer of two people to a fault, where there is one."""
        return self._find("resolved", fault)

    def proposed(self, faults: Sequence[bytes | int]) -> Resolution | None:
        """The answer that one person proposed to all these faults, where there is one."""
        found = {id(answer): answer for answer in (self._find("proposed", fault) for fault in faults)}
        return next(iter(found.values())) if len(found) == 1 else None

    def id_of(self, fault: bytes | int) -> bytes:
        """A fault's id; an entry that took an accepted state in keeps that state's."""
        if isinstance(fault, bytes):
            return fault
        run = _containing(self._origins, fault)
        if run is None:
            return identity.marked(fault)
        before = sum(last - first + 1 for first, last in run[2].sealed if last < fault)
        return run[2].sealed_states[before + fault - next(first for first, last in run[2].sealed if first <= fault <= last)]

    def _find(self, state: str, fault: bytes | int) -> Resolution | None:
        if isinstance(fault, bytes):
            return self._of_state[state].get(fault)
        run = _containing(self._of_entry[state], fault)
        return None if run is None else run[2]


def _disjoint(runs: list[tuple[int, int, Resolution]]) -> list[tuple[int, int, Resolution]]:
    made: list[tuple[int, int, Resolution]] = []
    for first, last, answer in sorted(runs, key=itemgetter(0)):
        begin = max(first, made[-1][1] + 1) if made else first
        if begin <= last:
            made.append((begin, last, answer))
    return made


def _containing(runs: list[tuple[int, int, Resolution]], entry: int) -> tuple[int, int, Resolution] | None:
    place = bisect_right(runs, entry, key=itemgetter(0)) - 1
    return runs[place] if place >= 0 and entry <= runs[place][1] else None


def packed(ids: Sequence[bytes]) -> list[Json]:
    """Ids as texts of hexadecimal digits, so many in each."""
    return [b"".join(ids[start : start + _CHUNK]).hex() for start in range(0, len(ids), _CHUNK)]


def unpacked(texts: Sequence[str]) -> tuple[bytes, ...]:
    """What `packed` packed. ValueError or TypeError on anything else."""
    joined = b"".join(map(bytes.fromhex, texts))
    ids = tuple(joined[start : start + ID_BYTES] for start in range(0, len(joined), ID_BYTES))
    if len(joined) % ID_BYTES or packed(ids) != list(texts):
        raise ValueError
    return ids


def runs_of(entries: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs, first and last."""
    runs: list[tuple[int, int]] = []
    for entry in entries:
        if runs and runs[-1][1] + 1 == entry:
            runs[-1] = runs[-1][0], entry
        else:
            runs.append((entry, entry))
    return runs


def runs_from(listed: Sequence[Sequence[int]], low: int, high: int) -> tuple[tuple[int, int], ...]:
    """Runs of entries from `low` on and below `high`. ValueError or TypeError unless they are in the one form of `runs_of`."""
    runs = tuple((first, last) for first, last in listed)
    numbers = [number for run in runs for number in run]
    if any(type(number) is not int for number in numbers) or any(last < first for first, last in runs):
        raise ValueError
    if any(after <= last + 1 for (_, last), (after, _) in pairwise(runs)) or (runs and not low <= numbers[0] <= numbers[-1] < high):
        raise ValueError
    return runs


def entries_sha256(journal: Journal, runs: Sequence[tuple[int, int]]) -> str:
    """SHA-256, in hex, of the bytes of entries in a row."""
    made = sha256()
    for first, last in runs:
        for bodies in journal.bodies(first, last + 1):
            made.update(b"".join(bodies))
    return made.hexdigest()


def digest(document: object) -> str:
    """What an action signs of something larger: SHA-256, in hex, of its canonical JSON."""
    return sha256(canonical.encode(document)).hexdigest()


def read_resolutions(home: Ledger) -> Resolutions:
    """All answers and windows of the home's journal. Nothing is raised: what cannot be read or verified answers nothing."""
    found = Resolutions()
    try:
        walk = _Walk(home, found, registrations(home))
        for index, time, document in home.journal.documents_of(Kind.FINDING):
            try:
                walk.take(index, time, document)
            except PersonError as error:
                found.invalid.append((index, str(error)))
            except (LedgerError, KeyError, TypeError, ValueError, AttributeError):
                found.invalid.append((index, str(PersonError("its document is no answer to findings"))))
    except LedgerError as error:
        return Resolutions(invalid=[(home.journal.size, str(error))]).index()
    return found.index()


class _Walk:
    """Takes the journal's events about findings in, in order."""

    def __init__(self, home: Ledger, found: Resolutions, registered: Sequence[Registration]) -> None:
        self._home, self._found, self._registered = home, found, registered
        self._seen: set[str] = set()
        self._takes: dict[str, Callable[[dict[str, Any], dict[str, Any], Signed], None]] = {
            "proposal": self._proposal, "confirmation": self._confirmation, "reopening": self._reopening, "window": self._window,
            "closing": self._closing,
        }  # fmt: skip

    def take(self, index: int, time: int, document: Mapping[str, Any]) -> None:
        ((what, about),) = document.items()
        action = about["action"]
        person = check_action(self._home.home_id, self._registered, ROLES, action, index)
        size, signature = action["size"], action["signature"]
        if type(size) is not int or not 0 < size <= index or self._home.journal.tree.root(size).hex() != action["root"]:
            raise PersonError("the action was signed for another journal")
        if signature in self._seen:
            raise PersonError("the action was journalled before: it counts once")
        if action["do"] not in _DOES[what]:
            raise ValueError
        self._takes[what](about, action, Signed(person, index, time))
        self._seen.add(signature)

    def _proposal(self, about: dict[str, Any], action: dict[str, Any], signed: Signed) -> None:
        faults = Faults(runs_from(about["faults"]["entries"], 0, action["size"]), unpacked(about["faults"]["states"]))
        if action["faults_sha256"] != digest(about["faults"]) or faults.count > MAX_FAULTS:
            raise PersonError("what was signed is not what is listed")
        texts = [action[name] for name in ("kind", "reason", "ticket")] + action["columns"]
        if not all(isinstance(text, str) for text in texts) or type(action["findings"]) is not int:
            raise ValueError
        self._found.answers[signed.entry] = Resolution(
            action["do"], bytes.fromhex(action["id"]), bool(action["group"]), action["findings"], action["kind"], action["table"],
            tuple(action["columns"]), action["window"], action["reason"], action["ticket"], faults, signed,
        )  # fmt: skip

    def _confirmation(self, about: dict[str, Any], action: dict[str, Any], signed: Signed) -> None:
        place: int = action["proposal"]
        answer, window = self._found.answers.get(place), self._found.windows.get(place)
        first = answer.proposed if answer is not None else window.opened if window is not None else None
        if first is None:
            raise PersonError("it confirms nothing that is valid")
        self._second_of_two(first, signed)
        ((_, proposal),) = self._home.journal.about(place).items()
        if digest(proposal["action"]) != action["proposal_sha256"]:
            raise PersonError("what was signed is not what is listed")
        if window is not None:
            if window.confirmed is not None or window.closed is not None:
                raise PersonError("this change window is confirmed or closed already")
            self._found.windows[place] = replace(window, confirmed=signed)
        elif answer is not None:
            if answer.state != "proposed":
                raise PersonError("this proposal is confirmed or withdrawn already")
            states = unpacked(about["states"])
            if digest(about["states"]) != action["states_sha256"]:
                raise PersonError("what was signed is not what is listed")
            sealed = self._sealed(action, len(states), signed.entry)
            self._found.answers[place] = replace(answer, confirmed=signed, sealed=sealed, sealed_states=states)

    def _second_of_two(self, first: Signed, second: Signed) -> None:
        if first.person.id == second.person.id:
            raise PersonError(f"{second.person.name} signed both: it takes two people")
        if not self._registered[first.person.id - 1].stands_at(second.entry):
            raise PersonError(f"the key of {first.person.name} was revoked before it was confirmed")

    def _sealed(self, action: dict[str, Any], count: int, entry: int) -> tuple[tuple[int, int], ...]:
        """The entries that took accepted states in: made between the journal that was signed and the confirmation, and signed too."""
        runs = runs_from(action["entries"], action["size"], entry)
        if sum(last - first + 1 for first, last in runs) != count:
            raise ValueError
        if entries_sha256(self._home.journal, runs) != action["entries_sha256"]:
            raise PersonError("what was signed is not what is listed")
        return runs

    def _reopening(self, about: dict[str, Any], action: dict[str, Any], signed: Signed) -> None:
        del about
        answer = self._found.answers[action["proposal"]]
        if answer.reopened is not None:
            raise PersonError("this finding is open already")
        self._found.answers[action["proposal"]] = replace(answer, reopened=signed)

    def _window(self, about: dict[str, Any], action: dict[str, Any], signed: Signed) -> None:
        del about
        self._found.windows[signed.entry] = window_from(action, signed)

    def _closing(self, about: dict[str, Any], action: dict[str, Any], signed: Signed) -> None:
        del about
        window = self._found.windows[action["window"]]
        if window.closed is not None:
            raise PersonError("this change window is closed already")
        self._found.windows[action["window"]] = replace(window, closed=signed)


_DOES = {
    "proposal": ("accept", "dismiss"), "confirmation": ("confirm",), "reopening": ("reopen",), "window": ("open window",),
    "closing": ("close window",),
}  # fmt: skip


def live_windows(found: Resolutions, table: int) -> Iterator[Window]:
    """The windows of a table that two people announced."""
    return (window for window in found.windows.values() if window.table == table and window.confirmed is not None)
