"""Evidence: of many records made in one pass, and verified whole, one file after the other, in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as count_from
from pathlib import Path

from anchoring.bulk_export import INDEX, export_many
from anchoring.evidence import verify_evidence
from anchoring.export import Wanted
from anchoring.founding import Plan, create_home, sealer_key
from anchoring.link import Link, open_link, trusted_network
from anchoring.publish import publish
from bench import homes, rows
from bench.figure import Figure, interleaved, seconds
from bench.workspace import Workspace, say
from ledger.home import Home, read_settings

_PASSPHRASE = b"bench"


def evidence(space: Workspace) -> list[Figure]:
    """Export of the evidence of every record of a table, a file each on disk, and verification of those files."""
    count, verified = space.sizes.evidence, space.sizes.evidence // 10
    say(f"sealing and anchoring {count:,} rows, exporting evidence of each")
    place = space.folder / "evidence"
    place.mkdir()
    home_path, target, numbers = place / "home", place, count_from()
    create_home(Plan(home_path, "Bench", place / "kit.json"), _PASSPHRASE, _PASSPHRASE, time.time)
    homes.attach_to(home_path, rows.build_sqlite(place / "his.db", {"lab": (1, count)}), ["lab"])
    homes.seal_all(home_path)
    with _opened(home_path) as (home, link):
        publish(home, link)

        def export() -> float:
            nonlocal target
            # A folder of its own each time: a disk that is still taking away the last one's files is no measure.
            target = place / f"files-{next(numbers)}"
            start = time.perf_counter()
            done = export_many(home, link, "lab", None, Wanted(), target)
            took = time.perf_counter() - start
            assert done.files == count and not done.left_out
            return count / took

        exports = interleaved(space.sizes.few, export)
    network = trusted_network(read_settings(home_path))
    files = [path.read_bytes() for path in sorted(target.iterdir()) if path.name != INDEX][:verified]

    def verify() -> None:
        for data in files:
            verify_evidence(data, network)

    checks = interleaved(space.sizes.few, lambda: verified / seconds(verify))
    size = sum(map(len, files)) // len(files)
    return [
        Figure("evidence exported in one pass", tuple(run[0] for run in exports), "records/s",
               f"{count:,} records, a file of {size:,} bytes each, synced", limit=2_000),
        Figure("evidence verified", tuple(run[0] for run in checks), "files/s",
               f"whole files of {size:,} bytes, one process, nothing kept between them", limit=300),
    ]  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Home, Link]]:
    with homes.opened(path) as home:
        key = sealer_key(Path(home.settings.chain), lambda: _PASSPHRASE)
        with open_link(home.settings, home.keyring.sealing, key, time.time) as link:
            yield home, link
