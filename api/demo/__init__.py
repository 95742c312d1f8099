"""`careseal demo`: three hospitals, what happens when somebody alters records, and the daily work of answering, holding and erasing."""

from __future__ import annotations

import shutil
from pathlib import Path

from api.console import Timer, err, say
from api.demo import attacks, people, proofs
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


def run_demo(folder: Path) -> int:
    """Run the demo in `folder`, which is emptied first; returns the exit code."""
    marker = folder / ".careseal-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        err.print(_("careseal: {folder} is not a folder of the demo: name another with --folder").format(folder=folder), markup=False)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()
    timer, demo = Timer(), Demo(folder)
    for step in STEPS:
        step(demo)
    say("\nThe demo took {seconds:.0f} s.", seconds=timer.seconds)
    return 1 if demo.failed else 0
