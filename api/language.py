"""Messages in English and Chinese. English texts are the message ids; `locale/zh/LC_MESSAGES/careseal.po` translates them.

The command line's own texts go through `_()`. Errors and findings come from packages that know nothing of languages, as finished
English texts: `reported` recognises the template that made one and fills its translation. Without `--lang` the language is that of
CARESEAL_LANG, LC_ALL, LC_MESSAGES or LANG, in this order. JSON is English in every language.
"""

from __future__ import annotations

import gettext
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

    from api.templates import Templates

LANGUAGES = ("en", "zh")
REPORT = "report"  # the catalog's context of texts that lower packages make
TEXTS = "texts: "  # begins the comment that names the placeholders of a template that hold texts themselves
_ENVIRONMENT = ("CARESEAL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


class _Language:
    """The chosen language; templates are made when the first error is translated."""

    name = "en"
    shown: gettext.NullTranslations = gettext.NullTranslations()
    catalog: Catalog | None = None
    templates: Templates | None = None


def choose(arguments: Sequence[str]) -> list[str]:
    """Take `--lang` out of the arguments, wherever it stands before `--`, and set the language; returns the rest.

    ValueError, in the language of the environment, for a language that there is not.
    """
    wanted = next((os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)), "en")
    set_language("zh" if wanted.startswith("zh") else "en")
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        if argument == "--":
            return [*rest, argument, *pending]
        option, equals, value = argument.partition("=")
        if option != "--lang":
            rest.append(argument)
            continue
        chosen = value if equals else next(pending, "")
        if chosen not in LANGUAGES:
            raise ValueError(_("--lang {language}: use en or zh").format(language=chosen))
        set_language(chosen)
    return rest


def set_language(language: str) -> None:
    """Translate into this language from now on."""
    _Language.name, _Language.shown, _Language.catalog, _Language.templates = language, gettext.NullTranslations(), None, None
    if language == "en":
        return
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with catalog_path(language).open("rb") as source:
        _Language.catalog = read_po(source, language)
    compiled = io.BytesIO()
    write_mo(compiled, _Language.catalog)
    compiled.seek(0)
    _Language.shown = gettext.GNUTranslations(compiled)


def spoken() -> str:
    """The chosen language."""
    return _Language.name


@contextmanager
def spoken_in(language: str) -> Iterator[None]:
    """Translate into this language until the context ends, as for a document that is not its reader's choice."""
    former = _Language.name
    set_language(language)
    try:
        yield
    finally:
        set_language(former)


def catalog_path(language: str) -> Traversable:
    """The PO file of a language."""
    return files("api").joinpath("locale", language, "LC_MESSAGES", "careseal.po")


def language() -> str:
    """The chosen language."""
    return _Language.name


def _(text: str) -> str:
    """The text in the chosen language."""
    return _Language.shown.gettext(text)


def reported(text: str) -> str:
    """What an error or a finding says, in the chosen language; English where no template is known for it."""
    catalog = _Language.catalog
    if catalog is None:
        return text
    if _Language.templates is None:
        from api.templates import Entry, Templates

        entries = [
            Entry(str(message.id), str(message.string), frozenset(_texts(message.auto_comments)))
            for message in catalog
            if message.context == REPORT and message.string
        ]
        _Language.templates = Templates(entries, _("; "))
    return _Language.templates.translate(text)


def _texts(comments: Sequence[str]) -> list[str]:
    return [name for comment in comments if comment.startswith(TEXTS) for name in comment.removeprefix(TEXTS).split()]
