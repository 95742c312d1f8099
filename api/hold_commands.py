"""`careseal hold`: copies of records, sealed in a second place, with the list that both sides sign (封存)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import iso, print_json, progress, say
from api.duration import end_of_day
from api.erase_commands import ByOption, KeyPassphrasesOption, open_keys
from api.evidence_commands import read_trusted
from api.language import _
from api.options import HomeOption, JsonOption, KeyPassphraseOption, PassphraseOption, ReasonOption
from api.passphrase import SHORTEST, PassphraseError, given_passphrase, key_passphrase, passphrase
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from anchoring.hold_folder import Custody
    from anchoring.link import Link
    from anchoring.sealing import Round
    from ledger.holds import Hold
    from ledger.home import Home
    from ledger.persons import PersonKey

TableOption = Annotated[str | None, typer.Option("--table", help=_("The table of the records."))]
KeyOption = Annotated[
    list[str] | None, typer.Option("--key", help=_("A record's key, its columns joined by commas; may be repeated."))
]
SubjectOption = Annotated[list[str] | None, typer.Option("--subject", help=_("All records of this patient; may be repeated."))]
ForOption = Annotated[
    list[str] | None, typer.Option("--for", help=_("Registered person, by number or name, who can open the copy; may be repeated."))
]
CustodyOption = Annotated[
    Path | None, typer.Option("--custody-passphrase-file", help=_("File with a passphrase that opens the copy."))
]
UntilOption = Annotated[
    str | None, typer.Option("--until", help=_("Until when the hold stands at least, as YYYY-MM-DD; default: three years from now."))
]
NumberArgument = Annotated[int, typer.Argument(metavar="HOLD", min=1, help=_("The hold's number."))]


def app() -> typer.Typer:
    """`careseal hold create|extend|release|list|show|verify`."""
    made = typer.Typer(no_args_is_help=True, help=_("Put records under hold: sealed copies in a second place, and a list to sign."))
    words = _("Put records under hold: copy them, encrypted, to a new folder; write the list; journal and anchor it.")
    made.command("create", help=words)(create)
    made.command("extend", help=_("Add records, or later versions of held ones, to a hold; or prolong it."))(extend)
    made.command("release", help=_("End a hold: by both sides' keys, by a settlement, or after its term."))(release)
    made.command("list", help=_("List all holds."))(listed)
    made.command("show", help=_("Show a hold: its parts and records."))(show)
    made.command("verify", help=_("Verify a hold's folder. Exit 0 intact, 1 something does not hold, 2 cannot be opened."))(verify)
    return made


def create(
    home: HomeOption,
    to: Annotated[Path, typer.Option("--to", help=_("New folder for the copies, best on another machine's disk."))],
    reason: ReasonOption,
    table: TableOption = None,
    key: KeyOption = None,
    subject: SubjectOption = None,
    custodian: ForOption = None,
    custody_passphrase_file: CustodyOption = None,
    until: UntilOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    from anchoring.hold_folder import list_name
    from anchoring.holding import choose
    from anchoring.holding import create as create_hold
    from api.hold_pdf import hold_list

    now = int(time.time() * 1000)
    end = end_of_day(until) if until else _in_three_years(now)
    with _for_hold(home, passphrase_file, reason, now, shown=not as_json) as (opened, sealing):
        custody = _custody(opened, custodian, custody_passphrase_file)
        choose(opened, table, key or (), subject or ())
        with sealing as (link, _round):
            chosen = choose(opened, table, key or (), subject or ())
            hold = create_hold(opened, link, chosen, to, custody, end, reason, hold_list, now)
    pdf = to / list_name(1, "pdf")
    if as_json:
        return print_json({"hold": hold.id, "records": len(chosen), "folder": hold.place, "list": str(pdf), "until": iso(end / 1000)})
    say("hold {number}: {count} records in {folder}, until {until}", number=hold.id, count=len(chosen), folder=to, until=iso(end / 1000))
    say("list of the hold, for both sides to sign: {pdf}", pdf=pdf)
    return None


def extend(
    home: HomeOption,
    number: NumberArgument,
    reason: ReasonOption,
    table: TableOption = None,
    key: KeyOption = None,
    subject: SubjectOption = None,
    custodian: ForOption = None,
    custody_passphrase_file: CustodyOption = None,
    until: Annotated[str | None, typer.Option("--until", help=_("A later end, as YYYY-MM-DD."))] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    from anchoring.hold_folder import Custody, list_name
    from anchoring.holding import choose
    from anchoring.holding import extend as extend_hold
    from api.hold_pdf import hold_list
    from ledger.holds import find_hold

    wanted, now = bool(key or subject), int(time.time() * 1000)
    with _for_hold(home, passphrase_file, reason, now, shown=not as_json) as (opened, sealing):
        hold = find_hold(opened, number)
        end = end_of_day(until) if until else hold.until
        if end < hold.until or not (wanted or until):
            raise LedgerError("give more records, or a later --until: a hold is not shortened")
        custody = _custody(opened, custodian, custody_passphrase_file) if wanted else Custody()
        with sealing as (link, _round):
            chosen = choose(opened, table, key or (), subject or ()) if wanted else []
            extend_hold(opened, link, hold, chosen, custody, end, reason, hold_list, now)
    pdf = Path(hold.place) / list_name(len(hold.parts) + 1, "pdf") if wanted else None
    if as_json:
        values = {"hold": hold.id, "records": len(chosen), "folder": hold.place, "until": iso(end / 1000)}
        return print_json(values | {"list": str(pdf) if pdf else None})
    say("hold {number}: {count} records added, until {until}", number=hold.id, count=len(chosen), until=iso(end / 1000))
    if pdf:
        say("list of the hold, for both sides to sign: {pdf}", pdf=pdf)
    return None


def release(
    home: HomeOption,
    number: NumberArgument,
    by: ByOption = None,
    key_passphrase_file: KeyPassphrasesOption = None,
    settlement: Annotated[
        str | None, typer.Option("--settlement", help=_("The settlement's document: a file, or its SHA-256 in hex."))
    ] = None,
    term_ended: Annotated[bool, typer.Option("--term-ended", help=_("Its term has ended, without a further demand."))] = False,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    from anchoring.publish import publish
    from api.commands import linked
    from ledger.holds import release_hold
    from ledger.home import Home

    if settlement is not None and term_ended:
        raise LedgerError("give one ground: --settlement or --term-ended, or neither where both sides release it")
    secret, now = passphrase(passphrase_file), int(time.time() * 1000)
    ground = "settlement" if settlement is not None else "term" if term_ended else "both"
    digest = None if settlement is None else _digest(settlement)
    with Home.open(home, lambda: secret) as opened:
        index = release_hold(opened, number, ground, digest, open_keys(by, key_passphrase_file), now)
        with linked(opened, secret) as link:
            publish(opened, link)
    if as_json:
        return print_json({"hold": number, "ground": ground, "settlement": digest, "entry": index})
    say("hold {number} is released; its copies can still be opened: destroy them when nobody needs them", number=number)
    return None


def listed(home: HomeOption, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
    from ledger.holds import holds
    from ledger.home import Home

    secret = passphrase(passphrase_file)
    with Home.open(home, lambda: secret) as opened:
        found = holds(opened)
    if as_json:
        return print_json({"holds": [_json(hold) for hold in found]})
    for hold in found:
        _say_hold(hold)
    if not found:
        say("nothing is under hold")
    return None


def show(home: HomeOption, number: NumberArgument, passphrase_file: PassphraseOption = None, as_json: JsonOption = False) -> None:
    from ledger.holds import holds
    from ledger.home import Home
    from ledger.tables import attached_tables

    secret = passphrase(passphrase_file)
    with Home.open(home, lambda: secret) as opened:
        hold = next((hold for hold in holds(opened) if hold.id == number), None)
        names = {table.id: table.name for table in attached_tables(opened, detached=True)}
    if hold is None:
        raise LedgerError(f"there is no hold {number}: see careseal hold list")
    parts = [
        {"part": part.number, "at": iso(part.time / 1000), "entry": part.entry, "sha256": part.sha256,
         "records": [{"table": names.get(held.table, ""), "entry": held.entry} for held in part.records]}
        for part in hold.parts
    ]  # fmt: skip
    if as_json:
        return print_json(_json(hold) | {"parts": parts})
    _say_hold(hold)
    for part in hold.parts:
        say("  part {number}, {time}: {count} records, SHA-256 {digest}",
            number=part.number, time=iso(part.time / 1000), count=len(part.records), digest=part.sha256)  # fmt: skip
        for held in part.records:
            say("    {table}, journal entry {entry}", table=names.get(held.table, "?"), entry=held.entry)
    return None


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=_("The hold's folder."))],
    home: Annotated[Path | None, typer.Option("--home", help=_("The home, to hold the copies against its journal and chain."))] = None,
    network: Annotated[Path | None, typer.Option("--network", help=_("The network file: verifies without the home, offline."))] = None,
    by: Annotated[Path | None, typer.Option("--by", help=_("Key file of a person who can open the copies."))] = None,
    key_passphrase_file: KeyPassphraseOption = None,
    custody_passphrase_file: CustodyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    from anchoring.hold_check import verify_hold
    from api.commands import linked
    from ledger.home import Home
    from node.errors import ChainLocked, NodeUnreachable

    if home is None and network is None:
        raise LedgerError("give --home, or --network with the network file, to hold the copies against")
    opener = _opener(by, key_passphrase_file, custody_passphrase_file)
    trusted = None if network is None else read_trusted(network)
    if home is None:
        checked = verify_hold(folder, opener, trusted)
    else:
        secret = passphrase(passphrase_file)
        with Home.open(home, lambda: secret) as opened:
            try:
                with linked(opened, secret) as link:
                    checked = verify_hold(folder, opener, trusted, opened, link)
            except (NodeUnreachable, ChainLocked):
                checked = verify_hold(folder, opener, trusted, opened)
    if as_json:
        return print_json({
            "valid": True, "hold": checked.hold, "parts": len(checked.lists), "records": checked.records,
            "offline": checked.offline, "journal": checked.journal, "chain": checked.chain,
        })  # fmt: skip
    say("INTACT: hold {number}, {parts} parts, {count} records", number=checked.hold, parts=len(checked.lists), count=checked.records)
    if checked.offline:
        say("every copy is evidence under the network file")
    if checked.journal:
        say("parts, lists and entries are those of the journal")
    if checked.chain:
        say("every checkpoint is on the chain")
    elif checked.journal:
        say("the chain could not be reached: the checkpoints were not held against it")
    return None


@contextmanager
def _for_hold(
    path: Path, passphrase_file: Path | None, reason: str, now: int, *, shown: bool
) -> Iterator[tuple[Home, AbstractContextManager[tuple[Link, Round]]]]:
    """A home in which records are put under hold, and the round of sealing that comes first; `now` in milliseconds."""
    from anchoring.sealing import sealed
    from api.commands import linked
    from ledger.home import Home
    from ledger.persons import MAX_REASON, check_text

    check_text("--reason", reason, MAX_REASON)
    secret = passphrase(passphrase_file)
    with Home.open(path, lambda: secret) as home, progress(shown) as rows:
        yield home, sealed(home, linked(home, secret), now, rows)


def _custody(home: Home, persons: Sequence[str] | None, file: Path | None) -> Custody:
    from anchoring.hold_folder import Custody
    from ledger.persons import find_person
    from ledger.persons import persons as registered

    known = registered(home)
    spoken = None if file is None else given_passphrase(file)
    if spoken is not None and len(spoken) < SHORTEST:
        raise PassphraseError(f"a hold's passphrase has at least {SHORTEST} characters")
    custody = Custody(tuple(find_person(known, who) for who in persons or ()), spoken)
    if not custody.names:
        raise LedgerError("somebody must be able to open the hold: give --for with a person, or --custody-passphrase-file")
    return custody


def _opener(by: Path | None, key_file: Path | None, custody: Path | None) -> PersonKey | bytes:
    from ledger.persons import open_key_file

    if (by is None) == (custody is None):
        raise LedgerError("give --by with a person's key file, or --custody-passphrase-file, to open the copies")
    if by is not None:
        return open_key_file(by, key_passphrase(key_file, by))
    return given_passphrase(custody) or b""


def _in_three_years(now: int) -> int:
    from ledger.holds import TERM_YEARS
    from ledger.retention import later

    return end_of_day(later(datetime.fromtimestamp(now / 1000, UTC).date(), TERM_YEARS).isoformat())


def _digest(settlement: str) -> str:
    """The SHA-256 of the settlement's document, in hex."""
    if len(settlement) == 64 and not set(settlement.lower()) - set("0123456789abcdef"):
        return settlement.lower()
    try:
        with Path(settlement).open("rb") as source:
            return file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise LedgerError(f"cannot read {settlement}: {error.strerror}") from error


def _json(hold: Hold) -> dict[str, object]:
    return {
        "hold": hold.id, "folder": hold.place, "until": iso(hold.until / 1000), "reason": hold.reason, "custody": list(hold.custody),
        "parts": len(hold.parts), "records": sum(len(part.records) for part in hold.parts), "stands": hold.stands, "ground": hold.ground,
    }  # fmt: skip


def _say_hold(hold: Hold) -> None:
    count = sum(len(part.records) for part in hold.parts)
    values = {"number": hold.id, "count": count, "folder": hold.place, "until": iso(hold.until / 1000)}
    if hold.stands:
        say("hold {number}: {count} records in {folder}, until {until}", **values)
    else:
        say("hold {number}: {count} records in {folder}, released ({ground})", **values, ground=_(hold.ground or ""))
