"""The page that verifies evidence in a browser: `anchoring/verifier.html`, made of the sources in `anchoring/verifier/`.

`python -m anchoring.page` makes it, with `--check` the file that is there is only compared with a fresh one. One file holds everything:
each module of the sources, and of the libraries vendored beside them, becomes a function of a single script, in the order of their
imports and otherwise as it is. The page's policy allows this script and this style, by their digests, and nothing else: no network.
"""

from __future__ import annotations

import argparse
import re
import sys
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from careseal import CaresealError

SOURCES = Path(__file__).parent / "verifier"
VENDOR = SOURCES / "vendor"
SHIPPED = Path(__file__).parent / "verifier.html"
FIRST = "page.js"
LIBRARIES = {"@noble/hashes/": "noble-hashes", "@noble/curves/": "noble-curves"}  # import prefix -> folder under vendor

_FROM = r'from ["\'](?P<module>[^"\']+)["\'];$'
_IMPORT = re.compile(r"^import (?:\{([^}]*)\}|\* as (\w+)) " + _FROM, re.MULTILINE)
_EXPORT_FROM = re.compile(r"^export \{([^}]*)\} " + _FROM, re.MULTILINE)
_EXPORT_LIST = re.compile(r"^export \{([^}]*)\};$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|class|function|async function) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^\s*(?:import|export)\b(?!\()", re.MULTILINE)


class PageMissing(CaresealError):
    """The page is not installed."""


def page() -> bytes:
    """The page as it is shipped. PageMissing where it is not installed."""
    source = files("anchoring") / "verifier.html"
    if not source.is_file():
        raise PageMissing("the verifier page is missing: reinstall Careseal")
    return source.read_bytes()


def built() -> bytes:
    """The page, made afresh of its sources. ValueError where a source cannot be taken in, OSError where one is missing."""
    script, style = f'"use strict";\n{_bundle()}', (SOURCES / "page.css").read_text(encoding="utf-8")
    licences = "\n".join(f"{name}\n\n{(VENDOR / name / 'LICENSE').read_text(encoding='utf-8')}" for name in sorted(LIBRARIES.values()))
    for text in (script, style, licences):
        if re.search(r"</(?:script|style|pre)|<!--", text, re.IGNORECASE):
            raise ValueError("a source holds text that would end its element in the page")
    parts = {"script": script, "style": style, "licences": licences.replace("&", "&amp;").replace("<", "&lt;"),
             "script-hash": _digest(script), "style-hash": _digest(style)}  # fmt: skip
    template = (SOURCES / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{([a-z-]+)\}", lambda found: parts[found[1]], template).encode()


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _bundle() -> str:
    """One script: every module that the first one needs, each after those that it imports."""
    done: dict[Path, str] = {}
    _take(SOURCES / FIRST, done, ())
    return "".join(done.values())


def _take(path: Path, done: dict[Path, str], above: tuple[Path, ...]) -> None:
    if path in done:
        return
    if path in above:
        raise ValueError(f"{path.name} imports itself")
    text = path.read_text(encoding="utf-8")
    for found in (*_IMPORT.finditer(text), *_EXPORT_FROM.finditer(text)):
        _take(_resolved(path, found["module"]), done, (*above, path))
    done[path] = _module(path, text)


def _module(path: Path, text: str) -> str:
    """A module as a function of the script that returns its exports."""
    exported: dict[str, str] = {}  # name outside -> name inside

    def imported(found: re.Match[str]) -> str:
        names = found[2] or f"{{ {_written(_names(found[1]))} }}"
        return f"const {names} = {_variable(_resolved(path, found['module']))};"

    def passed_on(found: re.Match[str]) -> str:
        other = _variable(_resolved(path, found["module"]))
        exported.update({outer: f"{other}.{inner}" for inner, outer in _names(found[1]).items()})
        return ""

    def listed(found: re.Match[str]) -> str:
        exported.update({outer: inner for inner, outer in _names(found[1]).items()})
        return ""

    def single(found: re.Match[str]) -> str:
        exported[found[1]] = found[1]
        return ""

    body = text
    for pattern, replacement in ((_IMPORT, imported), (_EXPORT_FROM, passed_on), (_EXPORT_LIST, listed), (_EXPORT, single)):
        body = pattern.sub(replacement, body)
    if left := _LEFT.search(_without_comments(body)):
        raise ValueError(f"{path.name}: {left[0].strip()} of a form that is not understood")
    name = path.relative_to(SOURCES).as_posix()
    return f"\n// {name}\nconst {_variable(path)} = (() => {{\n{body.strip()}\nreturn {{ {_written(exported)} }};\n}})();\n"


def _written(pairs: Mapping[str, str]) -> str:
    """Members of an object, or of a pattern that takes it apart."""
    return ", ".join(name if name == value else f"{name}: {value}" for name, value in pairs.items())


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", text, flags=re.DOTALL | re.MULTILINE)


def _names(listed: str) -> Mapping[str, str]:
    """Names within { } of an import or export: what is before `as`, and what is after it or the same."""
    pairs = [part.split(" as ") for part in map(str.strip, listed.split(",")) if part]
    return {pair[0].strip(): pair[-1].strip() for pair in pairs}


def _resolved(path: Path, name: str) -> Path:
    for prefix, folder in LIBRARIES.items():
        if name.startswith(prefix):
            return VENDOR / folder / name.removeprefix(prefix)
    if not name.startswith("."):
        raise ValueError(f"{path.name} imports {name}, which is not vendored")
    return (path.parent / name).resolve()


def _variable(path: Path) -> str:
    return "m_" + re.sub(r"\W", "_", path.relative_to(SOURCES).with_suffix("").as_posix())


def main(arguments: list[str] | None = None) -> int:
    """Write or, with `--check`, compare the page; the exit code is 1 when it differs."""
    parser = argparse.ArgumentParser(prog="python -m anchoring.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the page is out of date")
    fresh = built()
    if not parser.parse_args(arguments).check:
        SHIPPED.write_bytes(fresh)
    elif not SHIPPED.is_file() or SHIPPED.read_bytes() != fresh:
        print("anchoring/verifier.html is out of date: run python -m anchoring.page")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
