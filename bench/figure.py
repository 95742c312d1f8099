"""A measured figure, its target, and how both are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """`samples` are what the repeated runs gave; the median counts, the worst is shown beside it.

    `relative_to` says what the figure is measured against; `limit` is the target, None for a figure that is only told.
    """

    name: str
    samples: tuple[float, ...]
    unit: str
    relative_to: str
    bound: Literal["at least", "at most"] = "at least"
    limit: float | None = None

    @property
    def value(self) -> float:
        return median(self.samples)

    @property
    def worst(self) -> float:
        return min(self.samples) if self.bound == "at least" else max(self.samples)

    @property
    def holds(self) -> bool | None:
        """Whether the median meets the target, None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.bound == "at least" else self.value <= self.limit

    def document(self) -> dict[str, object]:
        """The figure for programs."""
        return {
            "name": self.name, "unit": self.unit, "median": self.value, "worst": self.worst, "samples": list(self.samples),
            "relative_to": self.relative_to, "target": None if self.limit is None else f"{self.bound} {self.limit:g}", "holds": self.holds,
        }  # fmt: skip

    def line(self) -> str:
        """The figure for people: median, worst of all runs, target, verdict; then what it is relative to."""
        target = "" if self.limit is None else f"{self.bound} {_number(self.limit)}"
        verdict = {True: "holds", False: "MISSED", None: ""}[self.holds]
        shown = f"{_number(self.value):>11} {self.unit:<12} worst {_number(self.worst):>10}"
        return f"{self.name:<52}{shown}   {target:<18}{verdict}\n    {self.relative_to}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def seconds(run: Callable[[], object]) -> float:
    """How long one run takes, by the wall clock."""
    start = perf_counter()
    run()
    return perf_counter() - start


def interleaved(repeats: int, *runs: Callable[[], float]) -> list[tuple[float, ...]]:
    """The results of all runs, each run once per round and in turn, so that what else the machine does hits all of them.

    One round before the counted ones warms the caches. Every other round goes backwards.
    """
    rounds: list[tuple[float, ...]] = []
    for number in range(repeats + 1):
        order = range(len(runs)) if number % 2 else reversed(range(len(runs)))
        results = {place: runs[place]() for place in order}
        if number:
            rounds.append(tuple(results[place] for place in range(len(runs))))
    return rounds


def ratios(rounds: Sequence[tuple[float, ...]], over: int, under: int) -> tuple[float, ...]:
    """Of each round, one result divided by another."""
    return tuple(results[over] / results[under] for results in rounds)
