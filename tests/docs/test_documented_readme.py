"""The README tells the truth: its commands run and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from trials import ROOT, Trial, blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")


def plain(text: str, folder: Path) -> list[str]:
    """The lines with everything that differs from run to run taken out."""
    text = text.replace(f"{folder}/", "")
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\b[a-z0-9]{4}(-[a-z0-9]{4}){5}\b", "PASSPHRASE", text)
    return [re.sub(r"\d+(?:[.,:]\d+)*", "0", line) for line in text.strip().splitlines()]


def test_quick_start_prints_what_the_readme_shows(trial: Trial) -> None:
    shown, _ = blocks(README, "text")
    assert plain(trial.output[1], trial.folder) == plain(shown, trial.folder)


def test_altered_result_is_reported_as_the_readme_shows(trial: Trial) -> None:
    _, shown = blocks(README, "text")
    printed = plain(trial.output[2], trial.folder)
    assert printed[: len(shown.strip().splitlines())] == plain(shown, trial.folder)
    assert trial.codes["careseal verify --home H --values"] == 1


def test_quick_start_is_four_commands() -> None:
    lines = [line.split()[1] for line in blocks(README, "sh")[1].splitlines()]
    assert lines == ["init", "attach", "seal", "verify"]


def test_lost_home_comes_back_as_the_readme_says(lost: Trial) -> None:
    assert lost.output[2].strip().endswith("INTACT")
    assert lost.json("careseal status --home NEW --json")["name"] == "First Hospital"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make (\w+)`", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_chinese_section_names_the_commands() -> None:
    section = README.partition("## 中文简介")[2]
    assert all(f"`{name}`" in section for name in ("init", "attach", "seal", "verify", "make demo", "make test"))
