"""`careseal demo`: three hospitals, what happens when somebody alters records, and the daily work of answering, holding and erasing."""

from __future__ import annotations

import shutil
from pathlib import Path

from api.console import Timer, err, say
from api.demo import attacks, consortium, people, proofs
from api.demo.stage import Demo
from api.language import _

STEPS = (
    attacks.three_hospitals,
    attacks.amendment,
    attacks.alteration,
    attacks.deletion_and_insertion,
    attacks.rewritten_journal,
    attacks.old_backup,
    people.batch_correction,
    people.outside_audit,
    people.hold,
    people.erasure,
    proofs.evidence,
    proofs.disclosed_field,
    proofs.files_left,
    proofs.your_turn,
)


NETWORK_STEPS = (
    consortium.four_nodes,
    consortium.four_hospitals,
    attacks.amendment,
    attacks.alteration,
    consortium.node_killed,
    consortium.node_back,
    consortium.auditor_follows,
    consortium.evidence_and_end,
)


def run_demo(folder: Path, *, network: bool = False) -> int:
    """Run the demo in `folder`, which is emptied first, or the one with a `network` of real nodes; returns the exit code."""
    marker = folder / ".careseal-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        err.print(_("careseal: {folder} is not a folder of the demo: name another with --folder").format(folder=folder), markup=False)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()
    timer, demo = Timer(), Demo(folder)
    try:
        for step in NETWORK_STEPS if network else STEPS:
            step(demo)
    finally:
        if network:
            consortium.stop(demo)
    say("\nThe demo took {seconds:.0f} s.", seconds=timer.seconds)
    return 1 if demo.failed else 0
