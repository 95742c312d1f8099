"""What opens commitments to records: the secret of each version, made from its subject's key, or granted to an auditor one by one."""

from __future__ import annotations

from collections.abc import Sequence, Set
from hashlib import blake2s
from typing import Protocol

from ledger.commitment import blinded_subject, record_secret
from ledger.keys import SubjectKeys
from ledger.wire import SECRET_INPUT, RecordEntry


class RecordSecrets(Protocol):
    """Secrets, 32 bytes each. `erased` are the subjects whose keys were destroyed on purpose."""

    @property
    def erased(self) -> Set[int]: ...

    def many(self, sids: Sequence[int], entries: Sequence[int], bodies: Sequence[bytes]) -> list[bytes] | None:
        """The secrets of these record entries, of these subjects; None where one of them is missing."""

    def one(self, sid: int, index: int, entry: RecordEntry) -> bytes | None:
        """The secret of one record entry; None where it is missing."""

    def covers(self, index: int) -> bool:
        """Whether the secret of this entry should be here, so that its absence means something."""

    def is_subject(self, sid: int, entry: RecordEntry) -> bool:
        """Whether a record entry is this subject's, as far as can be told; call it where its secret is not missing."""

    def blind_state(self, what: bytes) -> bytes:
        """The 20 bytes that stand for what a row is, to nobody but the home and whom it lets look."""


class KeyedSecrets:
    """All secrets, from the keys of a home's subjects."""

    def __init__(self, subjects: SubjectKeys, erased: Set[int] = frozenset()) -> None:
        self._subjects, self.erased = subjects, erased
        self._keys: dict[int, bytes] = {}

    def many(self, sids: Sequence[int], entries: Sequence[int], bodies: Sequence[bytes]) -> list[bytes] | None:
        keys = self._keys_of(sids)
        if keys is None:
            return None
        prf = blake2s
        return [prf(body[SECRET_INPUT], key=key).digest() for body, key in zip(bodies, keys, strict=True)]

    def _keys_of(self, sids: Sequence[int]) -> list[bytes] | None:
        try:
            return list(map(self._keys.__getitem__, sids))
        except KeyError:
            self._keys = self._subjects.keys(sids)
        try:
            return list(map(self._keys.__getitem__, sids))
        except KeyError:
            return None

    def one(self, sid: int, index: int, entry: RecordEntry) -> bytes | None:
        key = self._subjects.keys([sid]).get(sid)
        return None if key is None else record_secret(key, entry.record, entry.version)

    def covers(self, index: int) -> bool:
        return True

    def is_subject(self, sid: int, entry: RecordEntry) -> bool:
        return blinded_subject(self._subjects.keys([sid])[sid], entry.record) == entry.subject

    def blind_state(self, what: bytes) -> bytes:
        return self._subjects.blind_state(what)
