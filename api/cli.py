"""The command line: `careseal COMMAND`. Exit codes: 0 done or intact, 1 findings or invalid evidence, 2 could not be done."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from api.console import err
from api.errors import FAILED, exit_code
from api.language import _, choose
from careseal import CaresealError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code. Every error is one line; files that it makes are its user's alone."""
    os.umask(0o077)
    try:
        rest = choose(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        err.print(f"careseal: {error}", markup=False)
        sys.exit(FAILED)
    from api.commands import build  # help texts are made in the chosen language

    try:
        build()(rest, prog_name="careseal")
    except CaresealError as error:
        err.print(f"careseal: {translated(error)}", markup=False)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"careseal: {where}{error.strerror or error}", markup=False)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        err.print(_("careseal: interrupted; nothing was lost, run it again"), markup=False)
        sys.exit(130)


def translated(error: CaresealError) -> str:
    """The error's text, in one line."""
    return " ".join(str(error).split())


if __name__ == "__main__":
    main()
