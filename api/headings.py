"""Typer's own words in the chosen language: headings of help pages, and usage errors in one line."""

from __future__ import annotations

import sys
from typing import Any

import typer

from api.foreign import HELP_PAGE, USAGE
from api.language import _, language, reported

_HelpFormatter: Any = typer.Context.formatter_class


class _Formatter(_HelpFormatter):  # type: ignore[misc]
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or _(USAGE))


class _Context(typer.Context):
    formatter_class = _Formatter


def translated_command(app: typer.Typer) -> Any:
    """The app as a command whose help pages are in the chosen language; call it with the arguments."""
    command = typer.main.get_command(app)
    # In English these are Typer's own words already, and its help pages take a while to import.
    if language() != "en" or "typer.rich_utils" in sys.modules:
        _translate_help_pages()
    pending = [command]
    while pending:
        here = pending.pop()
        pending += getattr(here, "commands", {}).values()
        here.context_class = _Context
        option = here.get_help_option(_Context(here))
        if option is not None:
            option.help = _(option.help or "")
    return command


def _translate_help_pages() -> None:
    from typer import rich_utils

    class Folding(rich_utils.OptionHighlighter):
        def __call__(self, text: Any) -> Any:
            made = super().__call__(text)
            made.overflow = "fold"  # Rich cuts off what has no spaces to break at
            return made

    for name, text in HELP_PAGE.items():
        setattr(rich_utils, name, _(text))
    rich_utils.highlighter = Folding()


def usage_error(error: typer.TyperException) -> str:
    """What is wrong with the arguments, and how to see the right ones; empty where the help page was printed instead."""
    message, context = reported(error.format_message().strip()).rstrip(".。"), getattr(error, "ctx", None)
    if not message or context is None:
        return message
    return _("{message}; see {command} --help").format(message=message, command=context.command_path)
