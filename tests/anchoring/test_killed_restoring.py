"""Kill -9 at durable steps all along restoring and backing up: nothing is lost, nothing is there twice, and the normal command goes on."""

from __future__ import annotations

import shutil

import pytest
from world import kill_everywhere

pytestmark = pytest.mark.slow


def test_restoring_a_lost_home_from_the_mirror(sealed):
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    restore = ("--kit", sealed.kit)

    def check():
        sealed.ok("restore", *restore)
        sealed.settle()

    assert kill_everywhere(sealed, "restore", *restore, check=check, stride=5) > 50


def test_restoring_a_lost_home_from_backup_and_mirror(sealed):
    backup = sealed.folder / "backup"
    sealed.ok("backup", backup)
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    restore = ("--kit", sealed.kit, "--backup", backup)

    def check():
        sealed.ok("restore", *restore)
        sealed.settle()

    assert kill_everywhere(sealed, "restore", *restore, check=check, stride=7) > 50


def test_restoring_a_rolled_back_home_in_place(sealed):
    old = sealed.folder / "old"
    shutil.copytree(sealed.home, old)
    sealed.change()
    sealed.ok("seal")
    shutil.rmtree(sealed.home)
    old.rename(sealed.home)

    def check():
        sealed.ok("restore")
        sealed.settle()

    assert kill_everywhere(sealed, "restore", check=check, stride=3) > 10


def test_backing_up(sealed):
    backup = sealed.folder / "backup"

    def check():
        if not backup.exists():
            sealed.ok("backup", backup)
        sealed.settle()
        shutil.rmtree(sealed.home)
        sealed.ok("restore", "--kit", sealed.kit, "--backup", backup)
        sealed.settle()

    assert kill_everywhere(sealed, "backup", backup, check=check) > 5


def test_starting_another_mirror(sealed):
    sealed.change()
    sealed.mirror.rename(sealed.folder / "away")
    sealed.refused("seal")
    sealed.change([("UPDATE visit SET note='after the mirror was lost' WHERE visit_id=3",)])
    other = sealed.folder / "other"

    def check():
        if sealed.setting("mirror") != str(other) or sealed.run("seal").code:
            shutil.rmtree(other, ignore_errors=True)
            sealed.ok("seal", "--new-mirror", other)
        sealed.settle()
        shutil.rmtree(sealed.home)
        sealed.ok("restore", "--kit", sealed.kit, "--mirror", other)
        sealed.settle()

    assert kill_everywhere(sealed, "seal", "--new-mirror", other, check=check, stride=9) > 60
