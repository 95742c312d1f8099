"""What an import did, or would do: counts, and where each problem stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from ledger.intake.bundles import Place

MOST_TOLD = 10_000


class Problem(StrEnum):
    """What is reported with its place."""

    REJECTED = "rejected"
    CONFLICT = "conflict"
    DANGLING = "dangling"


@dataclass(frozen=True, slots=True)
class Told:
    """One problem. `type` is a FHIR resource type, `name` what the resource or row is called, which only some readers may see."""

    problem: Problem
    place: Place
    reason: str
    type: str | None = None
    name: str | None = None


@dataclass(slots=True)
class Report:
    """Counts of resources or rows, and of references. `told` has the first 10,000 problems; the counts are of all.

    `duplicates` are there already with the same content, `conflicts` with another one; `external` references lead to other servers.
    """

    table: str
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    dangling: int = 0
    external: int = 0
    types: Counter[str] = field(default_factory=Counter)
    told: list[Told] = field(default_factory=list)
    created: bool = False
    loaded: bool = False
    attached: bool = False

    @property
    def clean(self) -> bool:
        """Whether everything in the files is in the table, or may go there."""
        return not self.conflicts and not self.rejected

    def reject(self, place: Place, reason: str, kind: str | None = None, name: str | None = None) -> None:
        """Count what cannot be taken in."""
        self.rejected += 1
        self._tell(Told(Problem.REJECTED, place, reason, kind, name))

    def conflict(self, place: Place, reason: str, kind: str | None, name: str) -> None:
        """Count what is there already with another content."""
        self.conflicts += 1
        self._tell(Told(Problem.CONFLICT, place, reason, kind, name))

    def dangle(self, place: Place, count: int, reason: str, kind: str | None, name: str) -> None:
        """Count references to something that is neither in the table nor in the import; the first of them stands at `place`."""
        self.dangling += count
        self._tell(Told(Problem.DANGLING, place, reason, kind, name))

    def _tell(self, told: Told) -> None:
        if len(self.told) < MOST_TOLD:
            self.told.append(told)
