"""The verifier page in headless Chromium, driven by Playwright: where there is none, its tests are skipped by name, and fail in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from anchoring.page import SHIPPED

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Root needs no sandbox; the others keep the browser from asking its maker's servers for anything.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
BATCH = 300

_MANY = """([base, network, edits]) => {
    const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    return edits.map(([start, end, middle]) => {
        try {
            Careseal.verify(bytes(base.slice(0, start) + middle + base.slice(base.length - end)), bytes(network));
            return null;
        } catch (error) {
            return error.link ?? `${error.constructor.name}: ${error.message}`;
        }
    });
}"""

_ONE = """async ([evidence, network, journal]) => {
    const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const plain = (name, value) =>
        typeof value === "bigint" ? Number(value)
        : value instanceof Uint8Array ? Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join("") : value;
    try {
        const proved = Careseal.verify(bytes(evidence), bytes(network));
        const files = journal && new Map(journal.map(([path, content]) => [path, new Blob([bytes(content)])]));
        const later = files ? await Careseal.scanJournal(files, proved) : null;
        return { link: null, proved: JSON.parse(JSON.stringify(proved, plain)), later };
    } catch (error) {
        return { link: error.link ?? `${error.constructor.name}: ${error.message}` };
    }
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed: .ci/run installs it")
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield started
        finally:
            started.close()


class Verifier:
    """The page's verifier, called as programs call it. Links are named as the Python verifier does, None where evidence is valid."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.goto(SHIPPED.as_uri())

    def links(self, base: bytes, network: bytes, files: Iterable[bytes]) -> list[str | None]:
        """The broken link of each of the files, which are sent as changes of one base file."""
        edits = [_edit(base, data) for data in files]
        found: list[str | None] = []
        for first in range(0, len(edits), BATCH):
            found += self._page.evaluate(_MANY, [_text(base), _text(network), edits[first : first + BATCH]])
        return found

    def one(self, data: bytes, network: bytes, journal: Path | None = None) -> dict[str, object]:
        """What the page finds out about one file: its `link`, and where that is None, all that is `proved`, and `later`."""
        files: Sequence[tuple[str, str]] | None = None
        if journal is not None:
            files = [(path.relative_to(journal).as_posix(), _text(path.read_bytes())) for path in journal.rglob("*") if path.is_file()]
        found: dict[str, object] = self._page.evaluate(_ONE, [_text(data), _text(network), files])
        return found


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _edit(base: bytes, data: bytes) -> tuple[int, int, str]:
    """How many bytes at the beginning and at the end are as in the base, and what is between them."""
    limit = min(len(base), len(data))
    start = _common(base, data, limit)
    end = _common(base[::-1], data[::-1], limit - start)
    return start, end, _text(data[start : len(data) - end])


def _common(one: bytes, other: bytes, limit: int) -> int:
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
