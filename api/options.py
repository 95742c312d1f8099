"""Options that many commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.language import _

HomeOption = Annotated[Path, typer.Option("--home", envvar="CARESEAL_HOME", help=_("The institution's home folder."))]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help=_("File with the passphrase; else CARESEAL_PASSPHRASE or the unlock file."))
]
JsonOption = Annotated[bool, typer.Option("--json", help=_("Print JSON for programs."))]
KeyPassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--key-passphrase-file", help=_("File with the passphrase of the key file; else CARESEAL_KEY_PASSPHRASE, else it is asked for.")
    ),
]
NetworkOption = Annotated[Path, typer.Option("--network", help=_("The network file, the root of trust."))]
ExportedJournalOption = Annotated[
    Path | None, typer.Option("--journal", metavar="DIR", help=_("The exported journal, to look for later versions."))
]
SuccessionOption = Annotated[
    list[Path] | None,
    typer.Option("--succession", metavar="FILE", help=_("Succession file, to an earlier chain; may be repeated, the latest first.")),
]
TsaCertOption = Annotated[
    list[Path] | None,
    typer.Option("--tsa-cert", metavar="FILE", help=_("Root certificates (PEM) of trusted TSAs, to check the time stamp.")),
]
ReasonOption = Annotated[str, typer.Option("--reason", help=_("Why, in one line; it is journalled."))]
