"""Where another institution's exported journal is read: a folder, or the address of a web server. Nothing that is read is believed here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import requests

from anchoring.errors import JournalUnavailable

TRIES = 3
SECONDS = 10.0  # for a connection, and between two parts of an answer
WHOLE_SECONDS = 60.0  # for one file
_PART = 1 << 16


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
        self._url, self._session = url.rstrip("/"), requests.Session()

    def read(self, path: str, limit: int) -> bytes | None:
        for last in range(TRIES):
            try:
                return self._fetched(path, limit)
            except requests.RequestException as error:
                failure = error
            if last < TRIES - 1:
                time.sleep(0.2 * 2**last)
        raise JournalUnavailable(f"{path} cannot be fetched: {type(failure).__name__}") from failure

    def _fetched(self, path: str, limit: int) -> bytes | None:
        deadline = time.monotonic() + WHOLE_SECONDS
        with self._session.get(f"{self._url}/{path}", timeout=SECONDS, stream=True, allow_redirects=False) as answer:
            if answer.status_code in (404, 410):
                return None
            if answer.status_code != 200:
                raise requests.HTTPError(f"status {answer.status_code}")
            data = bytearray()
            for part in answer.iter_content(_PART):
                data += part
                if len(data) > limit:
                    raise JournalUnavailable(f"{path} is larger than {limit} bytes")
                if time.monotonic() > deadline:
                    raise requests.Timeout("too slow")
        return bytes(data)


def source_of(place: str) -> Source:
    """The source that a folder's path or an http(s) address names."""
    return HttpSource(place) if place.startswith(("http://", "https://")) else FolderSource(Path(place))
