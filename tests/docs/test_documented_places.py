"""Links, paths and names in the documents resolve, and no tracked file tells of the machine or the registry it was made on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from trials import ROOT

_GENERATED = {".venv", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "__pycache__"}


def tracked() -> list[Path]:
    """The repository's files; all files where it is no git checkout."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and not _GENERATED & set(path.relative_to(ROOT).parts)]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


PAGES = [path for path in tracked() if path.suffix == ".md"]
OWN = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(text: str) -> set[str]:
    """The fragments under which headings can be linked."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            place, _, fragment = target.partition("#")
            yield place, fragment


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for place, fragment in links(page):
        target = page if not place else (page.parent / place).resolve()
        assert target.exists(), f"{page.name} links to {place}, which is not there"
        if fragment:
            assert fragment in anchors(target.read_text(encoding="utf-8")), f"{page.name} links to #{fragment} of {target.name}"


@pytest.mark.parametrize("page", OWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_the_program_exist(page: Path) -> None:
    packages = "ledger|contracts|anchoring|node|api|samples|tests|docs|bench"
    for name in re.findall(rf"`((?:{packages})/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    record = pages[0].read_text(encoding="utf-8")
    assert all(page.read_text(encoding="utf-8").startswith(f"# {page.name[:4]} ") for page in pages)
    assert all(f"({page.name})" in record for page in pages[1:])


# Made of parts, so that this file does not contain what it looks for.
_REGISTRIES = ["pypi" + r"\.org", r"files\.python" + "hosted", "--(?:extra-)?index" + "-url", "registry" + r"\.npm", r"proxy\.go" + "lang"]
_PLACES = [re.escape(f"{ROOT}/"), re.escape(f"{Path.home()}/"), "/" + "root/", "/" + "Users/", "/" + "work/", r"C:\\" + "Users"]


@pytest.mark.parametrize(("what", "patterns"), [("registry addresses", _REGISTRIES), ("paths of one machine", _PLACES)])
def test_no_tracked_file_holds(what: str, patterns: list[str]) -> None:
    pattern, found = re.compile("|".join(patterns)), []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in pattern.findall(text)]
    assert not found, f"{what}: {found[:10]}"
