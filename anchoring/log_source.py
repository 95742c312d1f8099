"""Where another institution's exported journal is read: a folder, or the address of a web server. Nothing that is read is believed here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from anchoring.errors import JournalUnavailable
from node.errors import WebFailed
from node.web import Server

TRIES = 3
SECONDS = 30.0  # for one file


class Source(Protocol):
    """The files of an exported journal."""

    def read(self, path: str, limit: int) -> bytes | None:
        """A file of at most `limit` bytes, None where there is none. JournalUnavailable where that cannot be told, or it is larger."""


class FolderSource:
    """An exported journal in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, limit: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalUnavailable(f"{path} cannot be read: {error.strerror}") from error
        if len(data) > limit:
            raise JournalUnavailable(f"{path} is larger than {limit} bytes")
        return data


class HttpSource:
    """An exported journal on a web server, below `url`. Redirects are not followed; a failed request is tried again, three times in all."""

    def __init__(self, url: str) -> None:
        self._server = Server(url, SECONDS)
        self._below = self._server.target.rstrip("/")

    def read(self, path: str, limit: int) -> bytes | None:
        for last in range(TRIES):
            try:
                return self._fetched(path, limit)
            except WebFailed as error:
                failure = error
            if last < TRIES - 1:
                time.sleep(0.2 * 2**last)
        raise JournalUnavailable(f"{path} cannot be fetched: {failure}") from failure

    def _fetched(self, path: str, limit: int) -> bytes | None:
        status, data = self._server.ask("GET", f"{self._below}/{path}", limit)
        if status in (404, 410):
            return None
        if status != 200:
            raise WebFailed(f"it answers with HTTP status {status}")
        if len(data) > limit:
            raise JournalUnavailable(f"{path} is larger than {limit} bytes")
        return data


def source_of(place: str) -> Source:
    """The source that a folder's path or an http(s) address names."""
    return HttpSource(place) if place.startswith(("http://", "https://")) else FolderSource(Path(place))
