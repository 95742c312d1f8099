"""Writes the generated parts of the documents: the commands in docs/commands.md, the worked examples in docs/spec.md.

`python -m tests.docs.generate` rewrites them; the tests assert that nothing would change.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if __package__ is None or __package__ == "":
    from command_reference import reference
    from worked_examples import examples
else:
    from tests.docs.command_reference import reference
    from tests.docs.worked_examples import examples

ROOT = Path(__file__).resolve().parents[2]
COMMANDS, SPEC = ROOT / "docs" / "commands.md", ROOT / "docs" / "spec.md"
_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, parts: dict[str, str]) -> str:
    """The text with every generated part replaced. KeyError where a part is unknown."""
    return _PART.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", text)


def documents() -> dict[Path, str]:
    """Each document with generated parts, as it should be."""
    parts = {"commands": reference(), **examples()}
    return {path: filled(path.read_text(encoding="utf-8"), parts) for path in (COMMANDS, SPEC)}


def main() -> None:
    for path, text in documents().items():
        changed = path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'rewritten' if changed else 'up to date'}\n")


if __name__ == "__main__":
    main()
