"""The command line: `careseal COMMAND`. Exit codes: 0 done or intact, 1 findings or invalid evidence, 2 could not be done."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from typer import TyperException

from api.console import err
from api.errors import FAILED, exit_code
from api.language import _, choose, reported
from careseal import CaresealError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code. Every error is one line; files that it makes are its user's alone."""
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter of a name
    try:
        rest = choose(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        err.print(f"careseal: {error}", markup=False)
        sys.exit(FAILED)
    # Help texts are made in the chosen language.
    from api.commands import build
    from api.headings import translated_command, usage_error

    try:
        code = translated_command(build())(rest, prog_name="careseal", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except TyperException as error:
        if message := usage_error(error):
            err.print(f"careseal: {message}", markup=False)
        sys.exit(error.exit_code)
    except CaresealError as error:
        err.print(f"careseal: {translated(error)}", markup=False)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"careseal: {where}{reported(error.strerror or str(error))}", markup=False)
        sys.exit(FAILED)
    except Exception as error:  # a defect must not end with 1, which means findings; its text may hold patient data
        err.print(_("careseal: internal error ({name}); nothing was verified, report it").format(name=type(error).__name__), markup=False)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        err.print(_("careseal: interrupted; nothing was lost, run it again"), markup=False)
        sys.exit(INTERRUPTED)


def translated(error: CaresealError) -> str:
    """The error's text in the chosen language, in one line."""
    return " ".join(reported(str(error)).split())


if __name__ == "__main__":
    main()
