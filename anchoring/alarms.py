"""A monitor's alarms, and how they are told to a web server, once each."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from node.errors import WebFailed
from node.web import Server

SECONDS = 10.0
SIGNATURE = "X-Careseal-Signature"
VERSION = "monitor-alarm/1"


class AlarmKind(StrEnum):
    """What a monitor tells of. The first five stay for ever; the others go once their cause has gone."""

    MALFORMED = "malformed"  # an entry that is none
    REPEATED = "repeated"  # a record has two entries of one version
    OUT_OF_ORDER = "out_of_order"  # an entry does not follow the one before it of its record
    FORKED = "forked"  # the institution signed a root that its entries do not give
    NEW_GENERATION = "new_generation"  # a journal was begun anew
    ALTERED = "altered"  # the entries do not give the root on the chain
    UNAVAILABLE = "unavailable"  # the journal, or a part of it, cannot be read
    BEHIND = "behind"  # the journal that is shown is shorter than the chain's checkpoint
    STALE = "stale"  # no checkpoint for too long

    @property
    def stands(self) -> bool:
        """Whether nothing that comes later can take the alarm back."""
        return self in (AlarmKind.MALFORMED, AlarmKind.REPEATED, AlarmKind.OUT_OF_ORDER, AlarmKind.FORKED, AlarmKind.NEW_GENERATION)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `entry` is the entry that it is about, or how many entries the checkpoint has; `detail` holds nothing personal."""

    kind: AlarmKind
    institution: int
    generation: int
    entry: int | None
    detail: str

    @property
    def id(self) -> str:
        """16 hex digits, the same whenever the same is found."""
        values = [VERSION, self.kind.value, self.institution, self.generation, self.entry]
        return sha256(json.dumps(values).encode()).hexdigest()[:16]


def encode(alarm: Alarm, chain_id: int, seen: int) -> bytes:
    """What the web server is sent; `seen` is when the alarm was raised first, seconds since 1970 UTC."""
    values = {
        "careseal": VERSION, "id": alarm.id, "kind": alarm.kind.value, "chain_id": chain_id, "institution": alarm.institution,
        "generation": alarm.generation, "entry": alarm.entry, "detail": alarm.detail, "seen": seen,
    }  # fmt: skip
    return json.dumps(values).encode()


def tell(url: str, body: bytes, secret: bytes | None) -> bool:
    """POST an alarm; whether the server took it (status 2xx). With a `secret` the header SIGNATURE holds its HMAC-SHA256, in hex."""
    headers = {"Content-Type": "application/json"}
    if secret is not None:
        headers[SIGNATURE] = "sha256=" + hmac.new(secret, body, sha256).hexdigest()
    try:
        server = Server(url, SECONDS)
        try:
            status, _ = server.ask("POST", server.target, 0, body, headers)
        finally:
            server.close()
    except WebFailed:
        return False
    return 200 <= status < 300
