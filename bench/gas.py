"""What a checkpoint costs on the chain: one transaction, however many entries it covers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anchoring.founding import Plan, create_home, sealer_key
from anchoring.link import Link, open_link
from bench import homes
from bench.figure import Figure
from bench.workspace import Workspace, say
from ledger.home import Home

_PASSPHRASE = b"bench"


def gas(space: Workspace) -> list[Figure]:
    """Checkpoints of a real journal, published through the shipped contracts on an embedded chain of its own."""
    hospital = space.hospital(space.sizes.large)
    say("founding a chain and publishing checkpoints")
    figures, start = [], 0
    with homes.opened(hospital.home) as home, _chain(space.folder / "chain-home") as link:
        size, tree = home.journal.size, home.journal.tree
        for end in (1, size - 1_000, size - 1, size):
            transaction = link.journals.publish(0, start, end, tree.root(end), tree.consistency_proof(start, end), nonce=link.nonce())
            used = link.send(transaction)["gasUsed"]
            what = f"{end - start:,} new entries after {start:,}, consistency checked by the contract"
            figures.append(Figure("gas of one checkpoint's transaction", (float(used),), "gas", what, "at most", 150_000))
            start = end
        assert link.head().last is not None
    return figures


@contextmanager
def _chain(path: Path) -> Iterator[Link]:
    """A new institution on an embedded chain."""
    settings = create_home(Plan(path, "Bench", path.with_name("bench-kit.json")), _PASSPHRASE, _PASSPHRASE, time.time)
    with Home.open(path, lambda: _PASSPHRASE) as home:
        key = sealer_key(Path(settings.chain), lambda: _PASSPHRASE)
        with open_link(home.settings, home.keyring.sealing, key, time.time) as link:
            yield link
