"""Keeps the catalog of translations complete: `python -m api.extract` adds new texts to it and drops those that are gone.

With `--check` nothing is written; every text without a translation is printed, and the exit code is 1 when there is one.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Formatter

import typer
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from api import foreign
from api.commands import build
from api.language import REPORT, TEXTS, catalog_path, set_language
from api.messages import Text, reported_texts, shown_texts
from api.program import read_program
from contracts.actions import ActionKind
from ledger.findings import FindingKind
from ledger.holds import GROUNDS
from ledger.mirror_check import Fault
from ledger.persons import ROLES

ROOT = Path(__file__).resolve().parents[1]
_REVERT = re.compile(r'^\s*assert .*, "([^"]+)"', re.MULTILINE)


def texts() -> list[tuple[str | None, Text]]:
    """Every text that people may read, with its context in the catalog: None for what is shown, REPORT for what is reported."""
    program = read_program(ROOT)
    shown = [*shown_texts(program), *_help_texts(), *_names()]
    kinds = [Text(kind.value, ("ledger/findings.py",)) for kind in FindingKind]
    reported = [*map(_with_kind, reported_texts(program)), *kinds, *_revert_reasons(), *_foreign_texts()]
    return [(None, text) for text in _merged(shown, str)] + [(REPORT, text) for text in _merged(reported, outline)]


def _merged(listed: Sequence[Text], same: Callable[[str], str]) -> list[Text]:
    merged: dict[str, Text] = {}
    for text in sorted(listed, key=lambda text: text.text):
        other = merged.setdefault(same(text.text), text)
        origins = tuple(sorted({*other.origins, *text.origins}))
        merged[same(text.text)] = Text(other.text, origins, tuple(sorted({*other.texts, *as_named(text, other.text).texts})))
    return list(merged.values())


def outline(text: str) -> str:
    """The template with numbers for names: templates of one outline make the same texts, whatever their values are called."""
    names = {name: str(number) for number, name in enumerate(in_order(text))}
    return "".join(literal + ("" if name is None else "{" + names[name] + "}") for literal, name, _, _ in Formatter().parse(text))


def in_order(text: str) -> list[str]:
    """The {names} of a message as they come, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(text) if name is not None))


def as_named(text: Text, template: str) -> Text:
    """The text with the names of another template of the same outline."""
    names = dict(zip(in_order(text.text), in_order(template), strict=True))
    return Text(template, text.origins, tuple(names[name] for name in text.texts))


def _help_texts() -> Iterator[Text]:
    """The help of every command and option, and what Typer itself writes on help pages."""
    set_language("en")
    pending = [typer.main.get_command(build())]
    while pending:
        command = pending.pop()
        pending += getattr(command, "commands", {}).values()
        for help_text in [command.help, *(getattr(parameter, "help", None) for parameter in command.params)]:
            if help_text:
                yield Text(help_text, ("api/commands.py",))
    for text in [*foreign.HELP_PAGE.values(), foreign.USAGE, foreign.HELP_OPTION]:
        yield Text(text, ("api/foreign.py",))


def _with_kind(text: Text) -> Text:
    """A value that the source calls `kind` is a finding's, which is a text too."""
    return Text(text.text, text.origins, tuple({*text.texts, "kind"})) if "kind" in in_order(text.text) else text


def _names() -> Iterator[Text]:
    """Names that are shown under the values of enumerations."""
    for kind in FindingKind:
        yield Text(kind.value.upper(), ("ledger/findings.py",))
    for role in ROLES:
        yield Text(role, ("ledger/persons.py",))
    for ground in GROUNDS:
        yield Text(ground, ("ledger/holds.py",))
    for fault in Fault:
        yield Text(fault.value, ("ledger/mirror_check.py",))
    for role in ROLES:
        yield Text(role, ("ledger/persons.py",))
    for action in ActionKind:
        yield Text(action.name.lower(), ("contracts/actions.py",))


def _revert_reasons() -> Iterator[Text]:
    for path in sorted((ROOT / "contracts").glob("*.vy")):
        for reason in _REVERT.findall(path.read_text()):
            yield Text(reason, (f"contracts/{path.name}",))


def _foreign_texts() -> Iterator[Text]:
    for text in foreign.REPORTED:
        yield Text(text, ("api/foreign.py",), tuple(name for name in in_order(text) if name == "message"))


def updated(language: str) -> Catalog:
    """The catalog of a language with exactly the texts of the source; a translation that is missing is empty.

    A value that is called by another name in the source keeps its name here, and the translation stands.
    """
    catalog = stored(language)
    template = Catalog(locale=language, project="careseal", charset="utf-8", creation_date=catalog.creation_date)
    known = {outline(str(message.id)): str(message.id) for message in catalog if message.context == REPORT}
    for context, found in texts():
        text = as_named(found, known.get(outline(found.text), found.text)) if context == REPORT else found
        comments = [TEXTS + " ".join(text.texts)] if text.texts else []
        places = [(origin, 0) for origin in text.origins]
        template.add(text.text, context=context, locations=places, auto_comments=comments)
    revised = catalog.revision_date
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.revision_date = revised
    return catalog


def stored(language: str) -> Catalog:
    """The catalog of a language as it is in the package."""
    with catalog_path(language).open("rb") as source:
        return read_po(source, language)


def encoded(catalog: Catalog) -> bytes:
    """The catalog as a PO file; equal catalogs give equal bytes."""
    made = io.BytesIO()
    write_po(made, catalog, width=120, include_lineno=False)
    return made.getvalue()


def shortcomings(language: str) -> list[str]:
    """What is wrong with a language's catalog, one line each: missing, left over, or with other placeholders."""
    now, wanted = stored(language), updated(language)
    known = {(message.context, message.id) for message in wanted}
    found = [f"left over: {message.id!r}" for message in now if (message.context, message.id) not in known]
    for message in wanted:
        text, translation = str(message.id), str(message.string or "")
        if text and not translation:
            found.append(f"missing: {text!r} ({', '.join(place for place, _ in message.locations)})")
        elif sorted(in_order(text)) != sorted(in_order(translation)):
            found.append(f"other placeholders: {text!r} and {translation!r}")
    if not found and encoded(now) != encoded(wanted):
        found.append("the catalog is not as python -m api.extract writes it: run it")
    return found


def main(arguments: Sequence[str]) -> int:
    """Update the catalog, or check it; returns the exit code."""
    if "--check" not in arguments:
        Path(str(catalog_path("zh"))).write_bytes(encoded(updated("zh")))
    found = shortcomings("zh")
    sys.stdout.writelines(line + "\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
