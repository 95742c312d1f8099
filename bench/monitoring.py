"""A monitor's round over a long journal that it never saw before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from anchoring import monitor_state
from anchoring.founding import Plan, create_home, sealer_key
from anchoring.journal_export import note_key
from anchoring.link import open_link
from anchoring.log_folder import ABOUT, About, encode_about, origin
from anchoring.log_source import FolderSource
from anchoring.monitor import Monitor
from anchoring.note import LogCheckpoint, sign, verifier_of
from anchoring.tlog import CHECKPOINT, MAX_BUNDLE, bundle_path, decode_bundle, lay_out, width_in
from bench import homes
from bench.figure import Figure, interleaved, ratios
from bench.workspace import Workspace, say
from ledger.tree import WIDTH
from ledger.wire import Flag, Kind, encode_record

_PASSPHRASE, _COLUMNS = b"bench", 10


def monitoring(space: Workspace) -> list[Figure]:
    """Entries per second of a round: read, decoded, hashed into the tree, held against the chain, every record's last entry kept."""
    return [*_round(space, later=False), *_round(space, later=True)[:1]]


def _round(space: Workspace, *, later: bool) -> list[Figure]:
    """A round over entries that all begin records, or of which a half amends those of the other half."""
    count, what = space.sizes.large, "half of them amendments" if later else "all of them first versions"
    say(f"making a journal of {count:,} entries, {what}, anchoring it, reading it as a monitor")
    place = space.folder / ("monitor-later" if later else "monitor")
    place.mkdir()
    create_home(Plan(place / "home", "Bench", place / "kit.json"), _PASSPHRASE, _PASSPHRASE, time.time)
    with homes.opened(place / "home") as home:
        key = sealer_key(Path(home.settings.chain), lambda: _PASSPHRASE)
        with open_link(home.settings, home.keyring.sealing, key, time.time) as link:
            shown = place / "shown"
            root = _show(shown, home.settings.chain_id, home.settings.journals, note_key(home.keyring), count, later)
            link.send(link.journals.publish(0, 0, count, root, [], nonce=link.nonce()))
            source = FolderSource(shown)

            def watch() -> float:
                with monitor_state.opened(place / "state", "bench") as kept:
                    start = time.perf_counter()
                    seen = Monitor(link.w3, link.network, kept, {(1, 0): source}, 1e9).round(time.time())
                    took = time.perf_counter() - start
                shutil.rmtree(place / "state")
                assert not seen.alarms and seen.entries == count
                return count / took

            def bare() -> float:
                start = time.perf_counter()
                for number in range(-(-count // WIDTH)):
                    width = width_in(count, 0, number)
                    for entry in decode_bundle(source.read(bundle_path(number, width), MAX_BUNDLE) or b"", width):
                        sha256(entry).digest()
                return count / (time.perf_counter() - start)

            rounds = interleaved(space.sizes.few, watch, bare)
    return [
        Figure("monitor", tuple(run[0] for run in rounds), "entries/s",
               f"wall clock of a first round over {count:,} entries in a folder, {what}, one process", limit=200_000),
        Figure("monitor", ratios(rounds, 0, 1), "x", "of a loop that reads the same files and takes SHA-256 of each entry, no target"),
    ]  # fmt: skip


def _show(folder: Path, chain_id: int, journals: str, seed: bytes, count: int, later: bool) -> bytes:
    """An export of generated entries, and its root."""
    begun = count // 2 if later else count

    def runs() -> Iterator[list[bytes]]:
        for start in range(0, count, WIDTH):
            yield [_entry(number, begun) for number in range(start, min(start + WIDTH, count))]

    def put(path: str, content: bytes) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    root = lay_out(runs(), put)
    name = origin(chain_id, journals, 1, 0)
    put(ABOUT, encode_about(About(chain_id, journals.lower(), 1, 0, verifier_of(name, seed), None, None)))
    put(CHECKPOINT, sign(LogCheckpoint(name, count, root), seed))
    return root


def _entry(number: int, begun: int) -> bytes:
    """The beginning of a record; from entry `begun` on the second version of one after the other."""
    previous = number - begun if number >= begun else None
    mixed = sha256((number if previous is None else previous).to_bytes(8, "big")).digest()
    kind, version = (Kind.WRITTEN, 1) if previous is None else (Kind.AMENDED, 2)
    return encode_record(
        kind, 1_790_000_000_000 + number, 1, Flag.CONTENT | Flag.CAPTURED, mixed[:16], version, previous, mixed[16:], mixed[:8], 1, mixed,
        mixed, _COLUMNS, mixed + mixed[: 4 * _COLUMNS - 32],
    )  # fmt: skip
