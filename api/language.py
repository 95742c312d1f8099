"""Messages in English and Chinese. English texts are the message ids; `locale/zh/LC_MESSAGES/careseal.po` translates them."""

from __future__ import annotations

import gettext
import io
import os
from collections.abc import Sequence
from importlib.resources import files

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES = ("en", "zh")
_current: gettext.NullTranslations = gettext.NullTranslations()


def choose(arguments: Sequence[str]) -> list[str]:
    """Take `--lang` out of the arguments, else look at CARESEAL_LANG and LANG, and set the language; returns the rest."""
    rest, wanted = [], os.environ.get("CARESEAL_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or "en"
    pending = iter(arguments)
    for argument in pending:
        if argument == "--lang":
            wanted = next(pending, "")
        elif argument.startswith("--lang="):
            wanted = argument.partition("=")[2]
        else:
            rest.append(argument)
            continue
        if wanted not in LANGUAGES:
            raise ValueError(f"--lang {wanted}: use {' or '.join(LANGUAGES)}")
    set_language("zh" if wanted.startswith("zh") else "en")
    return rest


def set_language(language: str) -> None:
    """Translate into this language from now on."""
    global _current
    if language == "en":
        _current = gettext.NullTranslations()
        return
    with (files("api") / "locale" / language / "LC_MESSAGES" / "careseal.po").open("rb") as source:
        catalog = read_po(source, language)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    _current = gettext.GNUTranslations(compiled)


def _(text: str) -> str:
    """The text in the chosen language."""
    return _current.gettext(text)
