"""Asking a TSA over HTTP (RFC 3161, section 3.4), bounded in time and size whatever it answers.

Only a digest and a nonce are sent. Answers are signed and checked elsewhere, so plain HTTP serves as well.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from anchoring.errors import AnchoringError, TsaUnavailable
from anchoring.token import MAX_BYTES
from node.errors import WebFailed
from node.web import Server, is_address

SECONDS = 10.0
_TYPE = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


def check_url(url: str) -> None:
    """Raise AnchoringError unless this is an http or https URL that holds no user and no password: settings hold no secret."""
    if is_address(url):
        return
    try:
        parts = urlsplit(url)
        secret = parts.scheme in ("http", "https") and bool(parts.username or parts.password or parts.fragment)
    except ValueError:
        secret = False
    if secret:
        raise AnchoringError("the address of a TSA must hold no user, no password and no fragment")
    raise AnchoringError("a TSA is named by its address, http://HOST/PATH or https://HOST/PATH")


def ask(url: str, request: bytes, seconds: float = SECONDS) -> bytes:
    """What the TSA answers to a DER request: at most MAX_BYTES, within `seconds`. TsaUnavailable otherwise."""
    try:
        server = Server(url, seconds)
        try:
            status, data = server.ask("POST", server.target, MAX_BYTES, request, _TYPE)
        finally:
            server.close()
    except WebFailed as error:
        raise TsaUnavailable(str(error)) from error
    if status != 200:
        words = "it leads elsewhere, which is not followed" if 300 <= status < 400 else "it answers with an error"
        raise TsaUnavailable(f"{words} (HTTP {status})")
    if len(data) > MAX_BYTES:
        raise TsaUnavailable(f"its answer has more than {MAX_BYTES} bytes")
    return data
