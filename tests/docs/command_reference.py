"""The reference of all commands, as Markdown, from the program's own command tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from api.commands import build
from api.language import set_language

_NOT_LISTED = {"help"}
_VALUES = {Path: "PATH", str: "TEXT", int: "N"}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of the program's own help."""
    set_language("en")
    yield from _walk(get_command(build()), ())


def reference() -> str:
    """The commands, their arguments, options, defaults and environment variables."""
    return "\n\n".join(_section(name, command) for name, command in commands()).rstrip()


def options(command: Any) -> list[Any]:
    """The parameters of a command, without --help."""
    return [parameter for parameter in command.params if parameter.name not in _NOT_LISTED]


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, sub in command.commands.items():
        if hasattr(sub, "commands"):
            yield from _walk(sub, (*path, name))
        else:
            yield " ".join((*path, name)), sub


def _section(name: str, command: Any) -> str:
    listed = options(command)
    words = [f"careseal {name}"] + [_usage(parameter) for parameter in listed if parameter.param_type_name == "argument"]
    rows = "\n".join(f"| {_names(parameter)} | {_text(parameter)} |" for parameter in listed)
    table = f"\n\n| option | |\n| --- | --- |\n{rows}" if rows else ""
    return f"### careseal {name}\n\n`{' '.join(words)}`\n\n{(command.help or '').strip()}{table}"


def _usage(parameter: Any) -> str:
    name = parameter.metavar or parameter.display_name_raw
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.display_name_raw}`"
    value = "" if parameter.is_flag else f" {_VALUES[_kind(parameter)]}"
    return ", ".join(f"`{name}{value}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _kind(parameter: Any) -> type:
    """The type of one value of an option that takes values."""
    annotation = parameter.type_descriptor.annotation
    kinds = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if kind in _VALUES]
    return kinds[0]


def _text(parameter: Any) -> str:
    notes = []
    if parameter.required and parameter.param_type_name == "option":
        notes.append("required")
    if parameter.envvar:
        notes.append(f"environment: `{parameter.envvar}`")
    if parameter.default not in (None, False, [], ()):
        notes.append(f"default: `{parameter.default}`")
    text = (parameter.help or "").replace("|", "\\|")
    return f"{text} ({'; '.join(notes)})".strip() if notes else text
