"""Values of two engines in one form, so that equal values have equal bytes, and the rules by which a map may call more values equal. Pure.

The form of a value is a tag and its content:

    N                NULL
    i, decimal       SQLite INTEGER; PostgreSQL smallint, int, bigint, oid
    r, 8 bytes       SQLite REAL; PostgreSQL real and double precision: the IEEE 754 double of the text, big-endian
    b, 1 or 0        PostgreSQL boolean
    x, bytes         SQLite BLOB; PostgreSQL bytea
    t, UTF-8         SQLite TEXT; PostgreSQL, all other types (numeric too): the server's text

A rule turns a value that it understands into a form of its own, and leaves any other as it is: a text that is no number stays
different from every number, and equal to the same text.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from ledger import rowcodec
from ledger.errors import LedgerError, WireError
from ledger.json_text import Json, Number, parse

Form = bytes
Rule = Callable[[Form], Form]
Options = Mapping[str, Json]

_F64 = struct.Struct(">d")
_INTEGERS = ("integer", "oid")
_REALS = ("real", "double precision")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?\s*(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_TRUTH = {
    "t": b"b1", "true": b"b1", "1": b"b1", "y": b"b1", "yes": b"b1", "on": b"b1",
    "f": b"b0", "false": b"b0", "0": b"b0", "n": b"b0", "no": b"b0", "off": b"b0",
}  # fmt: skip


def form_of(encoding: str, field: bytes, declared: str) -> Form:
    """The form of a field of a row, `declared` being its column's type in the shape. Raises WireError."""
    if encoding == rowcodec.SQLITE:
        value = rowcodec.decode_field(field)
        if value is None:
            return b"N"
        if isinstance(value, int):
            return b"i%d" % value
        if isinstance(value, float):
            return b"r" + _F64.pack(value)
        return b"x" + value if isinstance(value, bytes) else b"t" + value.encode("utf-8", "surrogatepass")
    text = rowcodec.unescape(field)
    if text is None:
        return b"N"
    if declared in _INTEGERS:
        return b"i" + text
    if declared in _REALS:
        return b"r" + _F64.pack(float(text))
    if declared == "boolean":
        return b"b1" if text == b"t" else b"b0"
    if declared == "bytea":
        return b"x" + bytes.fromhex(text[2:].decode("ascii"))
    return b"t" + text


def rule(name: str, options: Options, *, new: bool) -> Rule:
    """The rule of this name for the old or the new side of a column. Raises LedgerError for a rule or an option that there is not."""
    made = _RULES.get(name)
    if made is None or not options.keys() <= made[1] or not all(type(value) is str for value in options.values()):
        raise LedgerError(f"no rule {name} with these options: rules are {', '.join(_RULES)}")
    return made[0]({option: str(value) for option, value in options.items()}, new)


def _plain(rule: Rule) -> Callable[[Mapping[str, str], bool], Rule]:
    return lambda options, new: rule


def _text(form: Form) -> str | None:
    """The text of a text or an integer."""
    return form[1:].decode("utf-8", "replace") if form[:1] in (b"t", b"i") else None


def _exact(form: Form) -> Form:
    return form


def _decimal(form: Form) -> Form:
    """Numbers of equal value are equal, whatever their scale; a double is the shortest decimal that gives it."""
    text = repr(_F64.unpack(form[1:])[0]) if form[:1] == b"r" else _text(form)
    if text is None or not _DECIMAL.fullmatch(text := text.strip()):
        return form
    return b"d" + _digits(text).encode("ascii")


def _digits(text: str) -> str:
    sign, digits, exponent = Decimal(text).as_tuple()
    shown = "".join(map(str, digits)).lstrip("0")
    kept = shown.rstrip("0")
    return f"{'-' if sign else ''}{kept}e{int(exponent) + len(shown) - len(kept)}" if kept else "0"


def _boolean(form: Form) -> Form:
    """1, t, true, y, yes, on and 0, f, false, n, no, off, in any case, are the two truth values."""
    text = _text(form)
    return form if text is None else _TRUTH.get(text.strip().lower(), form)


def _trim(form: Form) -> Form:
    """Blanks at the end do not count, as in char(n)."""
    return form.rstrip(b" ") if form[:1] == b"t" else form


def _json(form: Form) -> Form:
    """JSON of equal value is equal: white space, the order of members and the scale of numbers do not count."""
    if form[:1] != b"t":
        return form
    try:
        return b"j" + json.dumps(_sorted(parse(form[1:].decode("utf-8"))), separators=(",", ":")).encode("ascii")
    except (WireError, UnicodeDecodeError):
        return form


def _sorted(value: Json) -> object:
    if isinstance(value, Number):
        return {"": _digits(value)} if len(value) < 1000 else {"": str(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if isinstance(value, dict):
        return [[name, _sorted(value[name])] for name in sorted(value)]
    return value


def _time(options: Mapping[str, str], new: bool) -> Rule:
    """ISO 8601 times of the same instant are equal. A time without zone is in `zone`, an offset as +08:00, else it has no instant."""
    zone = _zone(options["zone"]) if "zone" in options else None

    def instant(form: Form) -> Form:
        text = _text(form) if form[:1] == b"t" else None
        match = _TIME.fullmatch(text.strip()) if text is not None else None
        if match is None:
            return form
        year, month, day, hour, minute, second, fraction, offset = match.groups()
        try:
            at = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
            known = _zone(offset) if offset else zone
            moment = at.replace(tzinfo=known).astimezone(UTC) if known is not None else at
        except (ValueError, OverflowError, LedgerError):
            return form
        return f"m{moment:%Y-%m-%dT%H:%M:%S}.{(fraction or '').rstrip('0')}{'Z' if known is not None else ''}".encode("ascii")

    return instant


def _zone(offset: str) -> timezone:
    match = re.fullmatch(r"Z|([+-])([0-9]{2}):?([0-9]{2})?", offset)
    if match is None or int(match[2] or 0) > 23:
        raise LedgerError(f"{offset} is no offset from UTC: write Z or +08:00")
    minutes = int(match[2] or 0) * 60 + int(match[3] or 0)
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def _date(options: Mapping[str, str], new: bool) -> Rule:
    """A text in the side's format, in the words of strptime, is the date or time that it names; the default is ISO 8601."""
    written = options.get("new" if new else "old")
    iso = _time({}, new)

    def date(form: Form) -> Form:
        text = _text(form)
        if written is None or text is None:
            return iso(form)
        try:
            return iso(b"t" + datetime.strptime(text.strip(), written).isoformat().encode("ascii"))
        except ValueError:
            return form

    return date


_RULES: dict[str, tuple[Callable[[Mapping[str, str], bool], Rule], frozenset[str]]] = {
    "exact": (_plain(_exact), frozenset()),
    "decimal": (_plain(_decimal), frozenset()),
    "boolean": (_plain(_boolean), frozenset()),
    "time": (_time, frozenset({"zone"})),
    "date": (_date, frozenset({"old", "new"})),
    "trim": (_plain(_trim), frozenset()),
    "json": (_plain(_json), frozenset()),
}
