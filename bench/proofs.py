"""Inclusion proofs: built from stored tiles, and verified."""

from __future__ import annotations

from random import Random

from bench import bare, homes
from bench.figure import Figure, interleaved, ratios, seconds
from bench.workspace import Workspace, say
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.tree import Tree


def proofs(space: Workspace) -> list[Figure]:
    """Proofs of random entries of a long journal; building starts with nothing in memory every time."""
    hospital, count = space.hospital(space.sizes.large), space.sizes.proofs
    say("building and verifying inclusion proofs")
    with homes.opened(hospital.home) as home:
        size = home.journal.size
        root = home.journal.tree.root(size)
        chosen = [Random(number).randrange(size) for number in range(count)]
        leaves = [leaf_hash(home.journal.entry(index)) for index in chosen]
        made = [home.journal.tree.inclusion_proof(index, size) for index in chosen]

        def build() -> None:
            tree = Tree(home.journal.tiles)
            for index in chosen:
                tree.inclusion_proof(index, size)

        def verify() -> None:
            for leaf, index, proof in zip(leaves, chosen, made, strict=True):
                verify_inclusion(leaf, index, size, proof, root)

        nodes = len(made[0])
        rounds = interleaved(
            space.sizes.repeats, lambda: count / seconds(build), lambda: count / seconds(verify), lambda: bare.paths(count, nodes)
        )
    built, verified, _ = zip(*rounds, strict=True)
    where, what = f"random entries of {size:,}; the caches start empty", f"proofs of {nodes} hashes, in memory"
    return [
        Figure("inclusion proofs built from stored tiles", built, "proofs/s", where, limit=5_000),
        Figure("inclusion proofs verified", verified, "proofs/s", what, limit=60_000),
        Figure("inclusion proofs verified", ratios(rounds, 1, 2), "x", f"of the rate at which hashlib hashes {nodes} nodes, no target"),
    ]
